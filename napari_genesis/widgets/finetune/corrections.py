"""From a prediction to labels that can be corrected: copied in one step of the labels' own undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GenesisError, GeometryError, ScanError

if TYPE_CHECKING:
    from napari.layers import Labels

__all__ = ["as_labels", "same_place", "take"]


def take(
    prediction: Labels | None, labels: Labels | None, box: tuple[slice, ...] | None, what: str, over_paint: bool
) -> str:
    """Copy by :func:`as_labels` what there is, and return a sentence on what was done or is missing."""
    if labels is None:
        return "Pick the labels layer first that the prediction is to be taken into."
    if prediction is None or box is None:
        return f"There is no prediction {what} yet: train, or press Show."
    try:
        count = as_labels(prediction, labels, box, over_paint)
    except GenesisError as error:
        return str(error)
    return f"{count:,} voxels {what} taken into {labels.name}; correct them there, Ctrl+Z undoes it."


def as_labels(prediction: Labels, labels: Labels, box: tuple[slice, ...], over_paint: bool = False) -> int:
    """Copy ``prediction`` within ``box`` (of the array) into ``labels`` and return how many voxels changed.

    Ctrl+Z on the labels layer takes it back.

    Parameters
    ----------
    over_paint : also where something is painted already; else only what is not painted changes

    Raises
    ------
    GeometryError
        When the two layers do not lie on one grid.
    ScanError
        When the labels' type cannot hold a value of the prediction.
    """
    if not same_place(prediction, labels):
        raise GeometryError(f"{labels.name}: expected labels on the grid of the scan, to take the prediction into")
    found, present = prediction.data[box], labels.data[box]
    if found.size and int(found.max()) > _largest(labels.data.dtype):
        raise ScanError(f"{labels.name}: expected a layer that holds value {int(found.max())}, got {labels.data.dtype}")
    changed = found != present
    if not over_paint:
        changed &= present == 0
    where = np.nonzero(changed)
    if not where[0].size:
        return 0
    values = found[where].astype(labels.data.dtype)
    labels.data_setitem(tuple(axis + (part.start or 0) for axis, part in zip(where, box, strict=True)), values)
    return int(values.size)


def same_place(first: Labels, second: Labels) -> bool:
    """Whether voxel (i, j, k) of one layer is voxel (i, j, k) of the other in the world."""
    if first.data.shape != second.data.shape:
        return False
    corners = np.array([[0, 0, 0], *np.diag(np.subtract(first.data.shape, 1))], dtype=float)
    mine, other = (np.array([layer.data_to_world(corner) for corner in corners]) for layer in (first, second))
    return bool(np.allclose(mine, other, atol=1e-2))


def _largest(dtype: Any) -> int:
    return 1 if dtype.kind == "b" else int(np.iinfo(dtype).max)
