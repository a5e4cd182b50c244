"""Volumes that stay in a store: each box is read when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from genesis3d.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Geometry

__all__ = ["LazyArray", "LazyVolume", "lazy_volume"]

Triple = tuple[int, int, int]
Read = Callable[[Triple, Triple], "NDArray[np.uint16]"]


class LazyArray:
    """What :class:`Sampler` needs of an array (C, D, H, W): shape, dtype, and slices, each read when taken.

    Parameters
    ----------
    read : gives the box ``[start, stop)`` (D, H, W) of all channels, in voxels of the whole scan
    channels, shape : C, and (D, H, W) of this view
    start : first voxel of this view in the scan
    """

    ndim = 4
    dtype = np.dtype(np.uint16)

    def __init__(self, read: Read, channels: int, shape: Triple, start: Triple = (0, 0, 0)) -> None:
        self._read, self._start = read, start
        self.shape = (channels, *shape)

    @property
    def size(self) -> int:
        """Number of voxels, over all channels."""
        return int(np.prod(self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes that the whole would take in memory."""
        return self.size * self.dtype.itemsize

    def part(self, start: Triple, shape: Triple) -> LazyArray:
        """Return the box ``[start, start + shape)`` (D, H, W) as such an array: nothing is read."""
        d, h, w = (a + b for a, b in zip(self._start, start, strict=True))
        return LazyArray(self._read, self.shape[0], shape, (d, h, w))

    def __getitem__(self, index: Any) -> NDArray[np.uint16]:
        """Read what slices of step 1, integers and ``...`` choose."""
        given = index if isinstance(index, tuple) else (index,)
        if Ellipsis in given:
            at = given.index(Ellipsis)
            given = (*given[:at], *[slice(None)] * (self.ndim + 1 - len(given)), *given[at + 1 :])
        given = (*given, *[slice(None)] * (self.ndim - len(given)))
        ranges = [_range(one, n) for one, n in zip(given, self.shape, strict=True)]
        starts = [a + first for a, (first, _) in zip(self._start, ranges[1:], strict=True)]
        stops = [a + last for a, (_, last) in zip(self._start, ranges[1:], strict=True)]
        box = self._read((starts[0], starts[1], starts[2]), (stops[0], stops[1], stops[2]))
        return box[tuple(g if axis == 0 else 0 if isinstance(g, (int, np.integer)) else slice(None)
                         for axis, g in enumerate(given))]  # fmt: skip

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole."""
        return np.asarray(self[...], dtype=dtype)


def _range(index: Any, n: int) -> tuple[int, int]:
    if isinstance(index, (int, np.integer)):
        at = int(index) + (n if index < 0 else 0)
        if not 0 <= at < n:
            raise IndexError(f"index {index} is out of bounds for an axis of {n}")
        return at, at + 1
    if not isinstance(index, slice) or index.step not in (None, 1):
        raise IndexError(f"a stored scan is read by slices of step 1 and integers, got {index!r}")
    start, stop, _ = index.indices(n)
    return start, max(start, stop)


class LazyVolume(Volume):
    """A volume whose data are a :class:`LazyArray`; a crop of it is one too."""

    def crop(self, start: Triple, shape: Triple) -> Volume:
        """Return the box ``[start, start + shape)``, not read yet; raises GeometryError if it leaves the volume."""
        data: Any = self.data
        if not isinstance(data, LazyArray):
            return super().crop(start, shape)
        _require_inside(self.geometry, start, shape)
        cropped = self.geometry.cropped(start, shape)
        return lazy_volume(data.part(start, shape), cropped, modality=self.modality, name=self.name)


def lazy_volume(data: LazyArray, geometry: Geometry, **known: Any) -> LazyVolume:
    """Return a volume that reads ``data`` when its boxes are taken; ``known`` as of :class:`Volume`."""
    return LazyVolume(cast("NDArray[Any]", data), geometry, **known)


def _require_inside(geometry: Geometry, start: Triple, shape: Triple) -> None:
    from genesis3d.errors import GeometryError

    stop = tuple(s + n for s, n in zip(start, shape, strict=True))
    if any(s < 0 for s in start) or any(e > n for e, n in zip(stop, geometry.shape, strict=True)):
        raise GeometryError(f"box: expected to lie inside {geometry.shape}, got {start} to {stop}")
