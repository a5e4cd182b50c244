"""A scan through a restoration network into one file, on the scan's own grid."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from genesis3d.anomaly.restoring import (
    Ready,
    Restored,
    RestoreSettings,
    check_model,
    prepare,
    run_windows,
)
from genesis3d.errors import ScanError
from genesis3d.events import Control, Event, Finished, Saved, Started, Warned, keep_running

if TYPE_CHECKING:
    from genesis3d.anomaly.looking import Seen
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.volume import Volume

__all__ = ["Ready", "RestoreConfig", "RestoreSettings", "Restored", "check_model", "prepare", "restore", "run_windows"]


class RestoreConfig(RestoreSettings):
    """A restoration of one scan into one file."""

    scan: str = Field(description="scan: DICOM folder, zip, NIfTI, NRRD or MetaImage")
    model: str = Field(description="run directory, .safetensors model file or name of a model of the library")
    out: str = Field(description="file to write: .nii.gz, .nii, .nrrd, .mha or .mhd")
    series: str | None = Field(None, description="series UID where a folder holds several; empty: the largest")


def restore(config: RestoreConfig, control: Control = keep_running) -> Iterator[Event]:
    """Restore one scan and write it; nothing is written when stopped.

    Raises
    ------
    ScanError, ModelError, DomainError, ConfigError
        One sentence on the scan, the model, how they fit, or the settings.
    """
    from genesis3d.io import read_volume, write_volume
    from genesis3d.networks.model_file import read_model

    _check_out(config.out)
    model = read_model(config.model)
    volume = read_volume(config.scan, series=config.series)
    on_grid = model.card.working_spacing is not None
    result = yield from (_on_working_grid if on_grid else _on_own_grid)(volume, model, config, control)
    if result is None:
        yield Finished(cancelled=True)
        return
    yield Saved(path=str(write_volume(result.restored, config.out)), what="restored scan")
    inside = np.abs(result.difference.data)
    figures = {"mean_absolute_difference": float(inside.mean(dtype=np.float64)), "unit": volume.unit or ""}
    yield Finished(result=figures)


def _on_own_grid(
    volume: Volume, model: LoadedModel, config: RestoreConfig, control: Control
) -> Generator[Event, None, Restored | None]:
    ready = prepare(volume, model, config)
    yield ready.started("restore")
    yield from (Warned(message=text) for text in (*volume.notes, *ready.warnings))
    return (yield from run_windows(ready, control))


def _on_working_grid(
    volume: Volume, model: LoadedModel, config: RestoreConfig, control: Control
) -> Generator[Event, None, Restored | None]:
    """Restore on the grid that the model was trained on: what it takes away comes back to the scan's own."""
    from genesis3d.anomaly.base import Scene
    from genesis3d.anomaly.looking import look

    scan = volume.canonical()
    check_model(scan, model.card)
    everywhere = scan.with_data(np.ones((1, *scan.geometry.shape), np.uint8), modality=None, unit=None)
    seen = yield from _as_restoring(look(Scene(scan, everywhere, model, config), control))
    return None if seen is None else Restored(seen.restored, seen.volume(seen.difference, "difference"))


def _as_restoring(work: Generator[Event, None, Seen | None]) -> Generator[Event, None, Seen | None]:
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            found: Seen | None = end.value
            return found
        yield event.model_copy(update={"what": "restore"}) if isinstance(event, Started) else event


def _check_out(out: str) -> None:
    from genesis3d.io.write import WRITABLE

    path = Path(out)
    if not path.name.lower().endswith(WRITABLE):
        raise ScanError(f"{out}: expected a name ending in {', '.join(WRITABLE)}")
    if not path.absolute().parent.is_dir():
        raise ScanError(f"{out}: its folder does not exist")
