"""Labels that appear while they are computed: filled by the work, looked at by whoever shows them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from genesis3d.inference.windows import Slices

__all__ = ["Canvas"]


class Canvas:
    """Labels in the making; any thread may look.

    Parameters
    ----------
    labels : (D, H, W) uint16 class values on the scan's canonical grid, filled in place
    """

    def __init__(self, labels: NDArray[np.uint16]) -> None:
        self.labels = labels
        self._changed: list[Slices] = []
        self._lock = threading.Lock()

    def paint(self, box: Slices, values: NDArray[np.uint16]) -> None:
        """Set ``values`` (d, h, w) in ``box``."""
        with self._lock:
            self.labels[box] = values
            self._changed.append(box)

    def take(self) -> list[Slices]:
        """Return the boxes painted since the last call."""
        with self._lock:
            changed, self._changed = self._changed, []
        return changed
