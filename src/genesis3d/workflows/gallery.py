"""The restoration gallery: what models learnt, shown on a scan (Models Genesis, Fig. D.14), with figures beside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from genesis3d.errors import ConfigError
from genesis3d.events import Control, Event, Finished, Saved, Started, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.workflows.gallery_rows import GalleryReady, GallerySettings, Row, gallery_rows, get_ready
from genesis3d.workflows.gallery_table import TABLES, as_file, records

if TYPE_CHECKING:
    from genesis3d.networks.model_file import LoadedModel

__all__ = ["PICTURES", "GalleryConfig", "gallery", "labelled_models"]

PICTURES = (".png", ".pdf", ".svg")


class GalleryConfig(GallerySettings):
    """A gallery of one scan: a picture, tables, or both."""

    scan: str = Field(description="scan: DICOM folder, zip, NIfTI, NRRD or MetaImage")
    series: str | None = Field(None, description="series UID where a folder holds several; empty: the largest")
    models: tuple[str, ...] = Field(min_length=1, description="runs, model files or library names, or LABEL=MODEL")
    out: str | None = Field(None, description="picture to write: .png, .pdf or .svg; empty: none")
    tables: tuple[str, ...] = Field((), description="tables to write: .csv, .json or .md")


def gallery(config: GalleryConfig, control: Control = keep_running) -> Iterator[Event]:
    """Restore transformed sub-volumes by every model; write picture and tables, or nothing when stopped.

    The last event's ``result["table"]`` holds the figures as records.

    Raises
    ------
    ScanError, ModelError, DomainError, ConfigError
        One sentence on the scan, a model, how they fit, or the settings.
    """
    from genesis3d.io import read_volume

    _check_files(config)
    models = labelled_models(config.models)
    volume = read_volume(config.scan, series=config.series)
    ready = get_ready(volume, models, config)
    yield _started(ready)
    yield from (Warned(message=text) for text in (*volume.notes, *ready.warnings))
    rows: list[Row] = []
    for item in gallery_rows(ready, control):
        if isinstance(item, Row):
            rows.append(item)
        else:
            yield item
    if len(rows) < len(ready.chains):
        yield Finished(cancelled=True)
        return
    table = records(rows)
    if config.out is not None:
        from genesis3d.workflows.gallery_picture import gallery_picture

        out = Path(config.out)
        write_atomic(out, gallery_picture(ready.frame, rows, out.suffix.lower()))
        yield Saved(path=str(out), what="picture")
    for name in config.tables:
        write_atomic(Path(name), as_file(table, Path(name).suffix.lower()))
        yield Saved(path=name, what="table")
    yield Finished(result={"windows": config.windows, "seed": config.seed, "table": table})


def labelled_models(given: tuple[str, ...]) -> dict[str, LoadedModel]:
    """Return the models by label: ``LABEL=MODEL``, else the name of the run, file or library model.

    Raises
    ------
    ModelError
        For a model that cannot be read.
    ConfigError
        For two models of one label.
    """
    from genesis3d.networks.model_file import read_model

    models: dict[str, LoadedModel] = {}
    for text in given:
        label, equals, path = text.partition("=")
        if not equals or Path(text).exists():
            label, path = Path(text).name.removesuffix(".safetensors"), text
        if label in models:
            raise ConfigError(f"models: expected different labels, got {label!r} twice; write LABEL=MODEL")
        models[label] = read_model(path)
    return models


def _check_files(config: GalleryConfig) -> None:
    for name, endings in [(config.out, PICTURES), *((table, TABLES) for table in config.tables)]:
        if name is None:
            continue
        if Path(name).suffix.lower() not in endings:
            raise ConfigError(f"{name}: expected a name ending in {', '.join(endings)}")
        if not Path(name).absolute().parent.is_dir():
            raise ConfigError(f"{name}: its folder does not exist")


def _started(ready: GalleryReady) -> Started:
    predictor = next(iter(ready.predictors.values()))
    detail = {"models": list(ready.predictors), "outcomes": list(ready.chains), "scan": ready.volume.name}
    return Started(
        what="gallery", total=ready.total, unit="sub-volume", device=str(predictor.device),
        precision=predictor.precision, detail=detail,
    )  # fmt: skip
