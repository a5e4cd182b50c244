"""Evaluation of anomaly maps: every recipe beside the HU baseline, on scans whose lesions are known."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError, GenesisError
from genesis3d.evaluation.anomaly import FOUND, LEAST_ML, Truth, anomaly_figures
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.files import write_atomic
from genesis3d.workflows.anomaly import anomaly_volume
from genesis3d.workflows.anomaly_files import check_folder
from genesis3d.workflows.evaluate_anomaly_cases import AnomalyCase, anomaly_cases
from genesis3d.workflows.evaluate_anomaly_config import BASELINE, EvaluateAnomalyConfig
from genesis3d.workflows.evaluate_anomaly_files import written
from genesis3d.workflows.evaluate_anomaly_methods import Method, methods
from genesis3d.workflows.evaluate_table import as_json, plain

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["EvaluateAnomalyConfig", "evaluate_anomaly"]

VERSION = 1  # of the figures: another number, and all are computed anew
Row = dict[str, Any]
FASTER = ("device", "threads", "batch", "recipe")  # settings that change no figure, or stand with the method


@dataclass(frozen=True, eq=False)
class _Task:
    """One map: a case in the lungs that are given, or found in the scan (``own``), by a method."""

    case: AnomalyCase
    lungs: str
    method: Method

    @property
    def name(self) -> str:
        return f"{self.case.name}, {self.lungs} lungs, {self.method.name}"

    @property
    def baseline(self) -> bool:
        return self.method.name == BASELINE

    def file(self, folder: Path, config: EvaluateAnomalyConfig) -> Path:
        """Return the file of its figures; another one when scan, masks, model or settings are others."""
        settings = {name: value for name, value in config.settings.to_dict().items() if name not in FASTER}
        facts = [VERSION, LEAST_ML, FOUND, settings, self.case.stamp(), self.lungs, self.method.recipe.to_dict(),
                 self.method.digest]  # fmt: skip
        key = sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:12]
        parts = (self.case.name, self.lungs, self.method.name, key)
        return folder / "cases" / ("-".join(re.sub(r"[^\w.]+", "_", part) for part in parts) + ".json")


def evaluate_anomaly(config: EvaluateAnomalyConfig, control: Control = keep_running) -> Iterator[Event]:
    """Map every scan by every method and write figures per case, means and differences to ``config.out_dir``.

    A map whose figures are there from an earlier call, of the same files, model and settings, is not made again.  One
    that fails is named in a warning and in ``failed`` of the result; the rest goes on.  When stopped, what is done
    stays, and the tables are not written.

    Raises
    ------
    ScanError, ModelError, ConfigError
        When there is no scan, a folder or a model is not there, or nothing could be mapped.
    """
    out = check_folder(config.out_dir)
    cases, said = anomaly_cases(config)
    ways = methods(config)
    (out / "cases").mkdir(exist_ok=True)
    total = sum(len(_sources(case, config)) for case in cases) * len(ways)
    yield Started(what="evaluate anomaly", total=total, unit="map", device=config.settings.device)
    yield from (Warned(message=text) for text in said)
    rows: list[Row] = []
    failed: list[str] = []
    step = 0
    for case in cases:
        tasks = [_Task(case, lungs, way) for lungs in _sources(case, config) for way in ways]
        complete = yield from _case(tasks, config, out, control, rows, failed)
        if not complete:
            yield Finished(cancelled=True)
            return
        step += len(tasks)
        yield Stepped(step=step, total=total)
    if not rows:
        raise ConfigError(f"expected scans that can be mapped, got none of {len(cases)}")
    for path in written(out, rows, failed, config):
        yield Saved(path=str(path), what="evaluation")
    yield Finished(result={"cases": len(cases), "failed": failed, "rows": plain(rows)})


def _sources(case: AnomalyCase, config: EvaluateAnomalyConfig) -> list[str]:
    given = ["given"] if case.lungs is not None else []
    return given + (["own"] if config.own or not given else [])


def _case(
    tasks: list[_Task], config: EvaluateAnomalyConfig, out: Path, control: Control, rows: list[Row], failed: list[str]
) -> Generator[Event, None, bool]:
    """Map one case by all methods that have no figures yet; return False when stopped."""
    looked: _Looked | None = None
    for task in tasks:
        known = _read(task.file(out, config))
        if known is not None:
            rows.append(known)
            continue
        if control() == "stop":
            return False
        try:
            if looked is None:
                looked = _looked(task.case, config, "own" in [one.lungs for one in tasks])
                yield from (Warned(message=f"{task.case.name}: {text}") for text in looked.warnings)
            if task.baseline and looked.scan.unit != "HU":
                yield Warned(message=f"{task.name}: no baseline, the scan is not in HU")
                continue
            row = yield from _mapped(task, looked, config, control)
        except Exception as error:
            reason = str(error) if isinstance(error, GenesisError) else f"{type(error).__name__}: {error}"
            failed.append(task.name)
            yield Warned(message=f"{task.name}: left out: {reason}")
            continue
        if row is None:
            return False
        write_atomic(task.file(out, config), as_json(row))
        rows.append(row)
    return True


@dataclass(frozen=True, eq=False)
class _Looked:
    """A scan with its truth, and the lungs found in it (None where those given suffice)."""

    scan: Volume
    truth: Truth
    own: Volume | None
    warnings: tuple[str, ...]


def _looked(case: AnomalyCase, config: EvaluateAnomalyConfig, own: bool) -> _Looked:
    from genesis3d.workflows.lungs import find_lungs

    scan = case.case.load()
    truth = case.truth(scan)
    body = find_lungs(scan, "body").mask
    found = find_lungs(scan, config.settings.lungs_method) if own else None
    warnings = (*scan.notes, *(() if found is None else found.warnings))
    scan = replace(scan, notes=())  # said here, once a case, and not again by every map
    return _Looked(scan, replace(truth, body=body), None if found is None else found.mask, warnings)


def _mapped(
    task: _Task, looked: _Looked, config: EvaluateAnomalyConfig, control: Control
) -> Generator[Event, None, Row | None]:
    lungs = looked.truth.lungs if task.lungs == "given" else looked.own
    settings = config.settings.replaced(recipe=task.method.recipe)
    if task.baseline:  # a threshold that is given is in the unit of other recipes
        settings = settings.replaced(threshold=None)
    work = anomaly_volume(looked.scan, task.method.model, settings, lungs, task.lungs, control)
    result = yield from _quietly(work, task.name)
    if result is None:
        return None
    figures = anomaly_figures(result.score, result.labels, result.lungs, looked.truth, result.threshold)
    facts = {"case": task.case.name, "lungs": task.lungs, "method": task.method.name}
    group = "without lesions given" if looked.truth.lesions is None else "lesions"
    return facts | {"group": group} | figures | {"seconds": round(result.seconds, 1)}


def _quietly(work: Generator[Event, None, Any], name: str) -> Generator[Event, None, Any]:
    """Pass a map's warnings on with the name of the map, and nothing else; return the map."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value
        if isinstance(event, Warned):
            yield Warned(message=f"{name}: {event.message}")


def _read(path: Path) -> Row | None:
    """Return the figures of an earlier call, None where there are none; what was no number is nan again."""
    try:
        row = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return {name: float("nan") if value is None else value for name, value in row.items()}
