"""How sub-volumes are drawn inside lungs: their grid, which stands for slices of several thicknesses, and what fits."""

from __future__ import annotations

from pydantic import Field, field_validator, model_validator

from genesis3d.config import Config

__all__ = ["LungSampling"]

Pair = tuple[float, float]
Vector = tuple[float, float, float]


class LungSampling(Config):
    """Where a sub-volume may lie, and on which grid a scan is taken for it.

    A share of the sub-volumes is on the very grid that scans are brought to when the model is used; the others are of
    slices and voxels somewhat different, so that the model knows those too.
    """

    spacing: Vector = Field(
        (6.0, 2.0, 2.0), description="voxel (D, H, W) in mm that scans are brought to for the model"
    )
    exact: float = Field(0.5, ge=0, le=1, description="share of the sub-volumes whose slices are as apart and as thick")
    slices: Pair = Field((4.5, 7.5), description="smallest and largest distance of the other slices, in mm")
    thickness: Pair = Field((3.0, 7.5), description="least and largest thickness of the other slices, in mm")
    zoom: Pair = Field((0.9, 1.1), description="smallest and largest factor of the voxel in the plane, of all")
    least_lung: int = Field(3000, ge=1, description="fewest voxels of lung in a sub-volume")
    most_dense: float = Field(
        0.15, ge=0, le=1, description="largest share of the lung that is dense: scans said to be healthy seldom are"
    )
    dense: float = Field(
        0.333, ge=0, le=1, description="level in [0, 1] from which on a 3x3 median is dense; -600 HU of -1000 to 200"
    )
    attempts: int = Field(20, ge=1, le=1000, description="draws per sub-volume before the best of them is taken")

    @field_validator("spacing", "slices", "thickness", "zoom")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0.1 <= one <= 30 for one in value):
            raise ValueError("expected numbers from 0.1 to 30")
        return value

    @model_validator(mode="after")
    def _ordered(self) -> LungSampling:
        for name in ("slices", "thickness", "zoom"):
            low, high = getattr(self, name)
            if low > high:
                raise ValueError(f"{name}: expected the smaller number first, got {low:g} and {high:g}")
        return self
