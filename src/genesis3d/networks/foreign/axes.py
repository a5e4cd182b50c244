"""Published 3D networks see (x, y, z), ours (z, y, x)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["turned"]


def turned(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return every 5-D weight (O, I, a, b, c) as (O, I, c, b, a), the others as they are; its own inverse."""
    return {
        key: value.permute(0, 1, 4, 3, 2).contiguous() if value.ndim == 5 else value for key, value in tensors.items()
    }
