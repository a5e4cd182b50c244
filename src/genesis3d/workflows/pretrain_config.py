"""The configuration of a pre-training, and its presets as values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator

from genesis3d.data.sampling import SamplingConfig
from genesis3d.errors import ConfigError
from genesis3d.intensity import INTENSITIES, Intensity, Window
from genesis3d.networks import NETWORKS, Network
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks import TASKS, Task
from genesis3d.tasks.opacity import Opacity
from genesis3d.tasks.restoration import Restoration
from genesis3d.training.opacity_settings import OpacityPairs
from genesis3d.training.settings import (
    AveragingSettings,
    OptimiserSettings,
    ValidationSettings,
)
from genesis3d.transforms import Chain, chain_preset
from genesis3d.workflows.training_config import TrainingConfig

__all__ = ["NETWORK_SIZES", "PRETRAIN_PRESETS", "SCHEMES", "PretrainConfig", "pretrain_preset", "scheme_chain"]

# L is the published network.  S is for processors: its transposed convolutions would take a fifth of a step there.
NETWORK_SIZES: dict[str, UNet3d] = {
    "S": UNet3d(width=8, decoder="nearest"),
    "M": UNet3d(width=16),
    "L": UNet3d(width=32),
}


class PretrainConfig(TrainingConfig):
    """Everything that decides a pre-training; ``config.json`` of a run holds it whole."""

    cases: tuple[str, ...] = Field((), description="scans, DICOM folders, zips, or folders of these")
    intensity: Annotated[Intensity, *INTENSITIES.field()] | None = Field(
        None, description="how scans are mapped to [0, 1]; None: by modality (CT: fixed window in HU, else percentiles)"
    )
    sampling: SamplingConfig = Field(default=SamplingConfig(), description="which sub-volumes are drawn")
    chain: Chain = Field(default=Chain(), description="transformations to be undone: a chain, or a preset's name")
    network: Annotated[Network, *NETWORKS.field()] = Field(
        default=NETWORK_SIZES["M"], description="the network to train"
    )
    task: Annotated[Task, *TASKS.field()] = Field(default=Restoration(), description="what it is trained for")
    opacity: OpacityPairs | None = Field(
        None, description="task opacity: which sub-volumes of lungs it sees, and what is put into them; None: as usual"
    )
    optimiser: OptimiserSettings = Field(default=OptimiserSettings(), description="how weights follow gradients")
    averaging: AveragingSettings = Field(
        default=AveragingSettings(), description="whether model files hold an average of the weights"
    )
    start: str | None = Field(None, description="model whose weights a new run begins with: a file, run or its name")
    validation: ValidationSettings = Field(default=ValidationSettings(), description="what is held out and measured")

    @field_validator("cases", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    def public(self) -> dict[str, Any]:
        """Return the settings of the training itself, without paths and names of scans: for a model's card."""
        values = self.to_dict()
        for name in ("cases", "start", "intensity", "chain", "network", "task", "licence"):
            del values[name]
        if values["opacity"] is not None:
            del values["opacity"]["lungs"]
        values["validation"] = {key: value for key, value in values["validation"].items() if key != "names"}
        return values


# The training schemes that the paper compares (section 4.1), as names of chains: each transformation alone, none at all
# (identity), and all of them, each with its probability.
SCHEMES: dict[str, str] = {
    "combined": "default",
    "identity": "identity",
    "nonlinear": "nonlinear",
    "shuffling": "shuffling",
    "inpainting": "inpainting",
    "outpainting": "outpainting",
}

# Batches of the published training on its 445 scans of 32 sub-volumes: one epoch.
_OFFICIAL_EPOCH = 14_240 // 6
_PUBLISHED_SGD = OptimiserSettings(name="sgd", lr=1.0, momentum=0.9, weight_decay=0, warmup=0, clip=None)

_OFFICIAL_PYTORCH = PretrainConfig(
    sampling=SamplingConfig(rule="official"),
    chain=chain_preset("official"),
    network=UNet3d(width=32, decoder="transpose", norm="batch_statistics"),
    optimiser=_PUBLISHED_SGD.replaced(schedule="step", decay_every=40 * _OFFICIAL_EPOCH, decay_factor=0.5),
    batch=6,
    steps=10_000 * _OFFICIAL_EPOCH,
    validation=ValidationSettings(every=_OFFICIAL_EPOCH, patience=50),
)
# Keras normalises by running statistics in evaluation, and lowers the rate where the held-out loss no longer falls.
_OFFICIAL_KERAS = _OFFICIAL_PYTORCH.replaced(
    network=UNet3d(width=32, decoder="nearest", norm="batch", norm_eps="keras"),
    optimiser=_PUBLISHED_SGD.replaced(
        schedule="plateau", decay_factor=0.5, plateau_patience=10, plateau_delta=1e-4, lowest=1e-6
    ),
)

PRETRAIN_PRESETS: dict[str, PretrainConfig] = {
    "default": PretrainConfig(minutes=60),
    # Minutes on a processor: more and smaller sub-volumes a step teach more than few large ones, at the same cost, and
    # make batch statistics that hold for unseen scans; measured at the papers' size all the same.
    "quick": PretrainConfig(
        network=NETWORK_SIZES["S"], minutes=10, sampling=SamplingConfig(patch=(24, 48, 48)), batch=6,
        task=Restoration(output="linear"), chain=chain_preset("moderate"),
        validation=ValidationSettings(patch=(32, 64, 64)),
    ),
    # Lungs with opacities put in, to be taken out and found: 6 mm slices, which every chest CT can be brought to.
    "opacity": PretrainConfig(
        task=Opacity(), opacity=OpacityPairs(), intensity=Window(low=-1000, high=200),
        network=UNet3d(width=8, decoder="nearest", norm="batch", flat=1, out_channels=2),
        sampling=SamplingConfig(patch=(16, 64, 64), rule="anywhere"), chain=chain_preset("identity"), minutes=13,
        optimiser=OptimiserSettings(lr=2e-3, warmup=60, schedule="poly", clip=5.0),
        averaging=AveragingSettings(decay=0.985), validation=ValidationSettings(windows=32),
    ),
    "official-pytorch": _OFFICIAL_PYTORCH,
    "official-keras": _OFFICIAL_KERAS,
    # What the paper says (section 3.3), and the published code where it says nothing: momentum, patience, batch.
    "paper": _OFFICIAL_KERAS.replaced(sampling=SamplingConfig(rule="paper"), chain=chain_preset("paper")),
}  # fmt: skip


def pretrain_preset(name: str) -> PretrainConfig:
    """Return the preset called ``name``; raises ConfigError naming those that exist."""
    if name not in PRETRAIN_PRESETS:
        raise ConfigError(f"preset: expected one of {', '.join(PRETRAIN_PRESETS)}, got {name!r}")
    return PRETRAIN_PRESETS[name]


def scheme_chain(name: str) -> Chain:
    """Return the chain of the training scheme called ``name``; raises ConfigError naming those that exist."""
    if name not in SCHEMES:
        raise ConfigError(f"scheme: expected one of {', '.join(SCHEMES)}, got {name!r}")
    return chain_preset(SCHEMES[name])
