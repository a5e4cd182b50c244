"""What is evaluated: the settings of the workflows of evaluation, without importing what they need."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from genesis3d.config import Config
from genesis3d.data.classified import ClassifiedData
from genesis3d.data.targets import TargetData
from genesis3d.labels import IGNORE, LabelClass
from genesis3d.workflows.segment_settings import SegmentSettings

__all__ = ["EvaluateClassificationConfig", "EvaluateSegmentationConfig", "Part"]

Part = Literal["all", "held_out"]


class EvaluateSegmentationConfig(Config):
    """Segmentations against references: files against files, or a model on labelled scans."""

    predictions: str | None = Field(None, description="label file, or folder of label files, to be judged")
    references: str | None = Field(None, description="label file, or folder of files called alike, taken as the truth")
    model: str | None = Field(None, description="in place of predictions: model that segments the scans of data first")
    data: TargetData | None = Field(None, description="labelled scans for the model")
    part: Part = Field("all", description="with a model: all cases of data, or those that its split holds out")
    segment: SegmentSettings = Field(default=SegmentSettings(), description="how the model is applied")
    classes: tuple[LabelClass, ...] = Field(
        (), description="what is looked for; empty: every value that some reference holds, or the model's classes"
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
        files = self.predictions is not None and self.references is not None
        applied = self.model is not None and self.data is not None
        some = [name for name in ("predictions", "references", "model", "data") if getattr(self, name) is not None]
        if files == applied or len(some) != 2:
            raise ValueError(
                f"expected predictions and references, or a model and data, got {' and '.join(some) or 'none'}"
            )
        return self


class EvaluateClassificationConfig(Config):
    """Scores against classes: a table, or a model on scans whose classes are known."""

    scores: str | None = Field(
        None,
        description="CSV file: case (if you like), target, and either score (of the second class) or a column a class",
    )
    model: str | None = Field(None, description="in place of scores: model that classifies the scans of data first")
    data: ClassifiedData | None = Field(None, description="scans or boxes and their classes for the model")
    part: Part = Field("all", description="with a model: all cases of data, or those that its split holds out")
    threshold: float = Field(
        0.5, ge=0, le=1, description="of two classes: score from which on a case is one of the second"
    )
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda, cuda:1, ...")
    out_dir: str | None = Field(
        None, description="folder for tables and the ROC curve; empty: only figures are returned"
    )

    @model_validator(mode="after")
    def _one_way(self) -> EvaluateClassificationConfig:
        if (self.scores is not None) == (self.model is not None) or (self.model is None) != (self.data is None):
            raise ValueError("expected a table of scores, or a model and data")
        return self
