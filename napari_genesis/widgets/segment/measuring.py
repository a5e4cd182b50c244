"""Figures of a segmentation behind the window: what each structure, or each of its parts, measures and where it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.events import Control, Event, Finished

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.labels import LabelClass
    from genesis3d.volume import Volume

__all__ = ["Measured", "Structure", "measuring", "tidying"]

Work = Callable[[Control], Iterator[Event]]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Structure:
    """One row: a structure, or one connected part of it.

    Attributes
    ----------
    number : of the row, from 1
    value, name : of its class
    part : 1 the largest connected part, 0 all parts together
    figures : by the names of the columns
    voxel : a voxel of it in the slice where it is largest
    """

    number: int
    value: int
    name: str
    part: int
    figures: dict[str, float]
    voxel: Triple


@dataclass(frozen=True, eq=False)
class Measured:
    """The table: ``header`` and ``rows`` as they are written to CSV, and the ``structures`` they are about.

    ``parts`` (D, H, W) numbers the rows' voxels where each connected part has a row of its own, else None.
    """

    header: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    structures: list[Structure]
    parts: NDArray[np.int32] | None

    def csv(self) -> str:
        """Return the table as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.header, *self.rows])
        return text.getvalue()

    def sentence(self) -> str:
        """Return the volumes in one line."""
        volumes: dict[str, float] = {}
        for each in self.structures:
            volumes[each.name] = volumes.get(each.name, 0.0) + each.figures["volume_ml"]
        return ", ".join(f"{name} {ml:.1f} mL" for name, ml in volumes.items()) or "nothing was found"

    def row_at(self, value: int, voxel: Any) -> int:
        """Return the number of the row of class ``value`` at ``voxel``; 0 when there is none."""
        if self.parts is not None:
            place = tuple(int(np.clip(round(float(v)), 0, n - 1)) for v, n in zip(voxel, self.parts.shape, strict=True))
            return int(self.parts[place])
        return next((each.number for each in self.structures if each.value == value), 0)


def measuring(labels: Volume, scan: Volume, classes: Sequence[LabelClass], by_part: bool, out: list[Any]) -> Work:
    """Return the work of measuring ``labels`` (1, D, H, W) over ``scan``, both canonical, into ``out``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.evaluation.structures import structure_rows

        still = labels.with_data(labels.data.copy())  # painting goes on meanwhile
        header, rows = structure_rows(still, scan.with_data(scan.data[:1]), classes, components=by_part)
        structures, parts = _located(still.data[0], header, rows, by_part)
        if control() == "run":
            out.append(Measured(tuple(header), list(rows), structures, parts))
        yield Finished(cancelled=not out)

    return work


def tidying(labels: Volume, classes: Sequence[LabelClass], how: str, out: list[Any]) -> Work:
    """Return the work of keeping the ``largest`` part of each class, or to ``fill`` its holes: labels into ``out``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.io.itk_filters.tidying import filled, largest_parts

        values = [each.value for each in classes if each.value]
        tidied = (largest_parts if how == "largest" else filled)(labels.data[0].copy(), values)
        if control() == "run":
            out.append(tidied)
        yield Finished(cancelled=not out)

    return work


def _located(
    labels: NDArray[Any], header: Sequence[str], rows: Sequence[Sequence[Any]], by_part: bool
) -> tuple[list[Structure], NDArray[np.int32] | None]:
    """Find each row's place in ``labels``, and with ``by_part`` which voxels are whose."""
    structures: list[Structure] = []
    numbers = np.zeros(labels.shape, np.int32) if by_part else None
    known: dict[int, NDArray[np.int32]] = {}
    for number, row in enumerate(rows, start=1):
        cells = dict(zip(header, row, strict=True))
        value, part = int(cells["value"]), int(cells.get("component") or 0)
        if value not in known:
            known = {value: _numbered(labels == value, by_part)}
        mask = known[value] == (part or 1)
        if numbers is not None:
            numbers[mask] = number
        figures = {name: float(cell) for name, cell in cells.items() if isinstance(cell, int | float)}
        structures.append(Structure(number, value, str(cells["name"]), part, figures, _voxel(mask)))
    return structures, numbers


def _numbered(mask: NDArray[np.bool_], by_part: bool) -> NDArray[np.int32]:
    """Number the connected parts, the largest first; all of it 1 where parts are not told apart."""
    from genesis3d.io.itk_filters.components import components

    return components(mask)[0] if by_part else mask.astype(np.int32)


def _voxel(mask: NDArray[np.bool_]) -> Triple:
    """Return the voxel nearest to the middle of the slice in which ``mask`` is largest; (0, 0, 0) of an empty one."""
    areas = mask.sum(axis=(1, 2))
    d = int(areas.argmax())
    if not areas[d]:
        return 0, 0, 0
    places = np.argwhere(mask[d])
    h, w = (int(v) for v in places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()])
    return d, h, w
