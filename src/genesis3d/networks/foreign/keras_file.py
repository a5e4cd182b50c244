"""Keras weights in HDF5: datasets alone, walked without following links; no attribute that holds code is read."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ModelError
from genesis3d.networks.foreign.limits import MAX_BYTES, MAX_ENTRIES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["CARD", "keras_bytes", "read_keras"]

CARD = "genesis3d"  # dataset with the card of a model that this project wrote
_ROOT = "model_weights"
_DEPTH = 6


def read_keras(path: Path) -> tuple[dict[str, Tensor], bytes]:
    """Return the weights of a Keras file as ``layer/variable``, (x, y, z), and the card if one stands in it.

    Both layouts are read: below ``model_weights`` and at the root.  ``model_config``, ``training_config`` and the
    optimiser are never opened.

    Raises
    ------
    ModelError
        For a damaged file, links out of it, compressed, virtual or external data, or claims beyond what is stored.
    """
    import h5py
    import torch

    found: dict[str, Tensor] = {}
    card = b""
    try:
        with h5py.File(path, "r") as file:
            total = 0
            for name, dataset in _datasets(file, path):
                total += _check(dataset, name, path)
                if total > MAX_BYTES:
                    raise ModelError(f"{path}: expected at most {MAX_BYTES >> 30} GiB of weights, got more")
                if name == CARD:
                    card = bytes(dataset[()]) if dataset.dtype.kind == "u" else b""
                elif dataset.dtype.kind == "f":
                    key = _key(name)
                    if key in found:
                        raise ModelError(f"{path}: expected one {key}, got two")
                    found[key] = torch.from_numpy(dataset[()].astype("<f4" if dataset.dtype.itemsize < 8 else "<f8"))
    except ModelError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path}: expected a whole Keras file (HDF5), got a truncated or damaged one") from error
    return found, card


def _datasets(group: Any, path: Path) -> list[tuple[str, Any]]:
    """Return every dataset by name, the optimiser's left out; raises ModelError for links and endless groups."""
    import h5py

    found: list[tuple[str, Any]] = []
    waiting: list[tuple[str, Any]] = [("", group)]
    seen = 0
    while waiting:
        prefix, node = waiting.pop()
        for name in node:
            seen += 1
            full = f"{prefix}{name}"
            if seen > MAX_ENTRIES or full.count("/") > _DEPTH:
                raise ModelError(f"{path}: expected a few hundred weights, got groups without end")
            if not isinstance(node.get(name, getlink=True), h5py.HardLink):
                raise ModelError(f"{path}: expected weights in the file itself, got a link at {full[:80]}")
            child = node[name]
            if isinstance(child, h5py.Dataset):
                found.append((full, child))
            elif isinstance(child, h5py.Group) and name != "optimizer_weights":
                waiting.append((f"{full}/", child))
    return found


def _check(dataset: Any, name: str, path: Path) -> int:
    """Return the bytes of a dataset that is plainly stored in the file; raises ModelError."""
    plist = dataset.id.get_create_plist()
    if dataset.is_virtual or dataset.external or plist.get_nfilters():
        raise ModelError(f"{path}: expected weights stored as they are, got {name[:80]} compressed or kept elsewhere")
    if dataset.dtype.kind not in "fiu" or dataset.dtype.itemsize > 8 or dataset.shape is None:
        raise ModelError(f"{path}: expected numbers, got {name[:80]} of type {dataset.dtype}")
    size = int(dataset.size) * int(dataset.dtype.itemsize)
    if size > dataset.id.get_storage_size():
        raise ModelError(f"{path}: {name[:80]} claims {dataset.shape} values, more than the file holds")
    return size


def _key(name: str) -> str:
    """Return ``layer/variable`` for ``model_weights/layer/scope/variable:0``."""
    parts = name.removeprefix(f"{_ROOT}/").split("/")
    return f"{parts[0]}/{parts[-1].partition(':')[0]}"


def keras_bytes(layers: Mapping[str, Sequence[tuple[str, NDArray[np.float32]]]], card: str) -> bytes:
    """Return a Keras weight file: ``layers`` in order, each with its variables in order, and the ``card`` beside them.

    Groups and attributes are those that Keras writes and reads (``model_weights/<layer>/<layer>/kernel:0``,
    ``layer_names``, ``weight_names``), uncompressed.
    """
    import h5py
    import numpy as np

    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        root = file.create_group(_ROOT)
        root.attrs["layer_names"] = np.array([name.encode() for name in layers])
        root.attrs["backend"] = b"tensorflow"
        for layer, variables in layers.items():
            group = root.create_group(layer)
            group.attrs["weight_names"] = np.array([f"{layer}/{name}:0".encode() for name, _ in variables])
            for name, values in variables:
                group.create_dataset(f"{layer}/{name}:0", data=np.ascontiguousarray(values))
        file.create_dataset(CARD, data=np.frombuffer(card.encode(), np.uint8))
    return buffer.getvalue()
