"""Classes of a segmentation: which value in a label volume means what, its name and its colour."""

from __future__ import annotations

from pydantic import Field

from genesis3d.config import Config

__all__ = ["BACKGROUND", "IGNORE", "LabelClass"]

BACKGROUND = 0  # index of the background among a model's classes
IGNORE = 255  # index of a voxel that nobody labelled: no loss, no figure counts it


class LabelClass(Config):
    """One class.  In training and in a network's output classes go by their index, in files by their ``value``."""

    value: int = Field(ge=0, le=65535, description="value in label files and layers")
    name: str = Field(min_length=1, max_length=64, description="what it marks, such as liver")
    colour: str | None = Field(None, pattern=r"^#[0-9a-f]{6}$", description="colour as #rrggbb; None: the viewer's own")
