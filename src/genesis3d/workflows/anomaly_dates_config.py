"""Settings of a comparison of two anomaly maps of one patient."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesis3d.config import Config

__all__ = ["DatesConfig", "DatesSettings"]


class DatesSettings(Config):
    """How two maps of one patient are laid over each other, and what counts as a change."""

    motion: Literal["rigid", "affine"] = Field(
        "affine", description="rigid: turned and moved; affine: also stretched, for lungs that are filled differently"
    )
    grid_mm: float = Field(5.0, ge=2, le=12, description="voxel of the grid that both scans are laid on, in mm")
    reach_mm: float = Field(6.0, ge=0, le=40, description="regions of the two dates this close are one, in mm")
    least_ml: float = Field(0.5, ge=0, le=1000, description="smallest change of a region's volume that is told, in mL")
    least_percent: float = Field(
        25.0, ge=0, le=1000, description="smallest change of a region's volume that is told, in % of the first"
    )
    good_dice: float = Field(0.9, ge=0, le=1, description="overlap of the lungs below which the comparison is doubted")
    good_mm: float = Field(5.0, ge=0, le=50, description="distance of their surfaces above which it is doubted, in mm")


class DatesConfig(DatesSettings):
    """Two folders written by ``genesis3d anomaly``, compared into a third."""

    first: str = Field(description="folder of the earlier map")
    second: str = Field(description="folder of the later map")
    first_scan: str | None = Field(None, description="scan of the first map; empty: restored plus difference there")
    second_scan: str | None = Field(None, description="scan of the second map; empty: restored plus difference there")
    out_dir: str = Field(description="folder for the results, made if need be")
