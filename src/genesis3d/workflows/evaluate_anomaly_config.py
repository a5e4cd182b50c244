"""What is evaluated of anomaly maps: the settings, without importing what they need."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genesis3d.anomaly.base import RECIPES, Recipe
from genesis3d.config import Config
from genesis3d.workflows.anomaly_config import AnomalySettings

__all__ = ["BASELINE", "EvaluateAnomalyConfig"]

BASELINE = "hu"  # the recipe that every other is compared with


class EvaluateAnomalyConfig(Config):
    """Anomaly maps of scans whose lesions are known, or known to be absent, by one recipe or several."""

    scans: str = Field(description="scan, folder of scans, or a pattern such as DIR/case-?.nii.gz")
    lesions: str | None = Field(
        None,
        description="lesion masks: folder or pattern; a mask is called as its scan, or begins with its name and _ - "
        "or a dot; a scan without one is taken as healthy",
    )
    lungs: str | None = Field(None, description="lung masks, called likewise; empty: found in every scan")
    excluded: str | None = Field(None, description="masks of voxels that count nowhere, called likewise")
    own: bool = Field(True, description="beside lung masks that are given also the lungs found in the scan")
    models: tuple[str, ...] = Field((), description="run directories, model files or names of the library")
    recipes: tuple[Annotated[Recipe, *RECIPES.field()], ...] = Field(
        (), description="how scores are made, each with every model that fits it; empty: each model's usual one"
    )
    settings: AnomalySettings = Field(default=AnomalySettings(), description="how maps are made, but for the recipe")
    out_dir: str = Field(description="folder for tables and plots, and what is done of a run that was stopped")
