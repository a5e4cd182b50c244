"""What several settings of data ask of their values."""

from __future__ import annotations

__all__ = ["checked_channels", "checked_spacing"]

Vector = tuple[float, float, float]


def checked_spacing(value: Vector | None) -> Vector | None:
    """Return a spacing (z, y, x) in mm as it is; raises ValueError beyond 0.05 to 50 mm."""
    if value is not None and any(not 0.05 <= s <= 50 for s in value):
        raise ValueError("expected three spacings (z, y, x) from 0.05 to 50 mm")
    return value


def checked_channels(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ends of the names of channels as they are; raises ValueError for empty or equal ones."""
    if len(set(value)) < len(value) or any(not suffix for suffix in value):
        raise ValueError("expected different, non-empty ends of names")
    return value
