"""Evaluation: segmentations against references, per case and in summary, as tables and plots."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from genesis3d.errors import ConfigError, GenesisError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.networks.card import library_versions
from genesis3d.workflows.evaluate_cases import Evaluated, collected, evaluated_pair
from genesis3d.workflows.evaluate_config import EvaluateSegmentationConfig
from genesis3d.workflows.evaluate_model import labelled_items
from genesis3d.workflows.evaluate_pairs import LabelPair, label_pairs
from genesis3d.workflows.evaluate_table import as_csv, as_json, case_rows, plain, summary_rows

__all__ = ["EvaluateSegmentationConfig", "evaluate_segmentation", "prepared_folder", "written"]

Row = dict[str, Any]
Item = tuple[str, Callable[[], Evaluated | None]]


def evaluate_segmentation(config: EvaluateSegmentationConfig, control: Control = keep_running) -> Iterator[Event]:
    """Compare segmentations with references; write tables and plots to ``out_dir``, or nothing when stopped.

    A case that cannot be compared is named, left out and counted in the result's ``failed``; a single one is refused.
    The last event's result holds ``cases`` (number), ``failed`` (names), ``summary`` (a record a class and figure)
    and ``rows`` (a record a case and class).

    Raises
    ------
    ScanError, GeometryError, ConfigError, ModelError
        When nothing can be compared: one sentence naming the file or the setting.
    """
    out = prepared_folder(config.out_dir)
    found = _files(config) if config.model is None else labelled_items(config, control)
    if found is None:
        yield Finished(cancelled=True)
        return
    items, said = found
    yield Started(what="evaluate", total=len(items), unit="case")
    yield from (Warned(message=text) for text in said)
    done: list[Evaluated] = []
    failed: list[str] = []
    for number, (name, evaluated) in enumerate(items, start=1):
        try:
            one = None if control() == "stop" else evaluated()
        except GenesisError as error:
            if len(items) == 1:
                raise
            failed.append(name)
            yield Warned(message=f"{name} is left out: {error}")
        else:
            if one is None:
                yield Finished(cancelled=True)
                return
            yield from (Warned(message=text) for text in one.warnings)
            done.append(one)
        yield Stepped(step=number, total=len(items))
    if not done:
        raise ConfigError(f"expected cases that can be compared, got none of {len(items)}")
    yield from reported(done, failed, config, out)


def _files(config: EvaluateSegmentationConfig) -> tuple[list[Item], list[str]]:
    pairs, said = label_pairs(str(config.predictions), str(config.references))

    def item(pair: LabelPair) -> Item:
        return pair.name, lambda: evaluated_pair(
            pair, config.classes, config.ignore, resample=config.resample, distances=config.distances
        )

    return [item(pair) for pair in pairs], said


def reported(
    done: list[Evaluated], failed: list[str], config: EvaluateSegmentationConfig, out: Path | None
) -> Iterator[Event]:
    """Yield what the evaluated cases come to: sentences, files saved under ``out``, and the end with its result."""
    table, said = collected(done, config.classes)
    yield from (Warned(message=text) for text in said)
    rows = [row for name, figures in table.items() for row in case_rows(name, figures)]
    found = summary_rows(rows)
    if out is not None:
        for path in written(out, rows, found, config, failed):
            yield Saved(path=str(path), what="evaluation")
    yield Finished(result={"cases": len(done), "failed": failed, "summary": plain(found), "rows": plain(rows)})


def prepared_folder(folder: str | None) -> Path | None:
    """Return the folder for results, made if it was not there; raises ConfigError for what cannot be one."""
    if folder is None:
        return None
    out = Path(folder)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{out}: expected a folder to write to, got {error.strerror}") from error
    return out


def written(
    out: Path, rows: list[Row], found: list[Row], config: EvaluateSegmentationConfig, failed: list[str]
) -> Iterator[Path]:
    """Write cases.csv, summary.csv, evaluation.json and cases.png to ``out``; yield the path of each."""
    from genesis3d.workflows.evaluate_picture import case_plot

    settings = config.to_dict()
    settings = {name: value for name, value in settings.items() if name in ("classes", "ignore", "resample")}
    everything = {
        "settings": settings,
        "failed": failed,
        "summary": found,
        "cases": rows,
        "versions": library_versions(),
    }
    contents = {
        "cases.csv": as_csv(rows),
        "summary.csv": as_csv(found),
        "evaluation.json": as_json(everything),
        "cases.png": case_plot(rows),
    }
    for name, content in contents.items():
        write_atomic(out / name, content)
        yield out / name
