"""Whether a model, a scan and a region go together, said before the first window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import DomainError, GeometryError, ModelError
from genesis3d.intensity import CtIntensity
from genesis3d.labels import LabelClass
from genesis3d.networks.mismatch import mismatches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.model_file import ModelCard
    from genesis3d.volume import Volume

__all__ = ["check_model", "classes_of", "mirrored_axes", "region_of", "sided", "without_values"]


def check_model(card: ModelCard) -> None:
    """Raise ModelError, in one sentence, unless ``card`` is that of a segmentation model."""
    title = f"model {card.title!r}"
    if card.purpose != "segmentation":
        wayout = "; fine-tune it on labelled scans first" if card.purpose == "restoration" else ""
        raise ModelError(f"{title}: expected a segmentation model, got one for {card.purpose}{wayout}")
    outputs = card.network.out_channels
    if outputs < 2 or card.activation != "softmax":
        raise ModelError(
            f"{title}: expected a softmax over background and classes, got {outputs} output(s) with {card.activation}"
        )
    if card.classes and len(card.classes) != outputs:
        raise ModelError(f"{title}: expected a class for each of its {outputs} outputs, got {len(card.classes)}")


def check_scan(volume: Volume, card: ModelCard) -> list[str]:
    """Raise unless the model of ``card`` applies to ``volume``; return what to say nevertheless.

    Raises
    ------
    ModelError, DomainError
        For other channels than the model's, a model of HU given another scan, a scan without any value.
    """
    wanted = card.network.in_channels
    if volume.channels != wanted:
        raise ModelError(
            f"{volume.name}: expected {wanted} channel(s) by the model, got {volume.channels} "
            "(time points, colours or sequences); give those it knows"
        )
    if isinstance(card.intensity, CtIntensity) and volume.unit != "HU":
        kind = volume.modality or "a scan of unknown modality"
        raise DomainError(f"{volume.name}: expected a CT in HU, on which the model was trained, got {kind} without HU")
    without = without_values(volume)
    if without == volume.data.size:
        raise DomainError(f"{volume.name}: expected voxels with values, got none but NaN")
    said = [f"{without} voxels of {volume.name} have no value (NaN): taken as the darkest."] if without else []
    return [*mismatches(card, volume), *said]


def without_values(volume: Volume) -> int:
    """Return how many voxels are NaN."""
    if volume.data.dtype.kind != "f":
        return 0
    return sum(int(np.isnan(part).sum()) for channel in volume.data for part in channel)


def region_of(mask: Volume, scan: Volume) -> NDArray[np.bool_]:
    """Return where ``mask`` is above 0, (D, H, W) on the canonical grid of ``scan``.

    Raises
    ------
    GeometryError, DomainError
        When it lies on another grid, or marks nothing.
    """
    mask, scan = mask.canonical(), scan.canonical()
    if mask.channels != 1 or not mask.geometry.matches(scan.geometry, tolerance_mm=0.05):
        raise GeometryError(
            f"{mask.name}: expected a mask on the grid of {scan.name} ({scan.geometry.describe()}), "
            f"got another one ({mask.geometry.describe()})"
        )
    return checked_region(np.asarray(mask.data[0] > 0), scan)


def checked_region(inside: NDArray[np.bool_], scan: Volume) -> NDArray[np.bool_]:
    """Return ``inside``; raises GeometryError for another shape than the scan's, DomainError if nothing is marked."""
    if inside.shape != scan.geometry.shape:
        raise GeometryError(
            f"region: expected the grid of {scan.name}, {scan.geometry.shape} voxels (D, H, W), got {inside.shape}"
        )
    if not inside.any():
        raise DomainError("region: expected at least one voxel to segment, got an empty mask")
    return inside


def classes_of(card: ModelCard) -> tuple[LabelClass, ...]:
    """Return the classes of the outputs; of a card that does not name them, numbers."""
    if card.classes:
        return card.classes
    return tuple(
        LabelClass(value=i, name=f"class {i}" if i else "background") for i in range(card.network.out_channels)
    )


def sided(classes: Sequence[LabelClass]) -> bool:
    """Whether classes tell left from right, so that a mirror image would be another answer."""
    words = {word for one in classes for word in one.name.lower().replace("_", " ").replace("-", " ").split()}
    return bool(words & {"left", "right", "l", "r", "lt", "rt"})


def mirrored_axes(letters: str, classes: Sequence[LabelClass]) -> tuple[int, ...]:
    """Return the axes (0 to 2) of ``letters`` (of d, h, w, or none); never left-right where classes have sides."""
    axes = () if letters == "none" else tuple("dhw".index(letter) for letter in letters)
    return tuple(axis for axis in axes if axis != 2 or not sided(classes))
