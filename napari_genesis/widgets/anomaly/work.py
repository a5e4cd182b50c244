"""What the Anomaly dock does behind the window, and how long it is likely to take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from genesis3d.events import Control, Event, Finished
from genesis3d.inference.windows import plan_windows
from napari_genesis.guessing import USUAL_SPEED, likely_device, work_a_voxel

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap, AnomalySettings

__all__ = ["Request", "guess_seconds", "mapping", "refining", "saving", "work_of"]

Work = Callable[[Control], Iterator[Event]]

LUNG_SHARE = 0.45  # of a chest scan's windows that hold lung


@dataclass(frozen=True)
class Request:
    """One map to make, and in ``result`` what came of it."""

    volume: Volume
    model: Path
    settings: AnomalySettings
    lungs: Volume | None
    lungs_from: str
    result: list[AnomalyMap]


def mapping(request: Request) -> Work:
    """Return the work of making a map."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.networks.model_file import read_model
        from genesis3d.workflows.anomaly import anomaly_volume

        model = read_model(request.model)
        result = yield from anomaly_volume(
            request.volume, model, request.settings, request.lungs, request.lungs_from, control
        )
        if result is not None:
            request.result.append(result)
        yield Finished(cancelled=result is None)

    return work


def refining(
    before: AnomalyMap, threshold: float, least_ml: float, lungs: Volume | None, out: list[AnomalyMap]
) -> Work:
    """Return the work of finding the regions anew: another threshold, another least size, or edited ``lungs``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.anomaly_map import check_lungs, find, score_map

        after = before
        if lungs is not None:
            inside = check_lungs(lungs, before.scan)  # a copy: painting goes on meanwhile
            score = score_map(before.difference, inside, before.settings.smooth, before.settings.rim_mm)
            after = replace(before, lungs=inside, score=score, lungs_from="layer")
        if control() == "run":
            labels, found = find(after.score, threshold, after.lungs, after.scan, after.difference, least_ml)
            settings = after.settings.replaced(threshold=threshold, least_ml=least_ml)
            out.append(replace(after, labels=labels, regions=found, threshold=threshold, settings=settings))
        yield Finished(cancelled=not out)

    return work


def saving(result: AnomalyMap, folder: Path) -> Work:
    """Return the work of writing every file of a map, as the command line does."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.anomaly_files import write_map

        for event in write_map(result, folder):
            yield event
            if control() == "stop":
                yield Finished(cancelled=True)
                return
        yield Finished(result={"folder": str(folder)})

    return work


def work_of(card: ModelCard, shape: tuple[int, ...], settings: AnomalySettings) -> float:
    """Return the multiplications of restoring all of a scan of ``shape`` (D, H, W)."""
    size = settings.window or card.patch or (32, 64, 64)
    windows = len(plan_windows(shape, size, settings.overlap).starts)
    return windows * float(size[0] * size[1] * size[2]) * work_a_voxel(card)


def guess_seconds(
    card: ModelCard, shape: tuple[int, ...], settings: AnomalySettings, speed: float | None, part: bool
) -> float:
    """Return about how long a map will take; ``speed`` in multiplications a second, ``part``: only where lung is."""
    speed = speed or USUAL_SPEED[likely_device(settings.device)]
    lungs = 4.0 * float(shape[0] * shape[1] * shape[2]) / 3.5e7  # finding lungs, score and regions
    return lungs + work_of(card, shape, settings) * (LUNG_SHARE if part else 1.0) / speed
