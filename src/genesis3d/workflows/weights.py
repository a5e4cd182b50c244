"""Weights in and out: published and related checkpoints as models of ours, and our models in published layouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from genesis3d.errors import ModelError
from genesis3d.networks.foreign.report import MatchReport
from genesis3d.networks.model_file import LoadedModel, ModelCard

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network

__all__ = ["BatchNormMode", "ExportKind", "Exported", "Imported", "MatchReport", "export_weights", "import_weights"]

BatchNormMode = Literal["auto", "batch", "running"]
ExportKind = Literal["pytorch", "keras", "onnx"]


@dataclass(frozen=True, eq=False)
class Imported:
    """A foreign file as a model of ours, in eval mode; ``write_model(path, module, card)`` keeps it."""

    module: nn.Module
    card: ModelCard
    report: MatchReport


@dataclass(frozen=True)
class Exported:
    """The file written, and sentences to be said about it (its terms of use among them)."""

    path: Path
    notes: tuple[str, ...] = ()


def import_weights(
    path: str | Path,
    *,
    batch_norm: BatchNormMode = "auto",
    scans: Sequence[str | Path] = (),
    network: Network | None = None,
    in_channels: int | None = None,
    source: str = "",
    licence: str = "",
) -> Imported:
    """Read a foreign weight file into a network of ours.

    Parameters
    ----------
    path : torch checkpoint, Keras .h5 or safetensors
    batch_norm : ``batch`` takes the statistics of each batch, ``running`` stored ones (re-estimated on ``scans`` where
        given), ``auto`` what the published network itself does
    scans : scans (files, folders) to re-estimate the running statistics on
    network : the network to fill; None: that of the file's layout
    in_channels : channels of the scans; None: as the file
    source : where the file comes from, for the card
    licence : terms of the weights, for the card; empty: those known of the file's family

    Raises
    ------
    ModelError
        One sentence: a damaged or hostile file, an unknown layout, or under 60 % of the values matched.
    """
    raise ModelError(f"{path}: importing weights is not ready in this build")


def export_weights(model: LoadedModel, path: str | Path, kind: ExportKind = "pytorch") -> Exported:
    """Write ``model`` in a published layout, whole or not at all.

    ``pytorch`` and ``keras`` are the layouts of the published 3D U-Net, key for key; ``onnx`` is any network with its
    activation, checked against torch.  Raises ModelError.
    """
    raise ModelError(f"{path}: exporting weights is not ready in this build")
