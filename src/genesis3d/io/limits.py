"""Refusing what cannot be true or cannot fit, before any voxel is read."""

from __future__ import annotations

from genesis3d.errors import ScanError

__all__ = ["readable_bytes", "require_memory", "require_plausible"]

# DEFLATE cannot shrink more than 1032 to 1, and the other lossless coders of these formats do no better.
LARGEST_RATIO = 1032
SHARE_OF_MEMORY = 0.85


def readable_bytes(count: float) -> str:
    """Return ``count`` bytes for people: ``3.2 GiB``."""
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "bytes" or count >= 1000 else f"{count:.3g} {unit}"


def require_memory(needed: int, what: str) -> None:
    """Raise ScanError when ``needed`` bytes do not fit into the memory that is free now."""
    import psutil

    free = int(psutil.virtual_memory().available * SHARE_OF_MEMORY)
    if needed > free:
        raise ScanError(f"{what}: needs {readable_bytes(needed)} of memory, {readable_bytes(free)} are free")


def require_plausible(needed: int, stored: int, compressed: bool, what: str) -> None:
    """Raise ScanError when ``stored`` bytes of file cannot hold the ``needed`` bytes its header announces."""
    most = stored * LARGEST_RATIO if compressed else stored
    if needed > most:
        raise ScanError(
            f"{what}: its header announces {readable_bytes(needed)} of voxels but the file holds only "
            f"{readable_bytes(stored)}: truncated, or not what it says"
        )
