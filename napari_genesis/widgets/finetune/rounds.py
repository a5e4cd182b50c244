"""From files handed over to a run: the first round of a training, and each further one from corrections."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.compat import isalive

from genesis3d.errors import GenesisError, RunError
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.finetune_config import FinetuneConfig
from napari_genesis.run_files import write_config
from napari_genesis.widgets.finetune.handing import label_files

if TYPE_CHECKING:
    from genesis3d.labels import LabelClass
    from napari_genesis.jobs import JobState

__all__ = ["begin_prepared", "go_on_prepared", "other_classes", "run_config"]


def run_config(run: Path) -> FinetuneConfig:
    """Return the configuration of ``run``; raises GenesisError."""
    return FinetuneConfig.parse(RunDir(run).config(), run.name)


def other_classes(run: Path, classes: Sequence[LabelClass]) -> list[LabelClass]:
    """Return those of ``classes`` that ``run`` was not begun with.

    Raises
    ------
    GenesisError
        When the run's configuration cannot be read, or names folders: those are corrected on disk.
    """
    if not label_files(run):
        raise RunError(f"'{run.name}' was trained from folders: correct the files there, then press Resume")
    known = {one.value for one in run_config(run).data.classes}
    return [one for one in classes if one.value not in known and one.name.lower() != "background"]


def begin_prepared(run: Path, config: FinetuneConfig, dock_ref: ref[Any], state: JobState) -> None:
    """Let the dock, if it is still there, train on the files that were handed over."""
    dock = _there(dock_ref)
    if dock is None or state.state != "finished":
        return
    try:
        classes = dock.data.table.classes_of(state.result["values"])
        write_config(run, config.replaced(data=config.data.replaced(classes=classes, **state.result["data"])))
    except (OSError, GenesisError) as error:
        shutil.rmtree(run, ignore_errors=True)
        dock.show_error(f"the run could not be written: {error}")
        return
    dock.launch(run)


def go_on_prepared(
    run: Path, budget: dict[str, Any], named: Sequence[LabelClass], unlabelled: str, dock_ref: ref[Any], state: JobState
) -> None:
    """Let the dock train ``run`` on, on the labels that were handed over; nothing of the run is touched before."""
    dock = _there(dock_ref)
    if dock is None or state.state != "finished":
        return
    try:
        config = run_config(run)
        data = config.data.replaced(
            unlabelled=unlabelled, classes=_renamed(config.data.classes, named), **_labels(config, state)
        )
        write_config(run, config.replaced(data=data, **budget))
    except (OSError, GenesisError) as error:
        dock.show_error(f"'{run.name}' stays as it is: {error}")
        return
    dock.launch(run, resume=True)


def _labels(config: FinetuneConfig, state: JobState) -> dict[str, Any]:
    path = Path(state.result["labels"])
    changes: dict[str, Any] = {"labels": (str(path),)}
    if config.data.label_suffix:
        changes["label_suffix"] = f"-{path.name[-17:-7]}"
    return changes


def _renamed(classes: Sequence[LabelClass], named: Sequence[LabelClass]) -> tuple[LabelClass, ...]:
    """Return the classes of a run under the names (and colours) that they have now."""
    now = {one.value: one for one in named}
    return tuple(one if one.name == "background" else now.get(one.value, one) for one in classes)


def _there(dock_ref: ref[Any]) -> Any:
    dock = dock_ref()
    return None if dock is None or dock.closed or not isalive(dock) else dock
