"""What is evaluated: the settings of the workflows in evaluate.py, without importing what they need."""

from __future__ import annotations

from pydantic import Field, model_validator

from genesis3d.config import Config
from genesis3d.labels import IGNORE, LabelClass

__all__ = ["EvaluateSegmentationConfig"]


class EvaluateSegmentationConfig(Config):
    """Segmentations against references."""

    predictions: str | None = Field(None, description="label file, or folder of label files, to be judged")
    references: str | None = Field(None, description="label file, or folder of files called alike, taken as the truth")
    classes: tuple[LabelClass, ...] = Field(
        (), description="what is looked for; empty: every value that some reference holds"
    )
    ignore: int | None = Field(
        IGNORE, ge=1, le=65535, description="value of a reference's voxels that nobody labelled: they count nowhere"
    )
    resample: bool = Field(
        False, description="put a prediction on another grid onto that of its reference (nearest voxel), not refuse it"
    )
    distances: bool = Field(True, description="also HD95 and average surface distance, the slower half of the work")
    out_dir: str | None = Field(None, description="folder for tables and plots; empty: only the summary is returned")

    @model_validator(mode="after")
    def _one_way(self) -> EvaluateSegmentationConfig:
        if self.predictions is None or self.references is None:
            raise ValueError("expected predictions and references")
        return self
