"""Two anomaly maps of one patient: the second laid over the first, what is gone, smaller, larger and new.

Volumes are those of each scan's own grid: laying one over the other may stretch it, and does not change what was
measured.  Only places that both scans show are compared.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from genesis3d.anomaly.zones import Mapped as Measured
from genesis3d.errors import DomainError
from genesis3d.events import Control, Event, Started, Stepped, Warned, keep_running
from genesis3d.io.itk_filters.moving import moved
from genesis3d.io.itk_filters.registration import Registration, register
from genesis3d.workflows.anomaly_dates_config import DatesSettings
from genesis3d.workflows.anomaly_dates_regions import RegionChange, RegionPairs, region_changes

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["GONE", "NEW", "STILL", "DateComparison", "Mapped", "compare_dates"]

GONE, NEW, STILL = 1, 2, 3  # values of the volume ``change``
FILLED = 1.2  # times the size from which on lungs count as filled differently
BREATH = (
    "Lungs filled differently differ in density and place without any illness: what is said of regions holds where "
    "both scans were taken in about the same phase of breath."
)


class Mapped(Measured, Protocol):
    """What is needed of a map: an :class:`~genesis3d.workflows.anomaly.AnomalyMap`, or one read back from files."""

    @property
    def threshold(self) -> float:
        """Smallest score of a region."""

    @property
    def recipe(self) -> Any:
        """How the score was made."""

    @property
    def card(self) -> Any:
        """The model's card, or None."""


@dataclass(frozen=True, eq=False)
class DateComparison:
    """Two maps compared; all volumes lie on the first scan's canonical grid.

    Attributes
    ----------
    first, second : the maps
    registration : how the second was laid over the first, and how well
    scan, score, lungs, labels : of the second map, laid over the first
    seen : (1, D, H, W) 1 where the second scan reaches
    change : labels, 1 flagged at the first date alone, 2 at the second alone, 3 at both
    regions : what became of each, largest first
    warnings : what to doubt
    """

    first: Mapped
    second: Mapped
    registration: Registration
    scan: Volume
    score: Volume
    lungs: Volume
    labels: Volume
    seen: Volume
    change: Volume
    regions: list[RegionChange]
    settings: DatesSettings
    warnings: tuple[str, ...]


def compare_dates(
    first: Mapped, second: Mapped, control: Control = keep_running, settings: DatesSettings | None = None
) -> Generator[Event, None, DateComparison | None]:
    """Compare two maps of one patient, yielding events (but no ``Finished``); return None when stopped.

    Raises
    ------
    DomainError
        When the scans differ in kind, or cannot be laid over each other.
    """
    settings = settings or DatesSettings()
    _check(first, second)
    yield Started(what="anomaly-dates", total=3, unit="step", detail={"scans": [first.scan.name, second.scan.name]})
    told = tuple(_unlike(first, second))
    yield from (Warned(message=text) for text in told)
    registration = register(first.scan, second.scan, first.lungs, second.lungs, settings.motion, settings.grid_mm,
                            lambda: control() == "stop")  # fmt: skip
    if registration is None:
        return None
    yield Stepped(step=1, total=3)
    laid, back = _laid_over(first, second, registration)
    yield Stepped(step=2, total=3)
    if control() == "stop":
        return None
    pairs = RegionPairs(first.labels, second.labels, laid["labels"], laid["seen"], back)
    regions = region_changes(pairs, first.lungs, settings)
    doubts = (*_doubts(first, laid, registration, settings), *_left_out(pairs))
    yield from (Warned(message=text) for text in doubts)
    yield Stepped(step=3, total=3, seconds_left=0)
    return DateComparison(first, second, registration, **laid, change=_change(first, laid), regions=regions,
                          settings=settings, warnings=(*told, *doubts, BREATH))  # fmt: skip


def _check(first: Mapped, second: Mapped) -> None:
    a, b = first.scan, second.scan
    if (a.modality, a.unit) != (b.modality, b.unit):
        kinds = [f"{scan.modality or 'unknown modality'} in {scan.unit or 'values of its own'}" for scan in (a, b)]
        raise DomainError(f"{b.name}: expected a scan of the kind of {a.name} ({kinds[0]}), got {kinds[1]}")


def _laid_over(first: Mapped, second: Mapped, registration: Registration) -> tuple[dict[str, Volume], Volume]:
    """Return the second map's volumes, and where it reaches, on the first one's grid; where that reaches on its."""
    matrix, grid = registration.matrix, first.scan.geometry
    low = float(np.nanmin(second.scan.data))
    everywhere, ours = (
        lungs.with_data(np.ones(lungs.data.shape, np.uint8), name="view") for lungs in (second.lungs, first.lungs)
    )
    laid = {
        "scan": moved(second.scan, matrix, grid, low),
        "score": moved(second.score, matrix, grid, 0.0),
        "lungs": moved(second.lungs, matrix, grid, 0.0, labels=True),
        "labels": moved(second.labels, matrix, grid, 0.0, labels=True),
        "seen": moved(everywhere, matrix, grid, 0.0, labels=True),
    }
    back = np.linalg.inv(np.asarray(matrix))
    laid = {name: replace(volume, orientation=first.scan.orientation) for name, volume in laid.items()}
    return laid, moved(ours, back, second.scan.geometry, 0.0, labels=True)


def _change(first: Mapped, laid: dict[str, Volume]) -> Volume:
    seen = laid["seen"].data > 0
    was, now = (first.labels.data > 0) & seen, laid["labels"].data > 0
    data = GONE * was.astype(np.uint8) + NEW * now.astype(np.uint8)
    return first.labels.with_data(data, name=f"{first.scan.name} change", notes=())


def _unlike(first: Mapped, second: Mapped) -> Iterator[str]:
    """Yield what differs between the two maps besides the patient."""
    facts = [(_name(m.recipe), "" if m.card is None else m.card.title, f"{m.threshold:.4g}") for m in (first, second)]
    for what, a, b in zip(("recipe", "model", "threshold"), *facts, strict=True):
        if a != b:
            yield f"The two maps differ in their {what} ({a or 'none'}, then {b or 'none'}): so may their regions."
    thick = [m.scan.geometry.spacing[0] for m in (first, second)]
    if max(thick) > 1.5 * min(thick):
        yield f"The slices differ ({thick[0]:.1f} mm, then {thick[1]:.1f} mm): thick ones blur small regions."


def _doubts(
    first: Mapped, laid: dict[str, Volume], registration: Registration, settings: DatesSettings
) -> Iterator[str]:
    if registration.dice < settings.good_dice or registration.surface_mm > settings.good_mm:
        yield (
            f"The two scans do not lie on each other well: their lungs overlap to {registration.dice:.2f} (1: equal), "
            f"their surfaces are {registration.surface_mm:.1f} mm apart. Look at the pictures before the figures."
        )
    seen = laid["seen"].data > 0
    before, after = (int(((lungs.data > 0) & seen).sum()) for lungs in (first.lungs, laid["lungs"]))
    ratio = registration.volume_ratio * after / max(before, 1)
    if not 1 / FILLED < ratio < FILLED:
        yield f"The second scan's lungs are {100 * ratio:.0f} % of the first's size: another phase of breath is likely."


def _left_out(pairs: RegionPairs) -> Iterator[str]:
    if ml := sum(pairs.later[n] for n in pairs.later if n not in pairs.shown):
        yield f"{ml:.1f} mL flagged at the second date lie where the first scan does not reach: they are left out."
    present = set(np.unique(pairs.laid.data).tolist())
    if ml := sum(pairs.later[n] for n in pairs.shown if n not in present):
        yield f"{ml:.1f} mL flagged at the second date fall between the first scan's voxels: they are left out."


def _name(recipe: Any) -> str:
    return str(getattr(recipe, "name", recipe or ""))
