"""Handing cases to a training: a layer that still equals its file travels as a path, any other is written once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from weakref import ref

from qtpy.compat import isalive

from genesis3d.errors import ConfigError, GenesisError
from genesis3d.events import Control, Event, Finished, Started, Stepped, Warned
from genesis3d.intensity import CtIntensity, Intensity
from genesis3d.workflows.pretrain_config import PretrainConfig
from napari_genesis.jobs import JobState
from napari_genesis.run_files import write_config
from napari_genesis.widgets.handing import equals_its_file, write_scan
from napari_genesis.widgets.pretrain.case_entries import CaseEntry
from napari_genesis.widgets.status import memory

__all__ = [
    "case_paths",
    "known_intensity",
    "prepare_cases",
    "prepare_run",
    "start_prepared",
    "training_memory",
]

# Measured with the 3D U-Net, 32 bits, forward and backward: float32 values kept per voxel and channel of width.
ACTIVATIONS_PER_VOXEL = 32
BASE_BYTES = 600 * 2**20  # torch and Python themselves


def prepare_cases(entries: Sequence[CaseEntry], folder: Path, control: Control) -> Iterator[Event]:
    """Yield events while making every entry a path; the last one's result holds them as ``paths``.

    ``folder`` (``RUN/inputs``) gets a file for each layer that differs from its source or has none.

    Raises
    ------
    RunError
        When the disk has no room for them.
    """
    yield Started(what="prepare cases", total=len(entries), unit="case")
    paths: list[str] = []
    for index, entry in enumerate(entries):
        if control() == "stop":
            yield Finished(cancelled=True)
            return
        if entry.volume is None or equals_its_file(entry.volume):
            paths.append(str(Path(entry.path or entry.volume.source).absolute()))  # type: ignore[union-attr]
        else:
            size = entry.volume.data.nbytes
            yield Warned(message=f"{entry.name} is not as in its file: {memory(size)} are written to the run")
            paths.append(str(write_scan(entry.volume, entry.name, folder, index + 1)))
        yield Stepped(step=index + 1, total=len(entries))
    yield Finished(result={"paths": paths})


def prepare_run(entries: Sequence[CaseEntry], run: Path, control: Control) -> Iterator[Event]:
    """Prepare the cases of ``run``; what comes to nothing leaves no folder."""
    done = False
    try:
        for event in prepare_cases(entries, run / "inputs", control):
            done = isinstance(event, Finished) and not event.cancelled
            yield event
    finally:
        if not done:
            shutil.rmtree(run, ignore_errors=True)


def start_prepared(run: Path, config: PretrainConfig, dock_ref: ref[Any], state: JobState) -> None:
    """Let the dock, if it is still there, train on the cases that :func:`prepare_run` has prepared."""
    dock = dock_ref()
    if dock is None or dock.closed or not isalive(dock) or state.state != "finished":
        return
    try:
        write_config(run, config.replaced(cases=tuple(state.result["paths"])))
    except (OSError, GenesisError) as error:
        shutil.rmtree(run, ignore_errors=True)
        dock.show_error(f"the run could not be written: {error}")
        return
    dock.launch(run)


def training_memory(config: PretrainConfig) -> int:
    """Return about how many bytes a training takes: weights, gradients, two moments, activations, torch itself."""
    voxels = config.batch * config.sampling.patch[0] * config.sampling.patch[1] * config.sampling.patch[2]
    activations = 4 * voxels * getattr(config.network, "width", 16) * ACTIVATIONS_PER_VOXEL
    return 16 * config.network.parameters() + activations + BASE_BYTES


def case_paths(entries: Sequence[CaseEntry]) -> tuple[str, ...]:
    """Return the file or folder of each case; raises ConfigError for a layer that no file stands for yet."""
    for entry in entries:
        if entry.path is None:
            raise ConfigError(f"{entry.name}: expected a case with a file, got a layer; start the training first")
    return tuple(str(entry.path) for entry in entries)


def known_intensity(entries: Sequence[CaseEntry]) -> Intensity | None:
    """Return the CT mapping where layers are handed over and every case is known to be CT: a copy may not say so."""
    copied = [entry for entry in entries if entry.volume is not None]
    known = all(e.modality == "CT" for e in entries) and all(e.volume.unit == "HU" for e in copied if e.volume)
    return CtIntensity() if copied and known else None
