"""Where the sub-volumes of a labelled case may lie: an index of its labelled voxels, made once and kept small."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.labels import BACKGROUND, IGNORE
from genesis3d.rng import Address

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Places", "places_of"]

# Voxels of a class (and of the labelled whole) that a case keeps as places to draw around.
_KEPT = 20_000


@dataclass(frozen=True, eq=False)
class Places:
    """Where one case may be drawn from: flat indices of some voxels of each class, and of the labelled whole."""

    of_class: dict[int, NDArray[np.int64]]
    labelled: NDArray[np.int64] | None  # None: every voxel is labelled
    foreground: NDArray[np.int64]

    @property
    def any(self) -> bool:
        """Whether something is labelled."""
        return self.labelled is None or self.labelled.size > 0


def places_of(labels: NDArray[np.uint8], case: int) -> Places:
    """Return where ``labels`` (D, H, W), class indices of case number ``case``, may be drawn from."""
    flat = labels.reshape(-1)
    inside = np.flatnonzero((flat != BACKGROUND) & (flat != IGNORE))
    values = flat[inside]
    of_class = {int(k): _some(inside[values == k], case, int(k)) for k in np.unique(values)}
    partly = bool((flat == IGNORE).any())
    labelled = _some(np.flatnonzero(flat != IGNORE), case, IGNORE) if partly else None
    return Places(of_class, labelled, _some(inside, case, BACKGROUND))


def _some(indices: NDArray[np.int64], case: int, what: int) -> NDArray[np.int64]:
    """Return at most ``_KEPT`` of ``indices``, by a draw that is the same for the same labels."""
    if indices.size <= _KEPT:
        return indices
    draw = (Address(0, case, what) / "places").generator()
    return indices[np.sort(draw.integers(indices.size, size=_KEPT))]
