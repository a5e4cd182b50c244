"""A scan through a restoration network into one file, on the scan's own grid."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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
from genesis3d.events import Control, Event, Finished, Saved, Warned, keep_running

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
    ready = prepare(volume, model, config)
    yield ready.started("restore")
    yield from (Warned(message=text) for text in (*volume.notes, *ready.warnings))
    result = yield from run_windows(ready, control)
    if result is None:
        yield Finished(cancelled=True)
        return
    yield Saved(path=str(write_volume(result.restored, config.out)), what="restored scan")
    inside = np.abs(result.difference.data)
    figures = {"mean_absolute_difference": float(inside.mean(dtype=np.float64)), "unit": volume.unit or ""}
    yield Finished(result=figures)


def _check_out(out: str) -> None:
    from genesis3d.io.write import WRITABLE

    path = Path(out)
    if not path.name.lower().endswith(WRITABLE):
        raise ScanError(f"{out}: expected a name ending in {', '.join(WRITABLE)}")
    if not path.absolute().parent.is_dir():
        raise ScanError(f"{out}: its folder does not exist")
