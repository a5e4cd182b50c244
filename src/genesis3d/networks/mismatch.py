"""Whether a scan is of the kind a model was trained on: what differs, in sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from genesis3d.intensity import CtIntensity
from genesis3d.networks.card import ModelCard

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["FACTOR", "mismatches"]

FACTOR = 1.5  # ratio of voxel sizes, along any axis, from which on the user is told


def mismatches(card: ModelCard, volume: Volume) -> list[str]:
    """Return what of ``volume`` the model of ``card`` was not trained on: one sentence each, none when all fits.

    Told are another modality, voxels (z, y, x in mm) larger or smaller by more than :data:`FACTOR` along an axis, and
    another number of channels.  What a card or a scan does not say is not held against it.
    """
    sentences = [_modality(card, volume), _spacing(card, volume)]
    wanted = card.network.in_channels
    if wanted != volume.channels:
        sentences.append(f"The model takes {wanted} channel(s), the scan has {volume.channels}.")
    return [sentence for sentence in sentences if sentence]


def _modality(card: ModelCard, volume: Volume) -> str:
    known, ours = card.modalities, (volume.modality or "").upper()
    if known and ours and ours not in known:
        return f"The model was trained on {' and '.join(known)}, the scan is {ours}: the result may mean little."
    ct = isinstance(card.intensity, CtIntensity)
    if ct and volume.unit != "HU":
        return "The model was trained on CT in HU, the scan has no HU: the result may mean little."
    if volume.unit == "HU" and not known and not ct and card.intensity.name != "window":
        return "The model was not trained on CT in HU: the result may mean little."
    return ""


def _spacing(card: ModelCard, volume: Volume) -> str:
    if card.spacing is None:
        return ""
    ours = volume.canonical().geometry.spacing
    ratios = [a / b for a, b in zip(ours, card.spacing, strict=True)]
    if max(ratios) <= FACTOR and min(ratios) >= 1 / FACTOR:
        return ""
    here, there = _millimetres(ours), _millimetres(card.spacing)
    return f"The scan's voxels ({here}) differ from those the model was trained on ({there})."


def _millimetres(spacing: Sequence[float]) -> str:
    return " x ".join(f"{s:.2f}" for s in reversed(spacing)) + " mm"
