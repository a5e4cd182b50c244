"""The configuration of a fine-tuning, and its presets as values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, model_validator

from genesis3d.data.augmenting import AUGMENTATIONS, AugmentationField
from genesis3d.data.classified import ClassifiedData
from genesis3d.data.labelled import TargetSampling
from genesis3d.data.targets import TargetData
from genesis3d.errors import ConfigError
from genesis3d.networks import NETWORKS, Network
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.initialising import Initialisation
from genesis3d.networks.transfer import TransferredParts
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks import TASKS, Task
from genesis3d.tasks.classification import Classification
from genesis3d.tasks.segmentation import Segmentation
from genesis3d.training.settings import (
    AveragingSettings,
    KeepSettings,
    OptimiserSettings,
    PlanSettings,
)
from genesis3d.training.target_settings import TargetValidation
from genesis3d.workflows.training_config import TrainingConfig

__all__ = ["FINETUNE_PRESETS", "FinetuneConfig", "finetune_preset"]


# What a training from scratch takes: small enough for a processor.
_FRESH = UNet3d(width=16, decoder="nearest")
_SMALL = UNet3d(width=8, decoder="nearest")


class FinetuneConfig(TrainingConfig):
    """Everything that decides a fine-tuning; ``config.json`` of a run holds it whole."""

    data: TargetData = Field(default=TargetData(), description="labelled scans")
    classified: ClassifiedData = Field(
        default=ClassifiedData(), description="of a classification, in place of labelled scans: scans with a class each"
    )
    model: str | None = Field(
        None, description="model to begin with: a file, a run or a name of the library; None: from scratch"
    )
    parts: TransferredParts = Field(
        "encoder_decoder", description="what is taken of the model: encoder_decoder, encoder, or all (its head too)"
    )
    initialisation: Initialisation = Field(
        "default", description="how what no model gives begins: default (torch's own), msra, xavier or uniform"
    )
    network: Annotated[Network, *NETWORKS.field()] = Field(
        default=_FRESH,
        description="network of a training from scratch; with a model it is the model's, and its channels follow from "
        "scans and classes",
    )
    task: Annotated[Task, *TASKS.field()] = Field(
        default=Segmentation(), description="what it is trained for: segmentation or classification"
    )
    sampling: TargetSampling = Field(default=TargetSampling(), description="which sub-volumes are drawn")
    augmentation: AugmentationField = Field(
        default=AUGMENTATIONS["default"], description="what is done to them: none, paper, default, or settings"
    )
    optimiser: OptimiserSettings = Field(
        default=OptimiserSettings(lr=3e-3, schedule="poly"), description="how weights follow gradients"
    )
    averaging: AveragingSettings = Field(
        default=AveragingSettings(decay=0.99), description="whether model files hold an average of the weights"
    )
    validation: TargetValidation = Field(default=TargetValidation(), description="how the held-out scans are measured")

    @model_validator(mode="after")
    def _a_target_task(self) -> FinetuneConfig:
        if self.task.name in ("restoration", "opacity"):
            raise ValueError(
                f"task: expected segmentation or classification, got {self.task.name}, which pretrain trains"
            )
        return self

    @property
    def classifies(self) -> bool:
        """Whether whole sub-volumes get a class, rather than voxels."""
        return self.task.name == "classification"

    @property
    def targets(self) -> TargetData | ClassifiedData:
        """What is learnt from."""
        return self.classified if self.classifies else self.data

    def public(self) -> dict[str, Any]:
        """Return the settings of the training itself, without paths and names of scans: for a model's card."""
        values = self.to_dict()
        for name in ("data", "classified", "model", "network", "task", "licence"):
            del values[name]
        return values


_CLASSES = FinetuneConfig(
    minutes=10, task=Classification(), network=Classifier(encoder=_FRESH, head="linear"), parts="encoder", batch=8,
    validation=TargetValidation(windows=256, every=50), keep=KeepSettings(samples_every=500),
)  # fmt: skip

FINETUNE_PRESETS: dict[str, FinetuneConfig] = {
    "default": FinetuneConfig(minutes=30),
    # To be looked at while it trains: a small network, small sub-volumes, few measurements.
    "quick": FinetuneConfig(
        minutes=3, network=_SMALL, batch=2, sampling=TargetSampling(voxels=40_000),
        validation=TargetValidation(windows=8, every=100),
        optimiser=OptimiserSettings(lr=3e-3, schedule="poly", warmup=20), averaging=AveragingSettings(decay=0.98),
        keep=KeepSettings(samples_every=500),
    ),
    # One class for a whole sub-volume: all layers, or a line through the features of a frozen encoder.
    "classification": _CLASSES,
    "linear_probe": _CLASSES.replaced(
        network=Classifier(encoder=_FRESH, head="linear"), parts="encoder",
        optimiser=OptimiserSettings(lr=1e-2, warmup=10, plan=PlanSettings(schedule="frozen", first="head")),
    ),
}  # fmt: skip


def finetune_preset(name: str) -> FinetuneConfig:
    """Return the preset called ``name``; raises ConfigError naming those that exist."""
    if name not in FINETUNE_PRESETS:
        raise ConfigError(f"preset: expected one of {', '.join(FINETUNE_PRESETS)}, got {name!r}")
    return FINETUNE_PRESETS[name]
