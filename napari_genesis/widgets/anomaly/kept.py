"""A map that the dock keeps: what was found, what a person took out of it, and its layers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_genesis.widgets.anomaly.exclusions import Exclusions

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly import AnomalyMap
    from napari_genesis.widgets.anomaly.layers import MapLayers
    from napari_genesis.widgets.anomaly.measuring import Figures

__all__ = ["KeptMap", "dice", "without"]


@dataclass(eq=False)
class KeptMap:
    """One map: ``scan``, ``model`` and ``recipe`` by name; ``result`` holds every region found, ``excluded`` or not.

    ``default`` is the threshold of recipe and model, ``unit`` that of the score.
    """

    scan: str
    model: str
    recipe: str
    result: AnomalyMap
    layers: MapLayers
    default: float
    unit: str
    exclusions: Exclusions = field(default_factory=Exclusions)
    excluded: frozenset[int] = frozenset()
    figures: Figures | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What a map made again replaces."""
        return self.scan, self.model, self.recipe

    @property
    def name(self) -> str:
        """Recipe and model, for people."""
        return " · ".join(part for part in (self.recipe, self.model) if part)

    def take(self, result: AnomalyMap) -> None:
        """Take the regions found anew; what was taken out stays out."""
        self.result = result
        self.count()

    def count(self) -> None:
        """See which regions are taken out."""
        result = self.result
        voxel_ml = float(np.prod(result.labels.geometry.spacing)) / 1000
        self.excluded = self.exclusions.numbers(result.labels.data[0], result.regions, voxel_ml)

    def millilitres(self) -> float:
        """Return the volume of the regions that are not taken out."""
        regions = self.result.regions
        return float(sum(item.region.volume_ml for item in regions if item.region.label not in self.excluded))

    def share(self) -> float:
        """Return their share of the lungs in %."""
        return float(sum(item.share for item in self.result.regions if item.region.label not in self.excluded))

    def left(self) -> int:
        """Return how many regions are not taken out."""
        return len(self.result.regions) - len(self.excluded)


def without(result: AnomalyMap, excluded: frozenset[int], labels: bool = True) -> AnomalyMap:
    """Return ``result`` without the regions ``excluded``, which a warning then tells; the others keep their numbers.

    ``labels`` False leaves the label volume as it is, for those who only want figures.
    """
    if not excluded:
        return result
    gone = [item for item in result.regions if item.region.label in excluded]
    kept = [item for item in result.regions if item.region.label not in excluded]
    volume, plural = sum(item.region.volume_ml for item in gone), "" if len(gone) == 1 else "s"
    told = f"{len(gone)} region{plural}, {volume:.2f} mL, taken out by hand"
    volume_labels = result.labels
    if labels:
        stays = np.arange(max(item.region.label for item in result.regions) + 1, dtype=volume_labels.data.dtype)
        stays[list(excluded)] = 0
        volume_labels = volume_labels.with_data(stays[volume_labels.data])
    return replace(result, regions=kept, labels=volume_labels, warnings=(*result.warnings, told))


def dice(first: KeptMap, second: KeptMap) -> float | None:
    """Return the Dice coefficient of what two maps of one grid mark; None for other grids or where nothing is marked.

    Counted over regions that are not taken out.
    """
    ours, theirs = first.result.labels, second.result.labels
    if not ours.geometry.matches(theirs.geometry):
        return None
    one, two = (_marked(kept) for kept in (first, second))
    both = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / both if both else None


def _marked(kept: KeptMap) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    labels = kept.result.labels.data[0]
    if not kept.excluded:
        return labels > 0
    shown = np.zeros(max((item.region.label for item in kept.result.regions), default=0) + 1, bool)
    shown[[item.region.label for item in kept.result.regions if item.region.label not in kept.excluded]] = True
    return shown[labels]
