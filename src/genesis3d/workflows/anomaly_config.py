"""Settings of an anomaly map: the recipe, where the lungs come from, and how its score becomes regions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from genesis3d.anomaly.base import RecipeField
from genesis3d.anomaly.restoring import RestoreSettings

__all__ = ["LUNGS", "AnomalyConfig", "AnomalySettings", "LungsMethod"]

LungsMethod = Literal["auto", "classical", "network", "body"]
LUNGS = ("auto", "classical", "network", "body", "none")  # what is not one of these is a mask file


class AnomalySettings(RestoreSettings):
    """How a scan is scored and its score turned into regions."""

    recipe: RecipeField = Field(
        None, description="how the score is made, by name; empty: opacity for a model of opacity, else difference"
    )
    lungs_method: LungsMethod = Field(
        "auto",
        description="how lungs are found: auto (network where there is one), classical, network, or body (the whole "
        "patient, for MR)",
    )
    threshold: float | None = Field(
        None, ge=0, description="smallest score of a region, in the score's unit; empty: the recipe's own"
    )
    smooth: int = Field(
        1, ge=0, le=3, description="radius of the median filter of a score on the scan's own grid, in voxels; 0: none"
    )
    rim_mm: float = Field(2.0, ge=0, le=20, description="outermost layer of the lungs left out of the score, in mm")
    least_ml: float = Field(0.2, ge=0, le=1000, description="regions smaller than this are left out, in mL")


class AnomalyConfig(AnomalySettings):
    """An anomaly map of one scan, written into a folder."""

    scan: str = Field(description="scan: DICOM folder, zip, NIfTI, NRRD or MetaImage")
    model: str | None = Field(
        None, description="run directory, .safetensors model file or name of a model; empty: none, for the recipe hu"
    )
    out_dir: str = Field(description="folder for the results, made if need be")
    lungs: str = Field(
        "auto",
        description="auto, classical, network (how they are found in a CT), body (the patient), none (the whole scan), "
        "or a mask file on its grid",
    )
    series: str | None = Field(None, description="series UID where a folder holds several; empty: the largest")
