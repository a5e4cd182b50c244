"""One scan in memory through a segmentation model: labels on the scan's own grid, box by box as they are known."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ConfigError
from genesis3d.events import Control, Event, Started, Stepped, Warned, keep_running
from genesis3d.inference.cells import Cell, Cells
from genesis3d.inference.classifying import classify
from genesis3d.inference.collecting import Collector, maps_on_scan
from genesis3d.inference.ordering import in_order
from genesis3d.inference.regrid import FarCanvas
from genesis3d.inference.stepping_down import SteppingDown
from genesis3d.inference.streaming import ResultStore, Streamed
from genesis3d.inference.weights import window_weights
from genesis3d.inference.windows import cut
from genesis3d.workflows.segment_prepare import Ready, prepared

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from genesis3d.inference.canvas import Canvas
    from genesis3d.labels import LabelClass
    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.segment_settings import SegmentSettings

    Triple = tuple[int, int, int]

__all__ = ["Segmentation", "segment_volume"]

GLANCE = 64  # voxels along each axis of the window computed at once where the user looks, and of the trial of precision
PROBED = 16  # windows of that size from which on it pays to measure which precision is faster
LARGEST = 2**31  # bytes of the probabilities on the work grid, from which on labels alone go back to the scan's grid
OFTEN = 0.1  # seconds between two events of progress


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A segmentation in memory; all volumes lie on the scan's canonical grid.

    Attributes
    ----------
    labels : (1, D, H, W) class values, 0 the background
    probabilities : (K, D, H, W) float16 of the classes in order; None if not asked for
    entropy : (1, D, H, W) float16, 0 sure to 1 all classes alike; None if not asked for
    covered : (D, H, W) where the labels are an answer: all of the scan or of the region, less where it was stopped
    complete : False when it was stopped before the last window
    """

    labels: Volume
    probabilities: Volume | None
    entropy: Volume | None
    covered: NDArray[np.bool_]
    classes: tuple[LabelClass, ...]
    card: ModelCard
    settings: SegmentSettings
    warnings: tuple[str, ...]
    complete: bool
    device: str
    precision: str
    seconds: float


def segment_volume(
    volume: Volume,
    model: LoadedModel,
    settings: SegmentSettings,
    *,
    inside: NDArray[np.bool_] | None = None,
    focus: Triple | None = None,
    look_along: int = 0,
    canvas: Canvas | None = None,
    out_store: Path | None = None,
    control: Control = keep_running,
) -> Generator[Event, None, Segmentation]:
    """Segment a scan in memory, yielding events (but no ``Finished``); return what came out, also when stopped.

    Parameters
    ----------
    volume : the scan, as read or canonical
    inside : (D, H, W) on its canonical grid: voxels to segment, the others stay background; None: all
    focus, look_along : voxel of the canonical grid that is looked at, to be known first, and along which axis (0 to 2)
    canvas : where labels appear as soon as something is known of them
    out_store : new folder, to become a Zarr group of labels and probabilities; the volumes returned then read from it
    control : asked between two windows

    Raises
    ------
    ModelError, DomainError, GeometryError, ConfigError
        One sentence on the model, the scan, the region, how they fit, or the settings.
    """
    began = time.monotonic()
    ready = prepared(volume, model, settings, inside)
    yield _started(ready, model.card)
    yield from (Warned(message=text) for text in ready.warnings)
    collector = _collector(ready, settings, canvas, out_store)
    if canvas is not None and focus is not None:
        _glance(ready, collector, ready.place(focus))
    _settle_precision(ready)
    said: list[str] = []
    complete = yield from _swept(ready, collector, focus, look_along, said, control)
    result = _finished(ready, settings, model.card, collector, complete, (*ready.warnings, *said), began)
    if canvas is not None and (ready.regrid is not None or settings.largest or settings.fill):
        d, h, w = (slice(0, n) for n in canvas.labels.shape)
        canvas.paint((d, h, w), result.labels.data[0].astype(np.uint16))
    return result


def _started(ready: Ready, card: ModelCard) -> Started:
    detail = {"scan": ready.volume.name, "model": card.title, "window": list(ready.plan.size)}
    total, device, precision = len(ready.plan.starts), str(ready.predictor.device), ready.predictor.precision
    return Started(what="segment", total=total, unit="window", device=device, precision=precision, detail=detail)


def _collector(ready: Ready, settings: SegmentSettings, canvas: Canvas | None, out_store: Path | None) -> Collector:
    store = None
    if out_store is not None:
        if ready.regrid is not None or settings.largest or settings.fill:
            raise ConfigError("out_store: expected a model that works on the scan's own grid, no largest and no fill")
        wanted = {"probabilities": settings.probabilities}
        store = ResultStore(Path(out_store), ready.volume.geometry, ready.classes, **wanted)
    if canvas is not None and ready.regrid is not None:
        canvas = FarCanvas(canvas, ready.regrid)
    return Collector(
        ready.work.geometry.shape,
        [one.value for one in ready.classes],
        ready.inside,
        probabilities=settings.probabilities or _interpolated(ready),
        entropy=settings.entropy and not _interpolated(ready),
        canvas=canvas,
        store=store,
    )


def _interpolated(ready: Ready) -> bool:
    """Whether probabilities, rather than labels, go back from the work grid to the scan's."""
    return ready.regrid is not None and 2 * len(ready.classes) * ready.work.data[0].size <= LARGEST


def _small(ready: Ready, middle: Triple) -> tuple[Triple, NDArray[np.float32]]:
    """Return the place and the voxels (1, C, d, h, w) in [0, 1] of a small window around ``middle``."""
    stride = ready.predictor.model.card.network.stride
    side = max(2 * stride, GLANCE // stride * stride)
    d, h, w = (min(n, side) for n in ready.plan.size)
    shape = ready.work.geometry.shape
    starts = [min(max(0, m - n // 2), max(0, s - n)) for m, n, s in zip(middle, (d, h, w), shape, strict=True)]
    start = (starts[0], starts[1], starts[2])
    return start, ready.unit(cut(ready.work.data, start, (d, h, w)))[None]


def _glance(ready: Ready, collector: Collector, focus: Triple) -> None:
    """Paint a first answer where the user looks, from a small window alone."""
    start, window = _small(ready, focus)
    scores = ready.predictor(window)[0]
    ends = zip(start, scores.shape[1:], ready.work.geometry.shape, strict=True)
    d, h, w = (slice(s, min(s + n, length)) for s, n, length in ends)
    scores = scores[:, : d.stop - d.start, : h.stop - h.start, : w.stop - w.start]
    collector.take(Cell((d, h, w), scores, None, False))


def _settle_precision(ready: Ready) -> None:
    """Measure which precision is faster where the work is long enough for that to pay."""
    d, h, w = (n // 2 for n in ready.work.geometry.shape)
    _, window = _small(ready, (d, h, w))
    if len(ready.plan.starts) * int(np.prod(ready.plan.size)) >= PROBED * window[0, 0].size:
        ready.predictor.probe(window)


def _swept(
    ready: Ready, collector: Collector, focus: Triple | None, axis: int, said: list[str], control: Control
) -> Generator[Event, None, bool]:
    """Run all windows, yielding progress and what had to be done to go on; return whether none is missing."""
    plan = ready.plan
    order = in_order(plan, None if focus is None else ready.place(focus), axis)
    cells = Cells(plan, window_weights(plan.size, "gaussian"), ready.predictor.device)
    predict = SteppingDown(ready.predictor, cells, ready.batch, ready.mirrored)
    work = classify(ready.work.data, order, plan.size, predict, ready.unit, cells, collector, ready.batch, ready.air,
                    control)  # fmt: skip
    total, began, told = len(order), time.monotonic(), 0.0
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            return bool(end.value)
        while predict.said:
            said.append(predict.said.pop(0))
            yield Warned(message=said[-1])
        now = time.monotonic()
        if now - told > OFTEN or done == total:
            told, rate = now, done / max(now - began, 1e-6)
            yield Stepped(step=done, total=total, rate=rate, seconds_left=(total - done) / rate, memory_bytes=_memory())


def _finished(
    ready: Ready, settings: SegmentSettings, card: ModelCard, collector: Collector, complete: bool,
    warnings: tuple[str, ...], began: float,
) -> Segmentation:  # fmt: skip
    labels, probabilities, entropy = _on_scan(ready, settings, collector)
    if ready.region is not None and ready.regrid is not None:
        labels[~ready.region] = ready.classes[0].value
    return Segmentation(
        labels=_volume(ready, _tidied(labels, ready.classes, settings), "segmentation"),
        probabilities=None if probabilities is None else _volume(ready, probabilities, "probabilities"),
        entropy=None if entropy is None else _volume(ready, entropy, "uncertainty"),
        covered=_covered(ready, None if complete else collector.covered()),
        classes=ready.classes,
        card=card,
        settings=settings,
        warnings=warnings,
        complete=complete,
        device=str(ready.predictor.device),
        precision="32" if ready.predictor.precision == "auto" else ready.predictor.precision,
        seconds=time.monotonic() - began,
    )


def _on_scan(ready: Ready, settings: SegmentSettings, collector: Collector) -> tuple[Any, Any, Any]:
    """Return labels, probabilities and entropy on the scan's grid."""
    labels, shares, entropy = collector.labels, collector.probabilities, collector.entropy
    if isinstance(labels, Streamed):
        return labels.array, None if shares is None else shares.array, entropy
    if ready.regrid is None:
        return labels, shares, entropy
    if shares is not None and _interpolated(ready):
        values = [one.value for one in ready.classes]
        wanted = {"probabilities": settings.probabilities, "entropy": settings.entropy}
        return maps_on_scan(ready.regrid, shares, values, **wanted)
    near = ready.regrid.nearest
    shares = None if shares is None else np.stack([near(part) for part in shares])
    return near(labels), shares, None if entropy is None else near(entropy)


def _covered(ready: Ready, covered: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Return where on the scan's grid there is an answer; ``covered`` on the work grid, None: everywhere."""
    if covered is None:
        everywhere = np.broadcast_to(np.True_, ready.volume.geometry.shape)
        return everywhere if ready.region is None else ready.region
    covered = covered if ready.regrid is None else ready.regrid.nearest(covered)
    return covered if ready.region is None else covered & ready.region


def _tidied(labels: NDArray[Any], classes: tuple[LabelClass, ...], settings: SegmentSettings) -> NDArray[Any]:
    from genesis3d.io.itk_filters.tidying import filled, largest_parts

    values = [one.value for one in classes[1:]]
    if settings.largest:
        labels = largest_parts(labels, values)
    return filled(labels, values) if settings.fill else labels


def _volume(ready: Ready, data: NDArray[Any], what: str) -> Volume:
    return ready.volume.with_data(data, modality=None, unit=None, name=f"{ready.volume.name} {what}", notes=())


def _memory() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
