"""What a training against opacity learns from: lungs, as other scanners have them, and what is put into them."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator, model_validator

from genesis3d.config import Config
from genesis3d.data.lungs_settings import LungSampling
from genesis3d.transforms.coarse_noise import CoarseNoise
from genesis3d.transforms.opacity import Opacity

__all__ = ["OpacityPairs", "ScannerJitter"]

Unit = Annotated[float, Field(ge=0, le=1)]


class ScannerJitter(Config):
    """How another scanner might have shown the same: input and target are changed alike."""

    offset: float = Field(
        0.02, ge=0, le=0.5, description="standard deviation of the offset, in [0, 1]; 0.02: 25 HU of -1000 to 200"
    )
    gain: tuple[float, float] = Field((0.92, 1.08), description="smallest and largest factor of the contrast")
    pivot: float = Field(0.125, ge=0, le=1, description="level in [0, 1] that the contrast leaves; -850 HU")
    blurred: float = Field(0.3, ge=0, le=1, description="share that is blurred in the plane, by 0.3 to 0.7 voxels")
    noisy: float = Field(0.5, ge=0, le=1, description="share that gets more noise")
    noise: tuple[Unit, Unit] = Field(
        (0.004, 0.03), description="least and largest standard deviation of that noise, in [0, 1]; 5 to 35 HU"
    )
    flip_axes: tuple[int, ...] = Field((0, 1, 2), description="axes (0 D, 1 H, 2 W) along which half are mirrored")

    @field_validator("gain", "noise")
    @classmethod
    def _pairs(cls, value: tuple[float, float]) -> tuple[float, float]:
        if value[0] > value[1]:
            raise ValueError(f"expected the smaller number first, got {value[0]:g} and {value[1]:g}")
        return value

    @field_validator("flip_axes")
    @classmethod
    def _axes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not set(value) <= {0, 1, 2}:
            raise ValueError("expected axes 0 (D), 1 (H) or 2 (W)")
        return value


class OpacityPairs(Config):
    """Sub-volumes and what is put into them: nothing, coarse noise alone, a foreign patch, and else opacities."""

    lungs: str | None = Field(
        None,
        description="folder of lung masks, files of the scans' names; None: lungs are found in each scan; body: the "
        "whole patient in their place, for other organs",
    )
    sampling: LungSampling = Field(default=LungSampling(), description="which sub-volumes are drawn, on which grid")
    scanner: ScannerJitter = Field(default=ScannerJitter(), description="how scanners differ")
    untouched: float = Field(0.25, ge=0, le=1, description="share of the sub-volumes in which nothing is put")
    uneven: float = Field(0.15, ge=0, le=1, description="share with coarse noise alone, which is no opacity")
    foreign: float = Field(
        0.05, ge=0, le=1, description="share with a soft-edged patch of another place; opacity where it is brighter"
    )
    also_uneven: float = Field(0.25, ge=0, le=1, description="share of those with opacities that get coarse noise too")
    coarse_noise: CoarseNoise = Field(
        default=CoarseNoise(), description="the coarse noise; its voxels are the sub-volume's"
    )
    opacity: Opacity = Field(default=Opacity(), description="the opacities; their voxels are the sub-volume's")
    lungs_alone: float = Field(0.0, ge=0, le=1, description="share in which all but the lungs is dark: cut-out lungs")
    least_change: float = Field(0.05, ge=0, le=1, description="least change in [0, 1] that is to be found as opacity")

    @model_validator(mode="after")
    def _shares(self) -> OpacityPairs:
        if self.untouched + self.uneven + self.foreign > 1:
            raise ValueError("untouched + uneven + foreign: expected at most 1")
        return self
