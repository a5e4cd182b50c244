"""Many scans into a folder of labels: what is complete stays, one failure stops nothing, the same call goes on."""

from __future__ import annotations

import shutil
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.cases import find_cases
from genesis3d.data.channels import Group, grouped, on_one_grid
from genesis3d.data.preparation import without_paths
from genesis3d.errors import ConfigError, GenesisError, RunError, ScanError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.inference.predictor import warm
from genesis3d.workflows.anomaly_files import check_folder
from genesis3d.workflows.segment_checks import check_model, region_of
from genesis3d.workflows.segment_files import Manifest, entry_of, write_segmentation
from genesis3d.workflows.segment_one import Segmentation, segment_volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.volume import Volume
    from genesis3d.workflows.segment_settings import SegmentConfig

__all__ = ["segment"]

# settings that say where and how fast, not what comes out
PLACES = {"scans", "model", "out_dir", "overwrite", "device", "threads", "batch", "mask"}


@dataclass(frozen=True, eq=False)
class _Job:
    """One case: its ``name`` among the results, unlike every other's."""

    group: Group
    name: str

    def stamp(self) -> str:
        """Return what changes when a file of the case does."""
        paths = [Path(scan.path) for scan in self.group.scans if scan.path]
        facts = [(path.stat().st_mtime_ns, path.stat().st_size) for path in paths if path.exists()]
        return sha256(repr(facts).encode()).hexdigest()[:16]


def segment(config: SegmentConfig, control: Control = keep_running) -> Iterator[Event]:
    """Segment every scan of ``config.scans`` into ``config.out_dir``; a case that is complete there is passed over.

    A step is a case; the metrics ``window`` and ``windows`` tell how far the one in work is.  A case that fails is
    named in a warning and in ``failed`` of the result.  Told to stop, the case in work is dropped and the complete ones
    stay.

    Raises
    ------
    ConfigError
        For a folder whose results were made by another model or other settings, without ``overwrite``.
    ScanError, ModelError, RunError
        When there is no scan, the model is none of segmentation, or another process writes into the folder.
    """
    folder = check_folder(config.out_dir)
    model = warm(config.model, config.device, config.precision).model
    check_model(model.card)
    jobs, said = _jobs(config, folder)
    if config.mask is not None and len(jobs) > 1:
        raise ConfigError(f"mask: expected a single scan, on whose grid it lies, got {len(jobs)} scans")
    with ExitStack() as held:
        _alone(folder, held)
        manifest = Manifest(folder, _made_by(config, model), config.overwrite)
        yield from _all(config, model, jobs, said, manifest, control)


def _all(
    config: SegmentConfig, model: LoadedModel, jobs: list[_Job], said: list[str], manifest: Manifest, control: Control
) -> Iterator[Event]:
    todo = [job for job in jobs if not manifest.has(job.group.key, job.stamp())]
    done, failed, stopped = len(jobs) - len(todo), [], False
    device = warm(model, config.device, config.precision)
    detail = {"model": model.card.title, "already_there": done}
    yield Started(what="segment", total=len(jobs), unit="case", device=str(device.device), precision=device.precision,
                  detail=detail)  # fmt: skip
    yield from (Warned(message=text) for text in said)
    manifest.save()
    for job in todo:
        try:
            complete = yield from _one(config, model, job, manifest, control, done, len(jobs))
        except Exception as error:
            reason = without_paths(_reason(error), job.group)
            failed.append(job.name)
            manifest.fail(job.group.key, job.name, reason)
            yield Warned(message=f"{job.name} was not segmented: {reason}")
        else:
            if not complete:
                stopped = True
                break
            done += 1
        yield Stepped(step=done + len(failed), total=len(jobs))
    result = {"cases": len(jobs), "complete": done, "already_there": len(jobs) - len(todo), "failed": failed}
    yield Finished(cancelled=stopped, result=result | {"table": str(manifest.folder / "table.csv")})


def _one(
    config: SegmentConfig, model: LoadedModel, job: _Job, manifest: Manifest, control: Control, done: int, total: int
) -> Generator[Event, None, bool]:
    """Segment and write one case; return False when stopped before its end."""
    scan, notes = _loaded(job.group)
    yield from (Warned(message=f"{job.name}: {note}") for note in notes)
    store = _new_store(manifest.folder / f".{job.name}.zarr.part") if config.format == ".zarr" else None
    work = segment_volume(scan, model, config, inside=_region(config, scan), out_store=store, control=control)
    result = yield from _followed(work, job.name, done, total)
    if not result.complete:
        return False
    source = job.group.scans[0]
    files: list[str] = []
    for path in write_segmentation(result, manifest.folder, job.name, config.format, source.path, source.series):
        files.append(path.name)
        yield Saved(path=str(path), what=path.name)
    entry = entry_of(result, scan, job.name, job.stamp(), files)
    if store is not None:
        yield Saved(path=str(_in_place(store, manifest.folder / f"{job.name}.zarr")), what=f"{job.name}.zarr")
        files.append(f"{job.name}.zarr")
    manifest.add(job.group.key, entry)
    return True


def _new_store(path: Path) -> Path:
    """Return ``path`` for a new store; what a run that was killed left there goes."""
    shutil.rmtree(path, ignore_errors=True)
    return path


def _in_place(made: Path, path: Path) -> Path:
    """Give a complete store its name; an older one goes."""
    try:
        shutil.rmtree(path, ignore_errors=True)
        made.rename(path)
    except OSError as error:
        raise ScanError(f"{path}: cannot be written: {error.strerror or error}") from error
    return path


def _followed(
    work: Generator[Event, None, Segmentation], name: str, done: int, total: int
) -> Generator[Event, None, Segmentation]:
    """Tell a case's windows as part of the whole, and its warnings by its name."""
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            result: Segmentation = end.value
            return result
        if isinstance(event, Stepped):
            metrics = {"window": float(event.step), "windows": float(event.total or 0)}
            yield event.model_copy(update={"step": done, "total": total, "metrics": metrics})
        elif isinstance(event, Warned):
            yield Warned(message=f"{name}: {event.message}")


def _jobs(config: SegmentConfig, folder: Path) -> tuple[list[_Job], list[str]]:
    """Return the cases, named apart, and what is passed over; earlier results are no scans."""
    found = find_cases(config.scans)
    own = folder.resolve()
    scans = [case for case in found if case.path is None or own not in Path(case.path).resolve().parents]
    groups, incomplete = grouped(scans, config.channels)
    if not groups:
        raise ScanError(f"expected at least one scan; {'; '.join([*found.skipped, *incomplete][:3]) or 'found none'}")
    names = [group.name for group in groups]
    jobs = [_Job(g, g.name if names.count(g.name) == 1 else f"{g.name}-{g.key[:6]}") for g in groups]
    return jobs, [without_paths(text) for text in (*found.skipped, *incomplete)]


def _loaded(group: Group) -> tuple[Volume, list[str]]:
    """Return a case's scan, canonical, its channels in one volume, and what was said while reading."""
    volumes = [case.load() for case in group.scans]
    notes = [note for volume in volumes for note in volume.notes]
    if len(volumes) == 1:
        return volumes[0], notes
    volumes, said = on_one_grid(volumes)
    return volumes[0].with_data(np.concatenate([volume.data for volume in volumes])), [*notes, *said]


def _region(config: SegmentConfig, scan: Volume) -> NDArray[np.bool_] | None:
    inside = None
    if config.mask is not None:
        from genesis3d.io import read_volume

        inside = region_of(read_volume(config.mask), scan)
    if config.box is not None:
        start, stop = config.box
        if any(not 0 <= a < b <= n for a, b, n in zip(start, stop, scan.geometry.shape, strict=True)):
            raise ConfigError(f"box: expected one inside {scan.geometry.shape} voxels (D, H, W), got {start} to {stop}")
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        chosen = np.zeros(scan.geometry.shape, bool)
        chosen[box] = True if inside is None else inside[box]
        inside = chosen
    return inside


def _made_by(config: SegmentConfig, model: LoadedModel) -> dict[str, Any]:
    """Return what decides the results, without paths."""
    values = {name: value for name, value in config.to_dict().items() if name not in PLACES}
    if config.mask is not None:
        values["mask"] = sha256(Path(config.mask).read_bytes()).hexdigest() if Path(config.mask).is_file() else "folder"
    return {"model": model.card.title, "sha256": sha256(model.path.read_bytes()).hexdigest()} | values


def _alone(folder: Path, held: ExitStack) -> None:
    from genesis3d.training.lock import DirectoryLock

    try:
        held.enter_context(DirectoryLock(folder))
    except RunError as error:
        raise RunError(f"{folder}: expected a folder nobody writes into, but another process segments there") from error


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, GenesisError) else f"{type(error).__name__}: {error}"
