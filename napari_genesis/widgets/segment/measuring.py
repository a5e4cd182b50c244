"""Figures of a segmentation behind the window: what each structure, or each of its parts, measures and where it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.events import Control, Event, Finished
from napari_genesis.widgets.tables import MOST_ROWS

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
    volume_ml, surface_cm2, mean : figures; ``mean`` of the scan inside is not a number where there is none
    """

    number: int
    value: int
    name: str
    part: int
    volume_ml: float
    surface_cm2: float
    mean: float


@dataclass(frozen=True, eq=False)
class Measured:
    """The table: ``header`` and ``rows`` as they are written to CSV, and the ``structures`` that are shown of it.

    ``parts`` (D, H, W) numbers the voxels of each row where each connected part has one of its own, else None.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]
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
            volumes[each.name] = volumes.get(each.name, 0.0) + each.volume_ml
        rest = (
            f"; {len(self.structures)} parts, the {MOST_ROWS} largest listed"
            if len(self.structures) > MOST_ROWS
            else ""
        )
        return (", ".join(f"{name} {ml:.1f} mL" for name, ml in volumes.items()) or "nothing was found") + rest

    def row_at(self, value: int, voxel: Any) -> int:
        """Return the number of the row of class ``value`` at ``voxel``; 0 when there is none."""
        if self.parts is not None:
            place = tuple(int(np.clip(round(float(v)), 0, n - 1)) for v, n in zip(voxel, self.parts.shape, strict=True))
            return int(self.parts[place])
        return next((each.number for each in self.structures if each.value == value), 0)

    def voxel_of(self, each: Structure, labels: NDArray[Any]) -> Triple | None:
        """Return the voxel nearest to the middle of the slice in which a row's structure is largest."""
        mask = labels == each.value if self.parts is None else self.parts == each.number
        areas = np.count_nonzero(mask, axis=(1, 2))
        d = int(areas.argmax())
        if not areas[d]:
            return None
        places = np.argwhere(mask[d])
        h, w = (int(v) for v in places[((places - places.mean(axis=0)) ** 2).sum(axis=1).argmin()])
        return d, h, w


def measuring(labels: Volume, scan: Volume, classes: Sequence[LabelClass], by_part: bool, out: list[Any]) -> Work:
    """Return the work of measuring ``labels`` (1, D, H, W) over ``scan``, both canonical, into ``out``."""

    def work(control: Control) -> Iterator[Event]:
        from genesis3d.evaluation.structures import structure_rows

        still = labels.with_data(labels.data.copy())  # painting goes on meanwhile
        header, rows = structure_rows(still, scan, classes, components=by_part)
        structures = _structures(header, rows, by_part)
        parts = _numbered(still.data[0], structures) if by_part else None
        if control() == "run":
            out.append(Measured(header, rows, structures, parts))
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


def _structures(header: Sequence[str], rows: Sequence[Sequence[Any]], by_part: bool) -> list[Structure]:
    """Return what is shown of the table: structures, or their parts."""
    found = []
    for row in rows:
        cells = dict(zip(header, row, strict=True))
        if by_part and not cells["component"] and cells["voxels"]:
            continue  # its parts follow
        mean = float("nan") if cells["mean"] is None else float(cells["mean"])
        found.append(Structure(len(found) + 1, cells["value"], cells["name"], cells["component"], cells["volume_ml"],
                               cells["surface_cm2"], mean))  # fmt: skip
    return found


def _numbered(labels: NDArray[Any], structures: Sequence[Structure]) -> NDArray[np.int32]:
    """Return the number of the row of each voxel, from the parts of each class, which are numbered by their size."""
    from genesis3d.io.itk_filters.components import components
    from genesis3d.io.itk_filters.morphology import bounds

    numbers = np.zeros(labels.shape, np.int32)
    for value in {each.value for each in structures if each.part}:
        rows = [0, *(each.number for each in structures if each.value == value)]
        mask = labels == value
        box = bounds(mask)
        parts, _sizes = components(mask[box])
        numbers[box] += np.array(rows, np.int32)[parts]
    return numbers
