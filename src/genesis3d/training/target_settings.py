"""How a target task is measured while it is trained."""

from __future__ import annotations

from pydantic import Field

from genesis3d.config import Config

__all__ = ["TargetValidation"]


class TargetValidation(Config):
    """How often, and on how much of the held-out scans, a target task is measured."""

    windows: int = Field(48, ge=1, le=4096, description="largest number of held-out sub-volumes measured")
    every: int = Field(100, ge=1, description="steps between two measurements")
    patience: int | None = Field(None, ge=1, description="stop after so many measurements without a better one")
