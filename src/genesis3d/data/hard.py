"""Hard places: labelled voxels that the network got wrong when it was last measured, from which a share is drawn.

They are plain numbers in a run's progress, each list with the first step it holds for.  That step lies ahead of the
one it was found at by more than pairs are ever made ahead, so that a pair depends on its step alone: neither on how far
prefetching was, nor on where a run was stopped and resumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.sampling import Location

__all__ = ["AHEAD", "errors_of", "places_at", "with_places"]

# Steps between finding places and drawing from them; more than any prefetching makes ahead.
AHEAD = 16
# Places that one sub-volume gives, shared out between the classes it got wrong.
_EACH = 8

Place = list[int]


def places_at(found: Sequence[dict[str, Any]], step: int) -> list[Place]:
    """Return the places (case, d, h, w) that hold at ``step``: those found last of all that hold by then."""
    valid = [item for item in found if item["from"] <= step]
    return list(valid[-1]["places"]) if valid else []


def with_places(found: Sequence[dict[str, Any]], step: int, places: list[Place]) -> list[dict[str, Any]]:
    """Return ``found`` with ``places``, found after ``step``, and without those that no coming step draws from."""
    passed = [item for item in found if item["from"] <= step]
    coming = [item for item in found if item["from"] > step]
    return [*passed[-1:], *coming, {"from": step + AHEAD, "places": places}]


def errors_of(
    predicted: NDArray[np.integer[Any]], labels: NDArray[np.integer[Any]], location: Location, draw: np.random.Generator
) -> list[Place]:
    """Return some voxels (case, d, h, w) of a sub-volume that are predicted wrongly, of every class that is.

    ``predicted`` and ``labels`` are class indices (D, H, W) of the sub-volume at ``location``.
    """
    wrong = np.flatnonzero(((predicted != labels) & (labels != IGNORE)).reshape(-1))
    if not wrong.size:
        return []
    classes = labels.reshape(-1)[wrong]
    kinds = np.unique(classes)
    places = []
    for kind in kinds:
        own = wrong[classes == kind]
        chosen = own[draw.integers(own.size, size=max(1, _EACH // kinds.size))]
        voxels = np.stack(np.unravel_index(chosen, labels.shape), axis=1) + np.asarray(location.start)
        places += [[location.case, *(int(v) for v in voxel)] for voxel in voxels]
    return places
