"""The arrays of a store: written by zarr, read box by box.

A case is one Zarr v3 array (C, D, H, W) in one shard of chunks of 32 voxels a side: bit-shuffled, LZ4, with a
checksum each.  Any Zarr reader opens it.  Sub-volumes are read here without zarr, from the byte ranges that the
shard's index gives: zarr hands each of their eight to twenty-seven small chunks to another thread, which takes several
times as long and more on a busy machine (benchmarks/store_reads.py), and a GPU would wait for it.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import product
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.storage import Storage

__all__ = ["ATTRIBUTE", "CHUNK", "LEVELS", "ShardReader", "encode", "shard_name"]

ATTRIBUTE = "genesis3d"  # key of our own attributes in a zarr.json
CHUNK = 32  # voxels a side
# [0, 1] is stored as 0 to 8000: whole Hounsfield units in a window of 2000 HU are steps of 4 and come back as read;
# anything else is off by at most 1/16000, a quarter of float16's error, and the empty upper bits cost nothing.
LEVELS = 8000
EMPTY = 65_535  # never a value: a reader that finds no chunk shows this
NO_CHUNK = 2**64 - 1

Box = tuple[int, int, int]
Value = TypeVar("Value")


def encode(data: NDArray[np.uint16]) -> tuple[bytes, dict[str, Any]]:
    """Return the one shard of an array (C, D, H, W) and the content of its ``zarr.json``, still without attributes."""
    import zarr
    from zarr.codecs import BloscCodec, Crc32cCodec
    from zarr.core.buffer import Buffer

    files: dict[str, Buffer] = {}
    chunks = (data.shape[0], CHUNK, CHUNK, CHUNK)
    array = zarr.create_array(
        zarr.storage.MemoryStore(files),
        shape=data.shape,
        dtype=data.dtype,
        chunks=chunks,
        shards=tuple(-(-n // c) * c for n, c in zip(data.shape, chunks, strict=True)),
        compressors=(BloscCodec(typesize=2, cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec()),
        fill_value=EMPTY,
        dimension_names=("channel", "depth", "height", "width"),
    )
    array[...] = data
    return files[shard_name("").lstrip("/")].to_bytes(), json.loads(files["zarr.json"].to_bytes())


class Recent:
    """A bounded memory of what was read last, shared by threads.

    Parameters
    ----------
    most : how much is kept, in the unit of ``weigh``
    weigh : size of one value
    """

    def __init__(self, most: int, weigh: Callable[[Any], int]) -> None:
        self._most, self._weigh, self._held = most, weigh, 0
        self._items: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> Any:
        """Return the value kept under ``key``, or None."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
            return self._items.get(key)

    def put(self, key: Hashable, value: Any) -> None:
        """Keep ``value``, and let go of the oldest beyond the bound."""
        with self._lock:
            if key in self._items:
                return
            self._items[key] = value
            self._held += self._weigh(value)
            while self._held > self._most and len(self._items) > 1:
                self._held -= self._weigh(self._items.popitem(last=False)[1])


class ShardReader:
    """Reads boxes of a store's arrays; what it keeps does not grow with the number of cases.

    Parameters
    ----------
    storage : where the arrays are
    remembered : bytes of decoded chunks to keep: a sub-volume is read once to be judged and once to be cut

    Raises, on reading, OSError or ValueError with a cause for whatever is missing, damaged or of another layout.
    """

    def __init__(self, storage: Storage, remembered: int = 16 * 2**20) -> None:
        self._storage = storage
        self._indices = Recent(256, lambda _: 1)
        self._chunks = Recent(remembered, lambda chunk: int(chunk.nbytes))

    def read(self, key: str, shape: tuple[int, ...], start: Box, stop: Box) -> NDArray[np.uint16]:
        """Return the box ``[start, stop)`` (D, H, W) of all channels of the array ``key`` of ``shape`` (C, D, H, W)."""
        box = np.empty((shape[0], *(b - a for a, b in zip(start, stop, strict=True))), np.uint16)
        d, h, w = (range(a // CHUNK, -(-b // CHUNK)) for a, b in zip(start, stop, strict=True))
        wanted = list(product(d, h, w))
        for place, chunk in self._decoded(key, shape, wanted).items():
            inside, outside = [], []
            for at, a, b in zip(place, start, stop, strict=True):
                first, last = max(a, at * CHUNK), min(b, (at + 1) * CHUNK)
                inside.append(slice(first - at * CHUNK, last - at * CHUNK))
                outside.append(slice(first - a, last - a))
            box[(slice(None), *outside)] = chunk[(slice(None), *inside)]
        return box

    def _decoded(self, key: str, shape: tuple[int, ...], wanted: list[Box]) -> dict[Box, NDArray[np.uint16]]:
        found = {place: chunk for place in wanted if (chunk := self._chunks.get((key, place))) is not None}
        missing = [place for place in wanted if place not in found]
        if missing:
            index = self._index(key, shape)
            spans = [(int(index[place][0]), int(index[place][1])) for place in missing]
            if any(offset == NO_CHUNK for offset, _ in spans):
                raise ValueError("a chunk is missing")
            for place, raw in zip(missing, self._storage.spans(shard_name(key), spans), strict=True):
                found[place] = _decode(raw, shape[0])
                self._chunks.put((key, place), found[place])
        return found

    def _index(self, key: str, shape: tuple[int, ...]) -> NDArray[np.uint64]:
        """Return offset and length of each chunk, (D', H', W', 2), after the array was checked to be as we write it."""
        index: NDArray[np.uint64] | None = self._indices.get(key)
        if index is None:
            _check_layout(json.loads(self._storage.read(f"{key}/zarr.json")), shape)
            grid = tuple(-(-n // CHUNK) for n in shape[1:])
            raw = self._storage.tail(shard_name(key), 16 * int(np.prod(grid)) + 4)
            index = np.frombuffer(_checked(raw), "<u8").reshape(*grid, 2)
            self._indices.put(key, index)
        return index


def _check_layout(header: Any, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless ``header`` (of a zarr.json) says an array of ``shape`` as :func:`encode` writes it."""
    header = header if isinstance(header, dict) else {}
    if header.get("data_type") != "uint16" or tuple(header.get("shape") or ()) != tuple(shape):
        raise ValueError(f"expected uint16 of {shape}, got {header.get('data_type')} of {header.get('shape')}")
    try:
        (sharding,) = header["codecs"]
        inner = [codec["name"] for codec in sharding["configuration"]["codecs"]]
        chunks = sharding["configuration"]["chunk_shape"]
    except (KeyError, TypeError, ValueError):
        inner, chunks = [], []
    if inner != ["bytes", "blosc", "crc32c"] or chunks != [shape[0], CHUNK, CHUNK, CHUNK]:
        raise ValueError(f"expected one shard of chunks of {CHUNK} voxels, got codecs {inner} and chunks {chunks}")


def shard_name(key: str) -> str:
    """Return the name of the one shard of the array ``key``."""
    return f"{key}/c/0/0/0/0"


def _decode(raw: bytes, channels: int) -> NDArray[np.uint16]:
    from numcodecs import blosc

    content, size = _checked(raw), 2 * channels * CHUNK**3
    if len(content) < 16 or int.from_bytes(content[4:8], "little") != size:  # before anything is allocated for it
        raise ValueError(f"expected a chunk of {size} bytes")
    return np.frombuffer(blosc.decompress(content), "<u2").reshape(channels, CHUNK, CHUNK, CHUNK)


def _checked(raw: bytes) -> bytes:
    import google_crc32c

    if len(raw) < 4 or google_crc32c.value(raw[:-4]) != int.from_bytes(raw[-4:], "little"):
        raise ValueError("a checksum does not match")
    return raw[:-4]
