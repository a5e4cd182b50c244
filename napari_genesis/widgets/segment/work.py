"""What the Segment dock does behind the window, and how long it is likely to take."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.events import Control, Event, Finished, Warned
from napari_genesis.guessing import USUAL_SPEED, likely_device, work_a_voxel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.inference.canvas import Canvas
    from genesis3d.labels import LabelClass
    from genesis3d.networks.card import ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.segment import Segmentation
    from genesis3d.workflows.segment_settings import SegmentConfig, SegmentSettings

__all__ = ["Request", "guess_seconds", "meaning", "saving", "segmenting", "segmenting_folder", "warming", "work_of"]

Work = Callable[[Control], Iterator[Event]]
Triple = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Request:
    """One segmentation to make, and in ``result`` what came of it.

    Attributes
    ----------
    volume : the scan, canonical (C, D, H, W)
    inside : where to segment, (D, H, W); None: everywhere
    focus, look_along : voxel that is looked at, and the axis of the grid along which
    canvas : where labels appear meanwhile; None: they are shown already, and only ``wanted`` is
    wanted : then, the further layers asked for: ``probabilities``, ``entropy``
    """

    volume: Volume
    model: Path
    settings: SegmentSettings
    inside: NDArray[np.bool_] | None
    focus: Triple
    look_along: int
    canvas: Canvas | None
    wanted: tuple[str, ...] = ()
    result: list[Segmentation] = field(default_factory=list)


def segmenting(request: Request) -> Work:
    """Return the work of segmenting one scan."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.inference.predictor import warm
        from genesis3d.workflows.segment import segment_volume

        settings = request.settings
        model = warm(request.model, settings.device, settings.precision).model  # loaded once, however often it runs
        result = yield from segment_volume(
            request.volume, model, settings, inside=request.inside, focus=request.focus,
            look_along=request.look_along, canvas=request.canvas, control=control,
        )  # fmt: skip
        request.result.append(result)
        yield Finished(cancelled=not result.complete)

    return work


def warming(model: Path, device: str, precision: str) -> Work:
    """Return the work of loading a model, and torch with it, before somebody waits for it."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.inference.predictor import warm

        if control() == "run":
            warm(model, device, precision)
        yield Finished()

    return work


def saving(labels: Volume, classes: Sequence[LabelClass], path: Path) -> Work:
    """Return the work of writing labels on their scan's own grid: ``.dcm`` as DICOM SEG, else by the suffix."""
    still = labels.with_data(labels.data.copy())  # painting goes on meanwhile

    def work(control: Control) -> Iterator[Event]:
        if path.suffix.lower() == ".dcm":
            from genesis3d.io import write_dicom_seg

            if still.source is None:
                raise ScanError(f"{still.name}: expected a scan that was opened from DICOM, got one without a source")
            write_dicom_seg(still, classes, still.source, path, series=still.series)
        else:
            from genesis3d.io import write_volume

            write_volume(still, path, labels=True, classes=classes)
        yield Finished(result={"path": str(path)})

    return work


def work_of(card: ModelCard, shape: Triple, spacing: tuple[float, float, float], settings: SegmentSettings) -> float:
    """Return about how many multiplications all of a scan takes."""
    voxels = float(np.prod(shape))
    if card.working_spacing is not None:
        voxels *= float(np.prod(np.divide(spacing, card.working_spacing)))
    overlap, mirror = settings.means()
    images = 1 if mirror == "none" else 2 ** len(mirror)
    return voxels * images / (1 - overlap) ** 3 * work_a_voxel(card)


def guess_seconds(work: float, device: str, speed: float | None) -> float:
    """Return about how long ``work`` multiplications take; ``speed`` in multiplications a second, None: the usual."""
    return work / (speed or USUAL_SPEED[likely_device(device)])


def meaning(settings: SegmentSettings) -> str:
    """Return in a line what the quality stands for."""
    overlap, mirror = settings.means()
    images = 1 if mirror == "none" else 2 ** len(mirror)
    mirrored = "no mirror images" if images == 1 else f"the mean of {images} mirror images"
    return f"windows share {100 * overlap:g} % with the next, {mirrored}"


def segmenting_folder(config: SegmentConfig, said: list[str]) -> Work:
    """Return the work of segmenting every scan that ``config`` names; what is told of single ones goes to ``said``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.workflows.segment import segment

        for event in segment(config, control):
            if isinstance(event, Warned):
                said.append(event.message)
            yield event

    return work
