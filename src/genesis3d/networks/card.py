"""What a model says about itself: everything needed to rebuild and apply it, and where it comes from."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import Field

from genesis3d.config import Config
from genesis3d.intensity import INTENSITIES, CtIntensity, Intensity
from genesis3d.labels import LabelClass
from genesis3d.networks.base import NETWORKS, Network

__all__ = ["Activation", "DataSource", "ModelCard", "library_versions"]

Activation = Literal["sigmoid", "linear", "residual", "softmax", "opacity"]


def library_versions() -> dict[str, str]:
    """Return the versions of this project, Python and the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in ("napari-genesis", "torch", "numpy", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class DataSource(Config):
    """Scans that a model was trained on, named as their terms want it."""

    name: str = Field(min_length=1, max_length=200, description="the data set")
    licence: str = Field("", max_length=200, description="its terms, such as CC BY 4.0")
    by: str = Field("", max_length=500, description="who made it, to be named")
    url: str = Field("", max_length=500, description="where it is described")
    scans: int | None = Field(None, ge=1, description="how many of its scans were used")

    def text(self) -> str:
        """Return one line for people."""
        count = "" if self.scans is None else f"{self.scans} scan{'' if self.scans == 1 else 's'}"
        facts = ", ".join(part for part in (count, self.by, self.licence, self.url) if part)
        return f"{self.name} ({facts})" if facts else self.name


class ModelCard(Config):
    """The header of a model file.  It names no patient, no path and no date but its own."""

    schema_version: Literal[1] = Field(1, description="version of this header")
    title: str = Field("", max_length=200, description="a name for people")
    description: str = Field("", max_length=4000, description="what the model is for, in a few sentences")
    limits: str = Field("", max_length=4000, description="what it is not for, and what is known to go wrong")
    trained_by: str = Field(
        "", max_length=200, description="who trained it: a group or project, not a patient's clinic"
    )
    parents: tuple[str, ...] = Field((), description="models whose weights this one began with")
    network: Annotated[Network, *NETWORKS.field()] = Field(description="the network that the weights belong to")
    task: dict[str, Any] = Field(default_factory=dict, description="the task it was trained on, with its name")
    activation: Activation = Field(
        "sigmoid",
        description="what logits become: restored intensities by sigmoid, clip to [0, 1], or input + logits clipped; "
        "probabilities of classes by softmax; opacity: input + logits clipped, and of the last channel the sigmoid",
    )
    classes: tuple[LabelClass, ...] = Field(
        (), description="of a segmentation or classification: the class of each output channel, background first"
    )
    intensity: Annotated[Intensity, *INTENSITIES.field()] = Field(
        default=CtIntensity(), description="how scans were mapped to [0, 1]"
    )
    modality: str = Field(
        "", max_length=100, description="DICOM term of the scans it knows: CT, MR; several with commas; empty: not said"
    )
    patch: tuple[int, int, int] | None = Field(None, description="sub-volume (D, H, W) in voxels it was trained on")
    spacing: tuple[float, float, float] | None = Field(
        None, description="typical spacing (z, y, x) of the training scans in mm"
    )
    working_spacing: tuple[float, float, float] | None = Field(
        None, description="spacing (z, y, x) in mm that scans are resampled to for the network; None: their own grid"
    )
    chain: dict[str, Any] = Field(default_factory=dict, description="the chain of transformations of its training")
    training: dict[str, Any] = Field(default_factory=dict, description="the training's settings, without paths")
    data: dict[str, Any] = Field(default_factory=dict, description="fingerprint of the cases: keys, number, voxels")
    attribution: tuple[DataSource, ...] = Field((), description="the data sets it was trained on, with their terms")
    step: int | None = Field(None, ge=0, description="training steps behind the weights")
    metrics: dict[str, float] = Field(default_factory=dict, description="figures on held-out sub-volumes, by name")
    calibration: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="what anomaly scores are on healthy scans, by recipe"
    )
    licence: str = Field("", description="terms of the weights and attribution of their data")
    versions: dict[str, str] = Field(default_factory=library_versions, description="libraries that made it")
    created: str = Field(
        default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), description="UTC time of writing"
    )

    @property
    def purpose(self) -> str:
        """What the model is for: restoration, opacity, segmentation or classification."""
        return str(self.task.get("name", "restoration"))

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities it knows; of a card that does not say, CT where its intensities are Hounsfield units."""
        said = tuple(part.strip().upper() for part in self.modality.split(",") if part.strip())
        return said or (("CT",) if isinstance(self.intensity, CtIntensity) else ())

    def anonymous(self) -> ModelCard:
        """Return the card to be shared: of its cases the numbers stay, their keys (hashes of paths) go."""
        return self.replaced(data=_counted(self.data))


def _counted(values: dict[str, Any]) -> dict[str, Any]:
    counted: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            counted[name] = _counted(value)
        elif isinstance(value, list | tuple) and any(isinstance(item, str) for item in value):
            counted[name] = len(value)
        elif not isinstance(value, str):
            counted[name] = value
    return counted
