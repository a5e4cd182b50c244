"""One mapping from the values of all label files to class indices, grown while they are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.labels import BACKGROUND, IGNORE, LARGEST, LabelClass, named

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ClassTable", "values_in"]

MOST = IGNORE - 1  # classes besides the background


def values_in(labels: NDArray[Any]) -> list[int]:
    """Return the different values of ``labels`` (uint8 or uint16, any shape), in order."""
    present = np.zeros(LARGEST + 1, dtype=bool)
    for plane in labels:
        present[np.flatnonzero(np.bincount(plane.ravel()))] = True
    return [int(v) for v in np.flatnonzero(present)]


class ClassTable:
    """Values and classes.

    Parameters
    ----------
    declared : the classes there are; empty: every value found becomes one.  A class named background, whatever its
        value, is the background.
    known : names and colours of values, used where such a value is found
    ignore : the value that means unlabelled, if any
    """

    def __init__(
        self, declared: Sequence[LabelClass] = (), known: Sequence[LabelClass] = (), ignore: int | None = None
    ) -> None:
        self.ignore = ignore
        self._zero = {0} | {c.value for c in (*declared, *known) if _is_background(c)}
        self._classes = {c.value: c for c in declared if not _is_background(c)}
        self._known = {c.value: c for c in known if not _is_background(c)}
        self._fixed = bool(self._classes)
        if ignore is not None and ignore in self._classes:
            raise ScanError(f"classes: expected value {ignore} to be a class or to mean unlabelled, got both")

    def add(self, values: Iterable[int], said: Sequence[LabelClass], name: str) -> tuple[dict[int, int], list[str]]:
        """Take in the ``values`` of one file, whose classes are ``said`` (empty: it names none).

        Returns
        -------
        the file's value -> class value wherever the two differ, and sentences to be said; a class that the table
        knows under another value is found by its name.

        Raises
        ------
        ScanError
            When there would be more classes than a network can tell.
        """
        moved: dict[int, int] = {}
        notes: list[str] = []
        own = {c.value: c for c in said}
        for value in values:
            if value == self.ignore or (value in self._zero and value not in own):
                continue
            target = self._take(own.get(value, self._known.get(value)), value, name, notes)
            if target != value:
                moved[value] = target
        if len(self._classes) > MOST:
            raise ScanError(f"{name}: expected at most {MOST} classes, got {len(self._classes)} different values")
        return moved, notes

    def _take(self, said: LabelClass | None, value: int, name: str, notes: list[str]) -> int:
        if said is not None and _is_background(said):
            return BACKGROUND
        if said is not None:
            same = next((c for c in self._classes.values() if c.name.lower() == said.name.lower()), None)
            if same is not None:
                return same.value
        present = self._classes.get(value)
        if present is not None and (said is None or self._fixed or present.name == f"label {value}"):
            if said is not None and not self._fixed:
                self._classes[value] = said
            return value
        if self._fixed:
            notes.append(f"{name}: value {value} is none of the given classes and counts as background")
            return BACKGROUND
        free = value
        while free in self._classes or free in self._zero or free == self.ignore:
            free += 1
        self._classes[free] = (said or named(value)).replaced(value=free)
        if free != value:
            notes.append(f"{name}: {self._classes[free].name} has value {value} there, {free} here")
        return free

    def lookup(self, moved: dict[int, int], zero: int) -> NDArray[np.uint8]:
        """Return the class index of each value (65536,), uint8: ``zero`` for 0, 255 for unlabelled.

        Indices stay as they are while the table grows; ``classes`` puts them in order.
        """
        table = np.full(LARGEST + 1, BACKGROUND, dtype=np.uint8)
        for index, value in enumerate(self._classes, start=1):
            table[value] = index
        if moved:
            table[list(moved)] = table[list(moved.values())]
        table[0] = zero
        if self.ignore is not None:
            table[self.ignore] = IGNORE
        return table

    def classes(self) -> tuple[tuple[LabelClass, ...], NDArray[np.uint8]]:
        """Return the classes by value, background first, and where each index of ``lookup`` comes to stand (256,)."""
        ordered = sorted(self._classes)
        order = np.arange(256, dtype=np.uint8)
        for index, value in enumerate(self._classes, start=1):
            order[index] = ordered.index(value) + 1
        background = LabelClass(value=BACKGROUND, name="background")
        return (background, *(self._classes[value] for value in ordered)), order


def _is_background(one: LabelClass) -> bool:
    return one.value == BACKGROUND or one.name.lower() == "background"
