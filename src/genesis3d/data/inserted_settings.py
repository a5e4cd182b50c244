"""What is put into healthy lungs: the settings of inserted opacities, without what they need."""

from __future__ import annotations

from pydantic import Field, model_validator

from genesis3d.config import Config

__all__ = ["Insertion"]


class Insertion(Config):
    """Opacities grown in a lung: how large, how dense, how uneven."""

    volume_ml: float | None = Field(
        None, gt=0, le=8000, description="volume of all regions together in mL; empty: by share_percent"
    )
    share_percent: float | None = Field(
        None, gt=0, le=95, description="in place of a volume: share in % of the one lung in which all regions grow"
    )
    regions: int = Field(1, ge=1, le=20, description="number of regions, about 9 mm or more apart")
    contrast: float = Field(
        250.0,
        ge=20,
        le=1000,
        description="mean change inside in HU, less where nothing is left to fill; vessels change less",
    )
    texture: float = Field(0.25, ge=0, le=1, description="unevenness of the change: its spread over its mean")
    texture_mm: float = Field(9.0, ge=2, le=60, description="size in mm over which the change is uneven")
    softness_mm: float = Field(4.0, ge=0.5, le=30, description="width of the edge in mm, from no change to all of it")
    roughness: float = Field(
        0.8, ge=0, le=2, description="unevenness of the outline: spread of the speed of growth (log)"
    )
    gravity: float = Field(
        0.4, ge=0, le=1, description="0: grown from a point in all directions, 1: fills the lung from behind and below"
    )

    @model_validator(mode="after")
    def _one_size(self) -> Insertion:
        if (self.volume_ml is None) == (self.share_percent is None):
            raise ValueError("expected either volume_ml or share_percent")
        return self
