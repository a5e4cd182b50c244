"""Weights in and out: published and related checkpoints as models of ours, and our models in published layouts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genesis3d.errors import ConfigError, ModelError
from genesis3d.files import write_atomic
from genesis3d.networks.foreign.report import MatchReport
from genesis3d.networks.model_file import LoadedModel, ModelCard

if TYPE_CHECKING:
    from torch import nn

    from genesis3d.networks import Network
    from genesis3d.networks.foreign.hosting import Hosted
    from genesis3d.networks.foreign.reading import ForeignFile

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
        given), ``auto`` running ones with scans, else what the published network itself does
    scans : scans (files, folders) or one prepared store to re-estimate the running statistics on
    network : the network to fill; None: that of the file's layout.  Its normalisation follows from the weights
    in_channels : channels of the scans; None: as the network
    source : where the file comes from, for the card
    licence : terms of the weights, for the card; empty: those known of the file's family

    Raises
    ------
    ModelError
        One sentence: a damaged or hostile file, an unknown layout, or under 60 % of the values matched.
    ScanError, DomainError
        When ``scans`` cannot be used.
    """
    from genesis3d.networks.foreign.adapting import adapted
    from genesis3d.networks.foreign.hosting import host
    from genesis3d.networks.foreign.matching import fill, match
    from genesis3d.networks.foreign.reading import read_foreign

    path = Path(path)
    file = read_foreign(path)
    hosted, own = host(file), _own_card(file)
    running = _runs(batch_norm, hosted, own) or (batch_norm == "auto" and bool(scans))
    target = _target(hosted, own, network, in_channels, running)
    fits, report = match(adapted(hosted, target), target)
    module = fill(target, fits)
    card = _card(hosted, own, target, source, licence)
    notes = _norm_notes(hosted, running, bool(scans), own)
    if running and scans:
        from genesis3d.workflows.weights_statistics import re_estimate

        notes += re_estimate(module, card, scans)
    report = replace(report, notes=(*report.notes, *notes, *([card.licence] if card.licence else [])))
    imported = _provenance(path, report, source)
    imported["batch_norm"] = "running" if running else "batch"
    imported["statistics"] = "re-estimated" if running and scans else "stored"
    return Imported(module, card.replaced(training=card.training | {"imported": imported}), report)


def _provenance(path: Path, report: MatchReport, source: str) -> dict[str, Any]:
    """Return what a card says of the file that weights came from."""
    return {
        "family": report.family,
        "matched": round(report.share, 4),
        "sha256": _digest(path),
        "source": source[:500],
    }


def export_weights(
    model: LoadedModel, path: str | Path, kind: ExportKind = "pytorch", *, prefix: bool = True, activation: bool = True
) -> Exported:
    """Write ``model`` in a published layout, whole or not at all; the card travels in the file.

    Parameters
    ----------
    model : the model, as ``read_model`` returns it
    path : the file to write; one that is there is replaced
    kind : ``pytorch`` and ``keras`` are the layouts of the published 3D U-Net, key for key, (x, y, z); ``onnx`` is any
        network, (z, y, x), compared with torch by onnxruntime
    prefix : pytorch: whether names begin with ``module.``, as in the published file
    activation : onnx: whether the output is the restored scan in [0, 1] rather than logits

    Raises
    ------
    ModelError
        For a network that has no such layout, a missing package, an export that differs, or a full disk.
    """
    path, card = Path(path), model.card
    header = json.dumps(card.to_dict(), sort_keys=True)
    notes: tuple[str, ...] = ()
    if kind == "pytorch":
        from genesis3d.networks.foreign.published import PREFIX, pytorch_file

        epoch = card.step or 0
        content = pytorch_file(model.module, card.network, header, epoch=epoch, prefix=PREFIX if prefix else "")
    elif kind == "keras":
        from genesis3d.networks.foreign.published import keras_file

        content = keras_file(model.module, card.network, header)
    elif kind == "onnx":
        from genesis3d.networks.foreign.onnx_file import onnx_file
        from genesis3d.tasks.activation import restored

        finish = partial(restored, activation=card.activation) if activation else lambda logits, _: logits
        content, notes = onnx_file(model.module, card.network, finish, header)
    else:
        raise ModelError(f"export: expected pytorch, keras or onnx, got {kind!r}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    except OSError as error:
        raise ModelError(f"{path}: the weights could not be written: {error.strerror or error}") from error
    return Exported(path, (*notes, *_differences(card, kind), *([card.licence] if card.licence else [])))


def _own_card(file: ForeignFile) -> ModelCard | None:
    """Return the card of a file that this project exported."""
    if not file.card:
        return None
    try:
        return ModelCard.parse(json.loads(file.card), str(file.path))
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        raise ModelError(f"{file.path}: the card in it is damaged") from error


def _runs(batch_norm: BatchNormMode, hosted: Hosted, own: ModelCard | None) -> bool:
    """Whether the network is to use running statistics."""
    if batch_norm not in ("auto", "batch", "running"):
        raise ModelError(f"batch_norm: expected auto, batch or running, got {batch_norm!r}")
    if batch_norm != "auto":
        return batch_norm == "running"
    norm = getattr(own.network, "norm", None) if own else None
    return hosted.family.running if norm is None else norm == "batch"


def _target(
    hosted: Hosted, own: ModelCard | None, network: Network | None, in_channels: int | None, running: bool
) -> Network:
    """Return the network to fill: the asked one, its normalisation that of the weights."""
    natural = hosted.network
    if network is not None and network.name != natural.name:
        raise ModelError(f"{hosted.path}: expected a {natural.name} to host {hosted.family.title}, got {network.name}")
    changes: dict[str, object] = {"norm": "batch" if running else "batch_statistics"}
    if hasattr(natural, "norm_eps"):
        changes["norm_eps"] = getattr(own.network if own else natural, "norm_eps", natural.norm_eps)
    if in_channels is not None:
        changes["in_channels"] = in_channels
    try:
        return (network or natural).replaced(**changes)
    except ConfigError as error:
        raise ModelError(f"{hosted.path}: {error}") from error


def _card(hosted: Hosted, own: ModelCard | None, target: Network, source: str, licence: str) -> ModelCard:
    family = hosted.family
    if own is not None:
        return own.replaced(network=target, licence=licence or own.licence)
    return ModelCard(
        title=family.title if not source else f"{family.title}, {source}"[:200],
        description="Weights of another project, translated into a network of this one.",
        limits="" if family.part == "all" else "Not all of the network has learnt anything: fine-tune it before use.",
        network=target,
        task={"name": "restoration"} if family.part == "all" else {},
        activation="sigmoid",
        intensity=family.intensity,
        modality=family.modality,
        patch=family.patch,
        spacing=family.spacing,
        licence=licence or family.licence,
    )


def _norm_notes(hosted: Hosted, running: bool, scans: bool, own: ModelCard | None) -> list[str]:
    """Return what the choice of statistics means for these weights."""
    faithful = hosted.family.running if own is None else _runs("auto", hosted, own)
    if running and not faithful and not scans:
        return [
            "The running statistics are those stored in the file, which its own network never used: give scans to "
            "re-estimate them, or take the batch mode."
        ]
    if not running and faithful:
        return ["Its own network used running statistics: in the batch mode it gives other results."]
    if not running:
        return ["Batch norm takes the statistics of each batch, as published: a window's result depends on the window."]
    return []


def _differences(card: ModelCard, kind: ExportKind) -> list[str]:
    """Return where the published network would not compute what ours does."""
    network, said = card.network, []
    norm, eps = getattr(network, "norm", ""), getattr(network, "norm_eps", "")
    if kind == "pytorch" and norm == "batch":
        said.append("The published module always takes the statistics of the batch; this model uses running ones.")
    if kind == "keras" and norm == "batch_statistics":
        said.append("Keras uses running statistics; this model takes those of the batch.")
    ours, theirs = ("1e-5", "1e-3") if kind == "keras" else ("1e-3", "1e-5")
    if (kind == "keras" and eps == "torch") or (kind == "pytorch" and eps == "keras"):
        said.append(f"Build the batch norms with epsilon {ours}: the published network has {theirs}.")
    if kind != "onnx" and getattr(network, "width", 32) != 32:
        said.append(f"The published network has width 32, this one {getattr(network, 'width', 32)}.")
    return said


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()
