"""Many scans into a folder of anomaly maps: what is complete stays, one failure stops nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from genesis3d.data.cases import Case, find_cases
from genesis3d.data.preparation import without_paths
from genesis3d.errors import GenesisError, RunError, ScanError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.workflows.anomaly import AnomalyMap, anomaly_volume
from genesis3d.workflows.anomaly_batch_files import BatchRecord
from genesis3d.workflows.anomaly_config import AnomalySettings
from genesis3d.workflows.anomaly_files import check_folder, write_map

if TYPE_CHECKING:
    from genesis3d.networks.model_file import LoadedModel

__all__ = ["AnomalyBatchConfig", "anomaly_batch"]

# settings that say where and how fast, not what comes out
PLACES = {"scans", "model", "out_dir", "overwrite", "device", "threads", "batch"}


class AnomalyBatchConfig(AnomalySettings):
    """Anomaly maps of scans, each in a folder of its own within one."""

    scans: tuple[str, ...] = Field(min_length=1, description="scans, DICOM folders, zips, or folders of these")
    model: str | None = Field(
        None, description="run directory, .safetensors model file or name of a model; empty: none, for the recipe hu"
    )
    out_dir: str = Field(description="folder for the results, made if need be")
    lungs: Literal["auto", "classical", "network", "body", "none"] = Field(
        "auto", description="auto, classical, network (how they are found in a CT), body (the patient), none (all)"
    )
    overwrite: bool = Field(False, description="compute again what was made with other settings or another model")

    @field_validator("scans", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


@dataclass(frozen=True, eq=False)
class _Job:
    """One scan: its ``name`` among the results, unlike every other's."""

    case: Case
    name: str

    def stamp(self) -> str:
        """Return what changes when the scan's file does."""
        path = Path(self.case.path or "")
        facts = (path.stat().st_mtime_ns, path.stat().st_size) if path.exists() else ()
        return sha256(repr(facts).encode()).hexdigest()[:16]


def anomaly_batch(config: AnomalyBatchConfig, control: Control = keep_running) -> Iterator[Event]:
    """Map every scan of ``config.scans`` into a folder of its own in ``config.out_dir``, and tell all in summary.csv.

    A step is a scan; the metrics ``window`` and ``windows`` tell how far the one in work is.  A scan that is complete
    there is passed over; one that fails is named in a warning and in ``failed`` of the result.  Told to stop, the scan
    in work is dropped and the complete ones stay.

    Raises
    ------
    ConfigError
        For a folder whose results were made by another model or other settings, without ``overwrite``.
    ScanError, ModelError, RunError
        When there is no scan, no model, or another process writes into the folder.
    """
    folder = check_folder(config.out_dir)
    model = _model(config)
    jobs, said = _jobs(config, folder)
    with ExitStack() as held:
        _alone(folder, held)
        record = BatchRecord(folder, _made_by(config, model), config.overwrite)
        yield from _all(config, model, jobs, said, record, control)


def _all(
    config: AnomalyBatchConfig,
    model: LoadedModel | None,
    jobs: list[_Job],
    said: list[str],
    record: BatchRecord,
    control: Control,
) -> Iterator[Event]:
    todo = [job for job in jobs if not record.has(job.case.key, job.stamp())]
    done, stopped = len(jobs) - len(todo), False
    failed: list[str] = []
    detail = {"model": "" if model is None else model.card.title, "already_there": done}
    yield Started(what="anomaly-batch", total=len(jobs), unit="case", device=config.device, detail=detail)
    yield from (Warned(message=text) for text in said)
    record.save()
    for job in todo:
        try:
            complete = yield from _one(config, model, job, record, control, (done + len(failed), len(jobs)))
        except Exception as error:
            reason = _without(
                str(error) if isinstance(error, GenesisError) else f"{type(error).__name__}: {error}", job
            )
            failed.append(job.name)
            record.fail(job.case.key, job.name, reason)
            yield Warned(message=f"{job.name} was not mapped: {reason}")
        else:
            if not complete:
                stopped = True
                break
            done += 1
        yield Stepped(step=done + len(failed), total=len(jobs))
    result = {"cases": len(jobs), "complete": done, "already_there": len(jobs) - len(todo), "failed": failed}
    yield Finished(cancelled=stopped, result=result | {"table": str(record.summary)})


def _one(
    config: AnomalyBatchConfig,
    model: LoadedModel | None,
    job: _Job,
    record: BatchRecord,
    control: Control,
    place: tuple[int, int],
) -> Generator[Event, None, bool]:
    """Map and write one scan; return False when stopped before its end."""
    work = anomaly_volume(job.case.load(), model, config, None, config.lungs, control)
    result = yield from _followed(work, job.name, *place)
    if result is None:
        return False
    folder = record.folder / job.name
    for event in write_map(result, folder):
        if isinstance(event, Saved):
            yield event
    record.add(job.case.key, job.name, job.stamp())
    return True


def _followed(
    work: Generator[Event, None, AnomalyMap | None], name: str, done: int, total: int
) -> Generator[Event, None, AnomalyMap | None]:
    """Tell a scan's windows as part of the whole, and its warnings by its name."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a map's generator returns
        if isinstance(event, Stepped):
            metrics = {"window": float(event.step), "windows": float(event.total or 0)}
            yield event.model_copy(update={"step": done, "total": total, "metrics": metrics})
        elif isinstance(event, Warned):
            yield Warned(message=f"{name}: {event.message}")


def _jobs(config: AnomalyBatchConfig, folder: Path) -> tuple[list[_Job], list[str]]:
    """Return the scans, named apart, and what is passed over; earlier results are no scans."""
    found = find_cases(config.scans)
    own = folder.resolve()
    cases = [case for case in found if case.path is None or own not in Path(case.path).resolve().parents]
    if not cases:
        raise ScanError(f"expected at least one scan; {'; '.join(found.skipped[:3]) or 'found none'}")
    names = [case.name for case in cases]
    jobs = [_Job(c, c.name if names.count(c.name) == 1 else f"{c.name}-{c.key[:6]}") for c in cases]
    return jobs, [without_paths(text) for text in found.skipped]


def _model(config: AnomalyBatchConfig) -> LoadedModel | None:
    from genesis3d.networks.model_file import read_model

    return None if config.model is None else read_model(config.model)


def _made_by(config: AnomalyBatchConfig, model: LoadedModel | None) -> dict[str, Any]:
    """Return what decides the results, without paths."""
    values = {name: value for name, value in config.to_dict().items() if name not in PLACES}
    if model is None:
        return {"model": None} | values
    return {"model": model.card.title, "sha256": sha256(model.path.read_bytes()).hexdigest()} | values


def _alone(folder: Path, held: ExitStack) -> None:
    from genesis3d.training.lock import DirectoryLock

    try:
        held.enter_context(DirectoryLock(folder))
    except RunError as error:
        raise RunError(f"{folder}: expected a folder nobody writes into, but another process maps there") from error


def _without(text: str, job: _Job) -> str:
    """Return a sentence without the folder of the scan."""
    parent = str(Path(job.case.path or "").parent)
    return without_paths(text.replace(f"{parent}/", "") if job.case.path else text)
