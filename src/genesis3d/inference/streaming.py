"""A segmentation that grows on disk instead of in memory: a Zarr group that any Zarr reader opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.labels import LabelClass
    from genesis3d.volume import Geometry

__all__ = ["ResultStore", "Streamed"]

CHUNK = (64, 128, 128)


class Streamed:
    """An array of a store that takes boxes as an array in memory does; ``lead`` axes stand before D, H, W."""

    def __init__(self, array: Any, lead: tuple[int, ...] = ()) -> None:
        self.array, self._lead = array, lead
        self.shape, self.dtype = tuple(array.shape[len(lead) :]), array.dtype

    def __setitem__(self, box: Any, values: NDArray[Any]) -> None:
        """Write ``values`` into ``box``."""
        self.array[(*self._lead, *box)] = values


class ResultStore:
    """``labels`` (1, D, H, W) and, if asked for, ``probabilities`` (K, D, H, W) float16 of one scan.

    Parameters
    ----------
    path : folder, new or empty
    grid : of the labels, canonical; it stands in the attributes with the ``classes``, nothing else of the scan does
    probabilities : whether they are kept too; 0 where no window was

    Raises
    ------
    ScanError
        When the folder is not empty or cannot be made.
    """

    def __init__(self, path: Path, grid: Geometry, classes: Sequence[LabelClass], *, probabilities: bool) -> None:
        import zarr

        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise ScanError(f"{path}: expected a new or empty folder for the results")
        try:
            group = zarr.create_group(store=str(path))
        except OSError as error:
            raise ScanError(f"{path}: cannot be written: {error.strerror or error}") from error
        group.attrs.update(
            {
                "classes": [one.to_dict() for one in classes],
                "spacing_zyx_mm": list(grid.spacing),
                "origin_spl_mm": list(grid.origin),
                "direction_spl": [list(row) for row in grid.direction],
            }
        )
        chunks = tuple(min(c, n) for c, n in zip(CHUNK, grid.shape, strict=True))
        dtype = np.uint8 if max(one.value for one in classes) <= 255 else np.uint16
        self.labels = Streamed(
            group.create_array("labels", shape=(1, *grid.shape), chunks=(1, *chunks), dtype=dtype), (0,)
        )
        self.probabilities: Streamed | None = None
        if probabilities:
            shape = (len(classes), *grid.shape)
            made = group.create_array("probabilities", shape=shape, chunks=(1, *chunks), dtype=np.float16)
            self.probabilities = Streamed(made)
