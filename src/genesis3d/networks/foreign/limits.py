"""What a foreign file may hold: bounds checked before anything is allocated, and values checked before any is used."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

__all__ = ["MAX_BYTES", "MAX_ENTRIES", "check_file", "check_tensor", "check_values"]

MAX_BYTES = 4 * 2**30  # the largest network that is hosted, with its optimiser in float64, takes a quarter of it
MAX_ENTRIES = 20_000


def check_file(path: Path) -> int:
    """Return the size of ``path`` in bytes; raises ModelError unless it is a file of a size that is read."""
    try:
        size = path.stat().st_size if path.is_file() else None
    except OSError as error:
        raise ModelError(f"{path}: the file cannot be read: {error.strerror or error}") from error
    if size is None:
        raise ModelError(f"{path}: expected a file of weights, found none")
    if size > MAX_BYTES:
        raise ModelError(f"{path}: expected at most {MAX_BYTES >> 30} GiB of weights, got {size / 2**30:.1f} GiB")
    return size


def check_tensor(value: Tensor, key: str, where: str) -> int:
    """Return the bytes of a plain, dense tensor that owns all it shows.

    Raises
    ------
    ModelError
        For sparse, quantised, complex or placeholder tensors, and for one that claims more than is stored.
    """
    import torch

    plain = value.layout == torch.strided and value.device.type == "cpu" and not value.is_quantized
    if not plain or value.is_complex() or type(value) not in (torch.Tensor, torch.nn.Parameter):
        raise ModelError(f"{where}: expected plain dense weights, got {key} of another kind ({value.dtype})")
    size = value.numel() * value.element_size()
    if size > value.untyped_storage().nbytes() or size > MAX_BYTES:
        raise ModelError(f"{where}: {key} claims {tuple(value.shape)} values, more than the file holds")
    return size


def check_values(tensors: Iterable[tuple[str, Tensor]], where: str) -> None:
    """Raise ModelError for NaN, infinity, or a negative variance."""
    import torch

    for key, value in tensors:
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ModelError(f"{where}: expected finite weights, got NaN or infinity in {key}")
        if key.endswith(("running_var", "moving_variance")) and value.numel() and bool((value < 0).any()):
            raise ModelError(f"{where}: expected variances of 0 or more, got a negative one in {key}")


def plain_text(value: Any, limit: int = 2**20) -> str:
    """Return ``value`` if it is a text of a reasonable length, else an empty one."""
    return value if isinstance(value, str) and len(value) <= limit else ""
