"""What a network makes of a whole scan: restored, difference and probability on the scan's own grid.

A model that was trained on one spacing sees the scan on that grid, thin slices averaged at several phases; any other
sees the scan's own voxels.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.anomaly.placing import anchored_windows
from genesis3d.anomaly.restoring import Ready, prepare, run_windows, windows_of
from genesis3d.anomaly.working import from_working, to_working, working_mask
from genesis3d.events import Control, Event, Started, Warned
from genesis3d.io.itk_filters.median import median
from genesis3d.io.itk_filters.morphology import bounds

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.anomaly.base import Scene
    from genesis3d.inference.windows import Swept
    from genesis3d.volume import Volume

    Vector = tuple[float, float, float]
    Box = tuple[slice, slice, slice]

__all__ = ["Seen", "begun", "bench", "brought_back", "look", "phases_of"]

AROUND = 20.0  # mm around the lungs that come back to the scan's grid
MEDIAN = (0, 1, 1)  # radius in voxels of the working grid: 3x3x1
SAME = 0.25  # relative difference of slice thickness up to which one phase has it all


@dataclass(frozen=True, eq=False)
class Seen:
    """What the network made of the scan.

    Attributes
    ----------
    difference : (C, D, H, W) float32, scan minus restored in the scan's unit, 0 where no window was
    probability : (1, D, H, W) float32 of an opacity; None where the model has none
    low, high : of the model's intensity range, in the scan's unit
    exact : the network's own values, where it saw the scan's own voxels
    """

    scan: Volume
    difference: NDArray[np.float32]
    probability: NDArray[np.float32] | None
    low: float
    high: float
    device: str
    precision: str
    exact: Volume | None = None

    @property
    def width(self) -> float:
        """The span of the model's intensities in the scan's unit."""
        return self.high - self.low

    @property
    def restored(self) -> Volume:
        """The scan, clipped to the model's range, without the difference."""
        if self.exact is not None:
            return self.exact
        data = np.empty(self.scan.data.shape, np.float32)
        np.clip(self.scan.data, self.low, self.high, out=data, casting="unsafe")
        np.nan_to_num(data, copy=False, nan=self.low)
        data -= self.difference
        return self.scan.with_data(data, name=f"{self.scan.name} restored", notes=())

    def volume(self, data: NDArray[np.float32], what: str) -> Volume:
        """Return ``data`` on the scan's grid; a probability has no unit."""
        unit = None if what == "probability" else self.scan.unit
        return self.scan.with_data(data, unit=unit, name=f"{self.scan.name} {what}", notes=())


def phases_of(own: float, wanted: float, most: int) -> tuple[float, ...]:
    """Return the shifts in mm at which slices ``own`` mm apart are averaged to ``wanted`` mm, at most ``most``."""
    if abs(own / wanted - 1) <= SAME or own > wanted:
        return (0.0,)
    count = max(1, min(most, round(wanted / own)))
    return tuple(index * wanted / count for index in range(count))


def look(
    scene: Scene, control: Control, phases: int = 3, anchored: bool = True,
    first: Callable[[Seen], None] | None = None,
) -> Generator[Event, None, Seen | None]:  # fmt: skip
    """Apply the scene's model around its lungs, yielding ``Started``, warnings and progress; None when stopped.

    Parameters
    ----------
    phases : most passes over thin slices
    anchored : on the scan's own grid: windows that stand in space, not spread over the lungs
    first : is given what the first of several passes made
    """
    card = scene.card
    if card.working_spacing is None:
        return (yield from _on_own_grid(scene, control, anchored))
    shifts = phases_of(scene.scan.geometry.spacing[0], card.working_spacing[0], phases)
    return (yield from _on_working_grid(scene, control, card.working_spacing, shifts, first))


def bench(scene: Scene) -> Ready:
    """Return all that passes over the scan need, on the grid the model works on, at the first phase."""
    spacing = scene.card.working_spacing
    if spacing is not None:
        return _ready(scene, spacing, 0.0)
    return prepare(scene.scan, scene.loaded, scene.running, scene.lungs.data[0] > 0, anchored=True)


def brought_back(scene: Scene, ready: Ready, difference: NDArray[np.float32]) -> Seen:
    """Return a ``difference`` (C, ...) on the grid of :func:`bench` as seen on the scan's own grid."""
    if scene.card.working_spacing is not None:
        work = ready.volume
        smooth = np.stack([median(part, MEDIAN) for part in difference])
        difference = from_working(type(work)(smooth, work.geometry), scene.scan, _around(scene))
    return _seen(scene.scan, ready, difference, None)


def _on_own_grid(scene: Scene, control: Control, anchored: bool) -> Generator[Event, None, Seen | None]:
    ready = prepare(scene.scan, scene.loaded, scene.running, scene.lungs.data[0] > 0, anchored)
    yield from begun(ready, len(ready.plan.starts))
    if ready.card.purpose != "opacity":
        restored = yield from run_windows(ready, control)
        return (
            None
            if restored is None
            else replace(_seen(scene.scan, ready, restored.difference.data, None), exact=restored.restored)
        )
    swept = yield from windows_of(ready, scene.scan.data, control)
    return None if swept is None else _seen(scene.scan, ready, *_parts(ready, swept))


def _on_working_grid(
    scene: Scene, control: Control, spacing: Vector, shifts: tuple[float, ...], first: Callable[[Seen], None] | None
) -> Generator[Event, None, Seen | None]:
    ready = _ready(scene, spacing, shifts[0])
    passes = [ready] + [_shifted(scene, ready, spacing, shift) for shift in shifts[1:]]
    total, done = sum(len(one.plan.starts) for one in passes), 0
    yield from begun(ready, total)
    box = _around(scene)
    sums: list[NDArray[np.float32]] = []
    for index, one in enumerate(passes):
        swept = yield from windows_of(one, one.volume.data, control, done=done, total=total)
        if swept is None:
            return None
        done += len(one.plan.starts)
        _add(sums, _on_scan(scene.scan, one, swept, box), index)
        if index == 0 and first is not None and len(passes) > 1:
            first(_seen(scene.scan, one, *_split(sums, scene.scan.channels)))
    return _seen(scene.scan, ready, *_split(sums, scene.scan.channels))


def _ready(scene: Scene, spacing: Vector, shift: float) -> Ready:
    work, inside = _worked(scene, spacing, shift)
    return prepare(work, scene.loaded, scene.running, inside, anchored=True)


def _shifted(scene: Scene, ready: Ready, spacing: Vector, shift: float) -> Ready:
    """Return ``ready`` for the same scan at another phase: same device, precision and intensities."""
    work, inside = _worked(scene, spacing, shift)
    stride = ready.card.network.stride
    plan = anchored_windows(work.geometry, ready.plan.size, scene.running.overlap, inside, stride)
    return replace(ready, volume=work, plan=plan)


def _worked(scene: Scene, spacing: Vector, shift: float) -> tuple[Volume, NDArray[np.bool_]]:
    scale = scene.card.intensity.fit(scene.scan)
    work = to_working(scene.scan, spacing, shift, (scale.low, scale.high))
    return work, working_mask(scene.lungs, spacing, shift, 1e-3)


def begun(ready: Ready, total: int) -> Generator[Event, None, None]:
    """Yield the event that opens ``total`` windows, and what is to be said."""
    started = ready.started("anomaly")
    yield Started(**(started.model_dump(exclude={"kind"}) | {"total": total}))
    yield from (Warned(message=text) for text in ready.warnings)


def _parts(ready: Ready, swept: Swept) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Return difference (C, ...) in the scan's unit and probability (1, ...) on the grid of ``ready``."""
    volume, scale, box = ready.volume, ready.scale, (slice(None), *ready.plan.slices)
    difference = np.zeros(volume.data.shape, np.float32)
    known = np.clip(volume.data[box].astype(np.float32), scale.low, scale.high)
    np.nan_to_num(known, copy=False, nan=scale.low)
    np.subtract(known, scale.from_unit(swept.values[: volume.channels]), out=difference[box], where=swept.covered)
    if len(swept.values) == volume.channels:
        return difference, None
    probability = np.zeros((1, *volume.geometry.shape), np.float32)
    probability[box] = swept.values[volume.channels :]
    return difference, probability


def _on_scan(scan: Volume, ready: Ready, swept: Swept, box: Box) -> NDArray[np.float32]:
    """Return difference and probability, each through the median, on the scan's grid: (C + 1 or C, D, H, W)."""
    parts = np.concatenate([part for part in _parts(ready, swept) if part is not None])
    smooth = np.stack([median(part, MEDIAN) for part in parts])
    work = ready.volume
    return from_working(type(work)(smooth, work.geometry), scan, box)


def _add(sums: list[NDArray[np.float32]], found: NDArray[np.float32], index: int) -> None:
    """Keep the mean of all phases so far in the one array of ``sums``."""
    if not sums:
        sums.append(found)
        return
    found -= sums[0]
    found /= np.float32(index + 1)
    sums[0] += found


def _split(sums: list[NDArray[np.float32]], channels: int) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    found = sums[0]
    return found[:channels], found[channels:] if len(found) > channels else None


def _seen(scan: Volume, ready: Ready, difference: NDArray[np.float32], probability: NDArray[np.float32] | None) -> Seen:
    predictor = ready.predictor
    return Seen(scan, difference, probability, ready.scale.low, ready.scale.high, str(predictor.device),
                predictor.precision)  # fmt: skip


def _around(scene: Scene) -> Box:
    inside = scene.lungs.data[0] > 0
    reach = tuple(int(AROUND / s) + 1 for s in scene.scan.geometry.spacing)
    return bounds(inside, reach)
