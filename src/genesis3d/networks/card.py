"""What a model says about itself: everything needed to rebuild and apply it, and where it comes from."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import Field

from genesis3d.config import Config
from genesis3d.intensity import INTENSITIES, CtIntensity, Intensity
from genesis3d.networks.base import NETWORKS, Network

__all__ = ["Activation", "ModelCard", "library_versions"]

Activation = Literal["sigmoid", "linear", "residual"]


def library_versions() -> dict[str, str]:
    """Return the versions of this project, Python and the libraries that shape a result."""
    found = {"python": platform.python_version()}
    for name in ("napari-genesis", "torch", "numpy", "safetensors"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


class ModelCard(Config):
    """The header of a model file.  It names no patient, no path and no date but its own."""

    schema_version: Literal[1] = Field(1, description="version of this header")
    title: str = Field("", max_length=200, description="a name for people")
    network: Annotated[Network, *NETWORKS.field()] = Field(description="the network that the weights belong to")
    task: dict[str, Any] = Field(default_factory=dict, description="the task it was trained on, with its name")
    activation: Activation = Field(
        "sigmoid", description="logits to restored intensities: sigmoid, clip to [0, 1], or input + logits clipped"
    )
    intensity: Annotated[Intensity, *INTENSITIES.field()] = Field(
        default=CtIntensity(), description="how scans were mapped to [0, 1]"
    )
    patch: tuple[int, int, int] | None = Field(None, description="sub-volume (D, H, W) in voxels it was trained on")
    spacing: tuple[float, float, float] | None = Field(
        None, description="typical spacing (z, y, x) of the training scans in mm"
    )
    chain: dict[str, Any] = Field(default_factory=dict, description="the chain of transformations of its training")
    training: dict[str, Any] = Field(default_factory=dict, description="the training's settings, without paths")
    data: dict[str, Any] = Field(default_factory=dict, description="fingerprint of the cases: keys, number, voxels")
    step: int | None = Field(None, ge=0, description="training steps behind the weights")
    metrics: dict[str, float] = Field(default_factory=dict, description="figures on held-out sub-volumes, by name")
    licence: str = Field("", description="terms of the weights and attribution of their data")
    versions: dict[str, str] = Field(default_factory=library_versions, description="libraries that made it")
    created: str = Field(
        default_factory=lambda: datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), description="UTC time of writing"
    )
