"""Sub-volumes inside lungs, by address: where they lie, on which grid, and their voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.lungs import MAP, LungMaps, to_unit
from genesis3d.data.lungs_cutting import centres_of, cut_out
from genesis3d.data.sampling import Location
from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.lungs_settings import LungSampling
    from genesis3d.intensity import Scale
    from genesis3d.rng import Address
    from genesis3d.volume import Geometry, Volume

    Array = NDArray[np.float32]
    Vector = tuple[float, float, float]
    Triple = tuple[int, int, int]

__all__ = ["LungPatch", "LungSampler", "Place"]


@dataclass(frozen=True)
class Place:
    """A sub-volume: index of its ``case``, its middle and its voxels (z, y, x) in mm, and how thick its slices are."""

    case: int
    centre: Vector
    spacing: Vector
    thickness: float


@dataclass(frozen=True, eq=False)
class LungPatch:
    """What a sub-volume shows: ``image`` (C, D, H, W) in [0, 1]; ``lungs`` (0 or 1), ``depth`` in mm (D, H, W)."""

    image: Array
    lungs: Array
    depth: Array
    spacing: Vector


class LungSampler:
    """Draws sub-volumes of ``patch`` voxels (D, H, W) from ``scans`` by address.

    Raises
    ------
    ConfigError
        For no scan, a scan without lung, or scans of differing numbers of channels.
    """

    def __init__(self, settings: LungSampling, patch: Triple, scans: Sequence[LungMaps]) -> None:
        self.settings, self.patch, self.scans = settings, patch, list(scans)
        self._voxels = [scan.voxels for scan in self.scans]
        if not self.scans or not all(len(one) for one in self._voxels):
            raise ConfigError("sampler: expected scans with lung in each, got none or one without")
        if len({scan.volume.channels for scan in self.scans}) > 1:
            raise ConfigError("sampler: expected scans of equally many channels, got differing ones")
        self.warnings: list[str] = []

    @property
    def volumes(self) -> list[Volume]:
        """The scans themselves."""
        return [scan.volume for scan in self.scans]

    @property
    def scales(self) -> list[Scale]:
        """Their maps to [0, 1]."""
        return [scan.scale for scan in self.scans]

    def locate(self, address: Address) -> Place:
        """Return the sub-volume at ``address``: a scan, each as likely, and a place in its lungs that fits.

        Places are drawn at most ``attempts`` times; then the one closest to the limits is taken.
        """
        rng = address.generator()
        case = int(rng.integers(len(self.scans)))
        best, least = None, np.inf
        for _ in range(self.settings.attempts):
            place = self._drawn(case, rng)
            excess = self._excess(place)
            if excess < least:
                best, least = place, excess
            if excess <= 0:
                break
        assert best is not None
        return best

    def cut(self, place: Place) -> LungPatch:
        """Return the voxels of the sub-volume at ``place``."""
        scan = self.scans[place.case]
        own = scan.volume.geometry.spacing
        centres = self._centres(place)
        widths = (place.thickness, *place.spacing[1:])
        channels = [
            cut_out(one, own, centres, widths, lambda box: to_unit(scan.scale, box)) for one in scan.volume.data
        ]
        lungs = (cut_out(scan.lungs, own, centres, widths) > 0.5).astype(np.float32)
        first = [float(one[0]) - size / 2 for one, size in zip(scan.centres, MAP, strict=True)]
        moved = [one - offset for one, offset in zip(centres, first, strict=True)]
        depth = cut_out(scan.depth, MAP, moved, (0.0, 0.0, 0.0)) * lungs
        return LungPatch(np.stack(channels), lungs, depth, place.spacing)

    def location(self, place: Place) -> Location:
        """Return the case and the voxel of the scan's own grid where the sub-volume begins."""
        own = self.scans[place.case].volume.geometry.spacing
        first = [
            round((middle - n * size / 2) / spacing)
            for middle, n, size, spacing in zip(place.centre, self.patch, place.spacing, own, strict=True)
        ]
        return Location(place.case, (first[0], first[1], first[2]))

    def geometry(self, place: Place) -> Geometry:
        """Return the grid of the sub-volume at ``place``."""
        own = self.scans[place.case].volume.geometry
        first = [float(one[0]) / size - 0.5 for one, size in zip(self._centres(place), own.spacing, strict=True)]
        s, p, left = (float(v) for v in own.to_world((first[0], first[1], first[2])))
        return replace(own, shape=self.patch, spacing=place.spacing, origin=(s, p, left))

    def _drawn(self, case: int, rng: np.random.Generator) -> Place:
        settings, scan = self.settings, self.scans[case]
        zoom = rng.uniform(*settings.zoom)
        exact, slices, thickness = rng.random(), rng.uniform(*settings.slices), rng.uniform(*settings.thickness)
        if exact < settings.exact:
            slices = thickness = settings.spacing[0]
        spacing = (float(slices), settings.spacing[1] * zoom, settings.spacing[2] * zoom)
        chosen = self._voxels[case][rng.integers(len(self._voxels[case]))]
        index = np.unravel_index(chosen, scan.inside.shape)
        moved = rng.uniform(-0.5, 0.5, 3)
        middle = [
            float(_within(centres[i] + shift * size, n * step / 2, extent * own))
            for centres, i, shift, size, n, step, extent, own in zip(
                scan.centres, index, moved, MAP, self.patch, spacing, scan.volume.geometry.shape,
                scan.volume.geometry.spacing, strict=True,
            )
        ]  # fmt: skip
        return Place(case, (middle[0], middle[1], middle[2]), spacing, float(thickness))

    def _centres(self, place: Place) -> list[NDArray[np.float64]]:
        return [centres_of(*one) for one in zip(place.centre, self.patch, place.spacing, strict=True)]

    def _excess(self, place: Place) -> float:
        """Return by how much the sub-volume misses the limits, 0 and less: it keeps them."""
        scan, box = self.scans[place.case], []
        for middle, n, spacing, centres, size in zip(
            place.centre, self.patch, place.spacing, scan.centres, MAP, strict=True
        ):
            low, high = ((middle + side * n * spacing / 2 - centres[0]) / size for side in (-1, 1))
            box.append(slice(max(0, int(np.ceil(low))), max(0, int(np.ceil(high)))))
        part = (box[0], box[1], box[2])
        voxels = float(scan.inside[part].sum())
        lung = voxels * float(np.prod(MAP)) / float(np.prod(place.spacing))
        dense = float(scan.dense[part].sum()) / max(voxels, 1.0)
        few = 1 - lung / self.settings.least_lung
        return max(few, dense - self.settings.most_dense)


def _within(middle: float, half: float, extent: float) -> float:
    """Return ``middle`` moved so that ``half`` on either side lies in [0, extent], or in its middle if it cannot."""
    return extent / 2 if 2 * half >= extent else min(max(middle, half), extent - half)
