"""Torch checkpoints: sizes and names checked first, then read with ``weights_only=True`` alone."""

from __future__ import annotations

import warnings
import zipfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from genesis3d.errors import ModelError
from genesis3d.networks.foreign.limits import MAX_ENTRIES
from genesis3d.networks.foreign.pickles import check_pickle, check_pickles

__all__ = ["read_torch"]

_MAX_PICKLE = 64 * 2**20  # bytes; that of the published checkpoint takes 30 kB


def read_torch(path: Path, size: int) -> dict[Any, Any]:
    """Return the dictionary in a torch file of ``size`` bytes; nothing in the file is run.

    Raises
    ------
    ModelError
        For anything but whole, plain, uncompressed weights.
    """
    import torch

    with path.open("rb") as file:
        if file.read(2) == b"PK":
            _check_archive(path, size)
        else:
            file.seek(0)
            check_pickles(file, str(path))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on old formats; what matters is checked here
            with _with_numbers():
                content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch names a damaged file by many exceptions
        reason = " ".join(str(error).split()).split(". ")[0][:160]
        raise ModelError(f"{path}: expected whole plain weights, got a file that torch refuses ({reason})") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: expected a dictionary of weights, got {type(content).__name__}")
    return content


def _with_numbers() -> AbstractContextManager[object]:
    """Let torch read plain numbers of numpy, which trainers keep beside the weights (the best loss)."""
    import numpy as np
    import torch
    from numpy._core.multiarray import scalar

    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 6):
        return nullcontext()  # it cannot be told under which names numpy's older versions pickle them
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.int32, np.bool_)]
    names = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return torch.serialization.safe_globals([np.dtype, *kinds, *names])


def _check_archive(path: Path, size: int) -> None:
    """Refuse archives that would unpack to more than they are, and programs."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if len(members) > MAX_ENTRIES:
                raise ModelError(f"{path}: expected at most {MAX_ENTRIES} entries, got {len(members)}")
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise ModelError(f"{path}: expected weights stored as they are, got compressed ones (a zip bomb?)")
            if sum(member.file_size for member in members) > size:
                raise ModelError(f"{path}: its entries claim more than the file's {size} bytes (a zip bomb?)")
            pickles = [member for member in members if member.filename.endswith(".pkl")]
            if [member.filename.rpartition("/")[2] for member in pickles] != ["data.pkl"]:
                raise ModelError(f"{path}: expected a checkpoint that torch saved, got another archive or a program")
            if pickles[0].file_size > _MAX_PICKLE:
                raise ModelError(f"{path}: expected a list of weights below 64 MiB, got {pickles[0].file_size} bytes")
            check_pickle(archive.read(pickles[0]), str(path))
    except ModelError:
        raise
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: expected a whole checkpoint, got a truncated or damaged one") from error
