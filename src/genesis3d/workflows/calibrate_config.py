"""Settings of a calibration: healthy scans, a model, the recipes to measure, and where the copy goes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from genesis3d.anomaly.base import RECIPES, Recipe
from genesis3d.anomaly.restoring import RestoreSettings

__all__ = ["CalibrateConfig"]

Thickness = Annotated[float, Field(gt=0, le=20)]


class CalibrateConfig(RestoreSettings):
    """Recipes measured on healthy scans; their calibrations are written into a copy of the model."""

    scans: tuple[str, ...] = Field(min_length=1, description="healthy scans: files, DICOM folders, or folders of these")
    model: str = Field(description="run directory, .safetensors model file or name of a model of the library")
    out: str = Field(description="model file to write (.safetensors): the model with its calibrations")
    recipes: tuple[Annotated[Recipe, *RECIPES.field()], ...] = Field(
        (), description="how scores are made, by name; empty: the model's usual recipe, and hu for CT"
    )
    lungs: str = Field(
        "auto",
        description="auto, classical, network (how they are found in a CT), body (the patient), none (the whole scan), "
        "or masks: a folder of files called as the scans, or the file of a single scan",
    )
    exclude: str | None = Field(
        None,
        description="masks of what is not healthy, nodules for instance: a folder of files called as the scans, or the "
        "file of a single scan",
    )
    exclude_mm: float = Field(5.0, ge=0, le=50, description="margin around what is not healthy that is left out too")
    thicknesses: tuple[Thickness, ...] = Field(
        (3.0, 5.0, 6.0), description="slice thicknesses in mm that thinner scans are averaged to besides their own"
    )
    leave_out_dense: float | None = Field(
        None, ge=0, le=100,
        description="scans of which more than this percentage of the lung is denser than -600 HU are left out; empty: "
        "they are named (above 15 %) and count like any other",
    )  # fmt: skip
    smooth: int = Field(1, ge=0, le=3, description="radius of a map's median filter, as maps will be made")
    rim_mm: float = Field(2.0, ge=0, le=20, description="outermost layer of the lungs left out, as maps will be made")
