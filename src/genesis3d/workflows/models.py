"""Models into the library and out of it: copied with their weights checked, or translated to and from other formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from genesis3d.config import Config
from genesis3d.errors import ConfigError, ModelError
from genesis3d.events import Control, Event, Finished, Saved, Started, Warned, keep_running
from genesis3d.networks.card import ModelCard
from genesis3d.networks.library import Library
from genesis3d.networks.model_file import copy_model, has_card, model_path, read_card, read_model, write_model

__all__ = ["KINDS", "WRITTEN", "ExportConfig", "ImportConfig", "card_fields", "export_model", "import_model"]

Kind = Literal["safetensors", "pytorch", "keras", "onnx"]
KINDS: dict[str, Kind] = {".safetensors": "safetensors", ".pt": "pytorch", ".pth": "pytorch", ".h5": "keras",
                          ".hdf5": "keras", ".onnx": "onnx"}  # fmt: skip
# What people write on a card; everything else is the training's to say.
WRITTEN = ("title", "description", "limits", "trained_by", "attribution", "licence", "modality", "spacing", "parents")


class ImportConfig(Config):
    """A model that is to enter the library."""

    file: str = Field(description="model file, run directory, or another project's weights (.pt, .pth, .h5, ...)")
    name: str = Field(description="what it is called in the library: letters, digits, dots, dashes")
    batch_norm: Literal["auto", "batch", "running"] = Field(
        "auto",
        description="of other projects' weights: statistics of each batch, or running ones (measured on scans of "
        "yours where given); auto: running with scans, else as the published network does",
    )
    scans: tuple[str, ...] = Field((), description="scans on which running batch-norm statistics are measured")
    in_channels: int | None = Field(
        None, ge=1, le=16, description="channels of your scans, where the weights were made for another number"
    )
    source: str = Field("", max_length=500, description="where the file comes from, for the model's card")
    licence: str = Field("", max_length=2000, description="terms of the weights, for the model's card")
    card: str | None = Field(None, description=f"YAML file of what people say on its card: {', '.join(WRITTEN)}")
    overwrite: bool = Field(False, description="replace a model of this name in the library")


class ExportConfig(Config):
    """A model that is to leave the library."""

    model: str = Field(description="name of a model of the library, run directory or model file")
    out: str = Field(description="file to write: .safetensors, .pt, .h5 or .onnx")
    kind: Kind | None = Field(None, description="safetensors, pytorch, keras or onnx; empty: by the file's suffix")
    half: bool = Field(False, description="weights in half precision: half the size (safetensors)")
    anonymous: bool = Field(
        True, description="leave the keys of the training's cases (salted hashes) out of the card, keep their number"
    )
    card: str | None = Field(None, description=f"YAML file of what people say on its card: {', '.join(WRITTEN)}")
    overwrite: bool = Field(False, description="replace the file if it is there")


def import_model(config: ImportConfig, control: Control = keep_running) -> Iterator[Event]:
    """Put a model into the library; one of this project is copied, another project's weights are translated.

    Raises
    ------
    ModelError, ConfigError, ScanError
        One sentence on the file, the name, the weights that do not match, or the card.
    """
    library = Library()
    target = library.place(config.name, config.overwrite)
    written = card_fields(config.card)
    yield Started(what="import")
    report = ""
    if has_card(model_path(config.file)):
        changes = written | ({"licence": config.licence} if config.licence else {})
        library.add(config.file, config.name, config.overwrite, read_card(config.file).replaced(**changes))
    else:
        report = _translate(config, written, target, control)
        if not report:
            yield Finished(cancelled=True)
            return
    yield Saved(path=str(target), what="model")
    card = read_card(target)
    if not card.licence and not card.attribution:
        yield Warned(message="The card names no licence: give one before you share the model.")
    yield Finished(result={"name": config.name, "report": report, "licence": card.licence})


def export_model(config: ExportConfig, control: Control = keep_running) -> Iterator[Event]:
    """Write a model into a file of its own, in this project's format or another's.

    Raises
    ------
    ModelError, ConfigError
        One sentence on the model, the file, or a network that the other format cannot hold.
    """
    out = Path(config.out)
    kind = config.kind or KINDS.get(out.suffix.lower())
    if kind is None:
        raise ConfigError(f"{out}: expected a name ending in {', '.join(KINDS)}, or a kind")
    if config.half and kind != "safetensors":
        raise ConfigError(f"half: expected a safetensors file, got {kind}, which is written in 32 bits")
    if out.exists() and not config.overwrite:
        raise ModelError(f"{out}: is there already; give another name or overwrite it")
    card = read_card(config.model).replaced(**card_fields(config.card))
    yield Started(what="export")
    if control() == "stop":
        yield Finished(cancelled=True)
        return
    notes = _write(config, kind, card.anonymous() if config.anonymous else card, out)
    yield from (Warned(message=note) for note in notes if note != card.licence)
    yield Saved(path=str(out), what=kind)
    yield Finished(result={"bytes": out.stat().st_size, "licence": card.licence})


def card_fields(path: str | None) -> dict[str, Any]:
    """Return the fields of a YAML file that people write on a card; raises ConfigError for any other."""
    if path is None:
        return {}
    import yaml

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a YAML file, got {' '.join(str(error).split())}") from error
    if not isinstance(values, dict) or not set(values) <= set(WRITTEN):
        got = ", ".join(map(str, values)) if isinstance(values, dict) else type(values).__name__
        raise ConfigError(f"{path}: expected a mapping with some of {', '.join(WRITTEN)}, got {got}")
    return values


def _translate(config: ImportConfig, written: dict[str, Any], target: Path, control: Control) -> str:
    """Write another project's weights to ``target``; return what matched, or nothing when stopped."""
    from genesis3d.workflows.weights import import_weights

    imported = import_weights(
        config.file,
        batch_norm="running" if config.scans and config.batch_norm == "auto" else config.batch_norm,
        scans=config.scans,
        in_channels=config.in_channels,
        source=config.source,
        licence=config.licence,
    )
    if control() == "stop":
        return ""
    write_model(target, imported.module, imported.card.replaced(**written))
    return imported.report.text()


def _write(config: ExportConfig, kind: Kind, card: ModelCard, out: Path) -> tuple[str, ...]:
    """Write the file; return what is to be said of it."""
    if kind != "safetensors":
        from genesis3d.workflows.weights import export_weights

        return export_weights(replace(read_model(config.model), card=card), out, kind=kind).notes
    if config.half:
        write_model(out, read_model(config.model).module, card, dtype="float16")
    else:
        copy_model(config.model, out, card)
    return ()
