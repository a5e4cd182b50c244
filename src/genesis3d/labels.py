"""Classes of a segmentation: which value in a label volume means what, its name and its colour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from genesis3d.config import Config
from genesis3d.errors import ScanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BACKGROUND", "IGNORE", "LARGEST", "LabelClass", "named", "whole_values"]

BACKGROUND = 0  # index of the background among a model's classes
IGNORE = 255  # index of a voxel that nobody labelled: no loss, no figure counts it
LARGEST = 65535  # largest value in files and layers


class LabelClass(Config):
    """One class.  In training and in a network's output classes go by their index, in files by their ``value``."""

    value: int = Field(ge=0, le=65535, description="value in label files and layers")
    name: str = Field(min_length=1, max_length=64, description="what it marks, such as liver")
    colour: str | None = Field(None, pattern=r"^#[0-9a-f]{6}$", description="colour as #rrggbb; None: the viewer's own")


def named(value: int, name: str = "", colour: str | None = None) -> LabelClass:
    """Return a class whose name a file gave: one line, at most 64 characters, ``label 3`` when there is none."""
    return LabelClass(value=value, name=" ".join(name.split())[:64] or f"label {value}", colour=colour)


def whole_values(data: NDArray[Any], what: str) -> NDArray[Any]:
    """Return label ``data`` of any type as uint8, or uint16 where a value exceeds 255; uint8 and uint16 as they are.

    Raises
    ------
    ScanError
        For numbers that are not whole, negative ones, and those beyond 65535; the sentence begins with ``what``.
    """
    import numpy as np

    if data.dtype in (np.uint8, np.uint16):
        return data
    if data.dtype.kind == "b":
        return data.astype(np.uint8)
    if data.dtype.kind not in "iuf" or not data.size:
        raise ScanError(f"{what}: expected labels as whole numbers, got {data.size} values of {data.dtype}")
    low, high = data.min(), data.max()
    if not (low >= 0 and high <= LARGEST):
        raise ScanError(f"{what}: expected labels from 0 to {LARGEST}, got {low:g} to {high:g}")
    whole = data.astype(np.uint8 if high <= 255 else np.uint16)
    # plane by plane: a comparison of the whole would take as much memory again
    if data.dtype.kind == "f" and not all(np.array_equal(a, b) for a, b in zip(whole, data, strict=True)):
        raise ScanError(f"{what}: expected labels as whole numbers, got fractions (an image or probabilities?)")
    return whole
