"""The configuration of a fine-tuning, and its presets as values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from genesis3d.config import Config
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
    RecoverySettings,
)
from genesis3d.training.target_settings import TargetValidation

__all__ = ["FINETUNE_PRESETS", "FinetuneConfig", "finetune_preset"]


# What a training from scratch takes: small enough for a processor.
_FRESH = UNet3d(width=16, decoder="nearest")
_SMALL = UNet3d(width=8, decoder="nearest")


class FinetuneConfig(Config):
    """Everything that decides a fine-tuning; ``config.json`` of a run holds it whole."""

    schema_version: Literal[1] = Field(1, description="version of this configuration")
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
    recovery: RecoverySettings = Field(default=RecoverySettings(), description="what happens when a training has died")
    batch: int = Field(4, ge=1, le=1024, description="sub-volumes per step")
    accumulate: int = Field(
        1, ge=1, le=1024, description="micro-batches that a step is computed in, one after another: less memory"
    )
    steps: int | None = Field(None, ge=1, description="length of the training in steps (or minutes)")
    minutes: float | None = Field(
        None, gt=0, le=60 * 24 * 60, description="length in minutes, made steps once, after 20 measured ones"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda:N or mps")
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="number format: auto takes bfloat16 where a self-test finds it right and faster"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="processor threads of each process; None: all cores but one, or a fair share"
    )
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="how several processes hold the network: ddp (auto) each the whole of it, fsdp each a part",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random in the run")
    validation: TargetValidation = Field(default=TargetValidation(), description="how the held-out scans are measured")
    keep: KeepSettings = Field(default=KeepSettings(), description="what is written while training")
    licence: str = Field("", max_length=2000, description="terms of the weights and attribution of their data")

    @model_validator(mode="after")
    def _one_budget(self) -> FinetuneConfig:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"expected either steps or minutes, got {self.steps} and {self.minutes}")
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate: expected at most the batch ({self.batch}) micro-batches, got {self.accumulate}"
            )
        return self

    @model_validator(mode="after")
    def _a_target_task(self) -> FinetuneConfig:
        if self.task.name == "restoration":
            raise ValueError("task: expected segmentation or classification, got restoration, which pretrain trains")
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
