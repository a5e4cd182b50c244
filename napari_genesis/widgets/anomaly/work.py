"""What the Anomaly dock does behind the window, and how long it is likely to take."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.events import Control, Event, Finished, Warned
from genesis3d.inference.windows import plan_windows
from napari_genesis.guessing import USUAL_SPEED, likely_device, work_a_voxel

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap, AnomalySettings
    from genesis3d.workflows.lungs import Method

__all__ = ["Request", "Work", "finding", "guess_seconds", "mapping", "refining", "work_of"]

Work = Callable[[Control], Iterator[Event]]

LUNG_SHARE = 0.45  # of a chest scan's windows that hold lung


@dataclass(frozen=True)
class Request:
    """One map to make, by ``names`` of scan, model and recipe; in ``result`` what came of it.

    ``coarse`` takes the first scores, as they come.
    """

    volume: Volume
    model: Path | None
    settings: AnomalySettings
    lungs: Volume | None
    lungs_from: str
    names: tuple[str, str, str]
    result: list[AnomalyMap] = field(default_factory=list)
    coarse: deque[Volume] = field(default_factory=deque)


def mapping(request: Request) -> Work:
    """Return the work of making a map."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.networks.model_file import read_model
        from genesis3d.workflows.anomaly import anomaly_volume

        model = None if request.model is None else read_model(request.model)
        result = yield from anomaly_volume(
            request.volume, model, request.settings, request.lungs, request.lungs_from, control, request.coarse.append
        )
        if result is not None:
            request.result.append(result)
        yield Finished(cancelled=result is None)

    return work


def finding(volume: Volume, method: Method, out: list[Volume]) -> Work:
    """Return the work of finding the lungs of a scan."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.lungs import find_lungs

        found = find_lungs(volume, method, control)
        if found is not None:
            yield from (Warned(message=text) for text in found.warnings)
            out.append(found.mask)
        yield Finished(cancelled=found is None)

    return work


def refining(
    before: AnomalyMap, threshold: float, least_ml: float, lungs: Volume | None, out: list[AnomalyMap]
) -> Work:
    """Return the work of finding the regions anew: another threshold, another least size, or edited ``lungs``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.anomaly import with_lungs
        from genesis3d.workflows.anomaly_map import find

        settings = before.settings.replaced(threshold=threshold, least_ml=least_ml)
        after = replace(before, threshold=threshold, settings=settings)
        if lungs is not None:
            out.append(with_lungs(after, lungs))
        elif control() == "run":
            found = find(after.score, threshold, after.lungs, after.scan, after.difference, least_ml)
            out.append(replace(after, labels=found[0], regions=found[1]))
        yield Finished(cancelled=not out)

    return work


def work_of(card: ModelCard, shape: tuple[int, ...], spacing: tuple[float, ...], settings: AnomalySettings) -> float:
    """Return the multiplications of all windows over a scan of ``shape`` (D, H, W) voxels of ``spacing`` mm."""
    if card.working_spacing is not None:
        ratio = np.divide(spacing, card.working_spacing)
        shape = tuple(max(1, int(np.ceil(n * r))) for n, r in zip(shape, ratio, strict=True))
    size = settings.window or card.patch or (32, 64, 64)
    windows = len(plan_windows(shape, size, settings.overlap).starts)
    return windows * float(size[0] * size[1] * size[2]) * work_a_voxel(card)


def guess_seconds(
    card: ModelCard | None, shape: tuple[int, ...], spacing: tuple[float, ...], settings: AnomalySettings,
    speed: float | None, part: bool,
) -> float:  # fmt: skip
    """Return about how long a map will take; ``speed`` in multiplications a second, ``part``: only where lung is."""
    lungs = 4.0 * float(shape[0] * shape[1] * shape[2]) / 3.5e7  # finding lungs, score and regions
    if card is None:
        return 3 * lungs
    speed = speed or USUAL_SPEED[likely_device(settings.device)]
    return lungs + work_of(card, shape, spacing, settings) * (LUNG_SHARE if part else 1.0) / speed
