"""Labelled sub-volumes for target tasks: drawn by address, often around the classes, only where somebody labelled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, field_validator

from genesis3d.config import Config
from genesis3d.data.places import places_of
from genesis3d.data.sampling import Location
from genesis3d.errors import ConfigError
from genesis3d.labels import BACKGROUND, IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.intensity import Scale
    from genesis3d.rng import Address
    from genesis3d.volume import Volume

__all__ = ["LabelledSampler", "TargetSampling", "fitting_patch"]

Triple = tuple[int, int, int]
_LEAST = 16


class TargetSampling(Config):
    """Size of the sub-volumes that a target task learns from, and where they lie."""

    patch: Triple | None = Field(
        None, description="sub-volume (D, H, W) in voxels; None: that of the starting model, else fitted to the scans"
    )
    voxels: int = Field(
        32 * 64 * 64, ge=4096, le=2**27, description="about so many voxels has a sub-volume that is fitted to the scans"
    )
    foreground: float = Field(
        0.6, ge=0, le=1, description="share of the sub-volumes that lie around a labelled structure"
    )
    hard: float = Field(
        0.1, ge=0, le=0.9, description="share that lies around what the network got wrong when it was last measured"
    )
    balance: Literal["classes", "voxels"] = Field(
        "classes", description="what is drawn equally often around structures: classes, or labelled voxels of a scan"
    )
    jitter: float = Field(
        0.6, ge=0, le=0.9, description="how far the centre moves from the voxel drawn, in half sub-volumes"
    )

    @field_validator("patch")
    @classmethod
    def _patch(cls, value: Triple | None) -> Triple | None:
        if value is not None and any(n < 8 or n > 512 for n in value):
            raise ValueError("expected three sizes (D, H, W) from 8 to 512 voxels")
        return value


def fitting_patch(shape: Sequence[float], spacing: Sequence[float], voxels: int, stride: int = 8) -> Triple:
    """Return a sub-volume (D, H, W) for scans of the typical ``shape`` and ``spacing`` in mm.

    The whole scan where it is small, else at most ``voxels`` that reach equally far in millimetres; all sizes are
    multiples of ``stride``, and at least 16.
    """
    least = -(-_LEAST // stride) * stride
    size = [max(least, -(-int(n) // stride) * stride) for n in shape]
    while np.prod(size) > voxels and max(size) > least:
        longest = max((a for a in range(3) if size[a] > least), key=lambda a: size[a] * spacing[a])
        size[longest] -= stride
    return size[0], size[1], size[2]


class LabelledSampler:
    """Draws sub-volumes and their labels by address.

    Parameters
    ----------
    config : where sub-volumes lie; ``patch`` must be given
    volumes : canonical scans (C, D, H, W) of equally many channels
    scales : each scan's map to [0, 1]
    labels : class indices (1, D, H, W) uint8 on the scans' grids, 255 where nobody labelled
    names : of the classes by index, for sentences

    Attributes
    ----------
    warnings : sentences on scans that are padded or hold no label
    classes : indices of the classes (background left out) that some scan holds

    Raises
    ------
    ConfigError
        When no scan holds a labelled voxel, or scans, scales and labels do not go together.
    """

    def __init__(
        self,
        config: TargetSampling,
        volumes: Sequence[Volume],
        scales: Sequence[Scale],
        labels: Sequence[Volume],
        names: Sequence[str] = (),
    ) -> None:
        if config.patch is None:
            raise ConfigError("sampling.patch: expected three sizes (D, H, W), got none")
        _check(volumes, scales, labels)
        self.config, self.patch = config, config.patch
        self.volumes, self.scales, self.labels = list(volumes), list(scales), list(labels)
        self.warnings: list[str] = []
        self._places = [places_of(label.data[0], index) for index, label in enumerate(labels)]
        self._cases = [i for i, places in enumerate(self._places) if places.any]
        if not self._cases:
            raise ConfigError("labels: expected at least one labelled voxel to train on, got none")
        self.classes = sorted({k for places in self._places for k in places.of_class})
        self._having = {k: [i for i, p in enumerate(self._places) if k in p.of_class] for k in self.classes}
        self._say(names)

    @property
    def channels(self) -> int:
        """Channels C of a sub-volume."""
        return self.volumes[0].channels

    def locate(self, address: Address, hard: Sequence[Sequence[int]] = ()) -> Location:
        """Return the sub-volume at ``address``; ``hard`` are voxels (case, d, h, w) that the network got wrong."""
        draw = (address / "kind").generator()
        kind = float(draw.random())
        if hard and kind < self.config.hard:
            case, *voxel = hard[int(draw.integers(len(hard)))]
            return self._around(case, np.asarray(voxel), address)
        # The rest is shared out between structures and anywhere as if nothing were hard.
        if self.classes and float(draw.random()) < self.config.foreground:
            return self._foreground(address)
        return self._anywhere(address)

    def cut(self, location: Location, size: Triple | None = None) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return input (C, ``size``) float32 in [0, 1] and labels (1, ``size``) uint8; NaN becomes 0.

        ``size`` (None: the patch) has the patch's centre.  Beyond the scan its edge voxels repeat and no voxel is
        labelled.
        """
        box, pads = self._box(location, size or self.patch)
        volume = self.volumes[location.case]
        unit = self.scales[location.case].to_unit(np.ascontiguousarray(volume.data[(slice(None), *box)]))
        if volume.data.dtype.kind == "f":
            np.nan_to_num(unit, copy=False, nan=0.0)
        if any(map(any, pads)):
            unit = np.pad(unit, [(0, 0), *pads], mode="edge")
        return unit, self.labels_at(location, size)

    def labels_at(self, location: Location, size: Triple | None = None) -> NDArray[np.uint8]:
        """Return the labels of :meth:`cut` alone."""
        box, pads = self._box(location, size or self.patch)
        found = np.ascontiguousarray(self.labels[location.case].data[(slice(None), *box)])
        return np.pad(found, [(0, 0), *pads], constant_values=IGNORE) if any(map(any, pads)) else found

    def target(self, location: Location, labels: Any) -> Any:
        """Return what is learnt at ``location``: its ``labels``, as they were cut and augmented."""
        return labels

    def tiles(self) -> list[Location]:
        """Return places that cover the scans side by side, those alone that hold a labelled voxel."""
        found = []
        for case in self._cases:
            shape = self.volumes[case].geometry.shape
            axes = [_side_by_side(n, size) for n, size in zip(shape, self.patch, strict=True)]
            found += [
                location for d in axes[0] for h in axes[1] for w in axes[2]
                if (self.labels_at(location := Location(case, (d, h, w))) != IGNORE).any()
            ]  # fmt: skip
        return found

    def holds_structure(self, location: Location) -> bool:
        """Whether some class but the background is labelled in the sub-volume at ``location``."""
        labels = self.labels_at(location)
        return bool(((labels != BACKGROUND) & (labels != IGNORE)).any())

    def counts(self) -> dict[int, int]:
        """Return the labelled voxels of each class by index, background among them."""
        total = np.zeros(256, np.int64)
        for label in self.labels:
            total += np.bincount(label.data.reshape(-1), minlength=256)
        return {k: int(n) for k, n in enumerate(total[:IGNORE]) if n}

    def _box(self, location: Location, size: Triple) -> tuple[list[slice], list[tuple[int, int]]]:
        """Return the part of the scan in a box of ``size`` about the sub-volume's centre, and what it lacks."""
        box, pads = [], []
        shape = self.volumes[location.case].geometry.shape
        for first, length, patch, n in zip(location.start, size, self.patch, shape, strict=True):
            start = first - (length - patch) // 2
            low = min(max(start, 0), n - 1)
            high = max(min(start + length, n), low + 1)
            box.append(slice(low, high))
            pads.append((low - start, start + length - high))
        return box, pads

    def _foreground(self, address: Address) -> Location:
        draw = (address / "foreground").generator()
        if self.config.balance == "voxels":
            having = [i for i in self._cases if self._places[i].foreground.size]
            case = having[int(draw.integers(len(having)))]
            voxels = self._places[case].foreground
        else:
            wanted = self.classes[int(draw.integers(len(self.classes)))]
            case = self._having[wanted][int(draw.integers(len(self._having[wanted])))]
            voxels = self._places[case].of_class[wanted]
        return self._around(case, self._voxel(case, int(voxels[int(draw.integers(voxels.size))])), address)

    def _anywhere(self, address: Address) -> Location:
        draw = (address / "anywhere").generator()
        case = self._cases[int(draw.integers(len(self._cases)))]
        labelled = self._places[case].labelled
        if labelled is not None:
            return self._around(case, self._voxel(case, int(labelled[int(draw.integers(labelled.size))])), address)
        return Location(case, _triple(lambda axis: _drawn(draw, *self._range(case, axis))))

    def _around(self, case: int, voxel: NDArray[Any], address: Address) -> Location:
        moved = (address / "jitter").generator().uniform(-1, 1, 3) * self.config.jitter

        def start(axis: int) -> int:
            low, high = self._range(case, axis)
            wanted = int(voxel[axis]) - self.patch[axis] // 2 + round(float(moved[axis]) * (self.patch[axis] // 2 - 1))
            return min(max(wanted, low), high)

        return Location(case, _triple(start))

    def _range(self, case: int, axis: int) -> tuple[int, int]:
        free = self.volumes[case].geometry.shape[axis] - self.patch[axis]
        return (0, free) if free >= 0 else (-(-free // 2), -(-free // 2))

    def _voxel(self, case: int, index: int) -> NDArray[Any]:
        return np.array(np.unravel_index(index, self.volumes[case].geometry.shape))

    def _say(self, names: Sequence[str]) -> None:
        for i, volume in enumerate(self.volumes):
            small = [a for n, s, a in zip(volume.geometry.shape, self.patch, "DHW", strict=True) if n < s]
            if small:
                self.warnings.append(
                    f"{volume.name}: is smaller than the sub-volume along {', '.join(small)}: padded by its edge"
                )
            if i not in self._cases:
                self.warnings.append(f"{volume.name}: holds no labelled voxel and is not learnt from")
        missing = [name for k, name in enumerate(names) if k != BACKGROUND and k not in self.classes]
        if missing:
            self.warnings.append(f"no voxel of {', '.join(missing)} is labelled in the scans that are learnt from")


def _check(volumes: Sequence[Volume], scales: Sequence[Scale], labels: Sequence[Volume]) -> None:
    if not volumes or not len(volumes) == len(scales) == len(labels):
        raise ConfigError(
            "labelled scans: expected as many scans as scales and labels, at least one, got "
            f"{len(volumes)}, {len(scales)} and {len(labels)}"
        )
    channels = sorted({volume.channels for volume in volumes})
    if len(channels) > 1:
        raise ConfigError(f"labelled scans: expected scans of equally many channels, got {channels}")
    for volume, label in zip(volumes, labels, strict=True):
        if label.geometry.shape != volume.geometry.shape:
            raise ConfigError(
                f"{volume.name}: expected labels on the scan's grid {volume.geometry.shape}, got {label.geometry.shape}"
            )


def _side_by_side(n: int, size: int) -> list[int]:
    if n <= size:
        return [-((size - n) // 2)]
    return [round(start) for start in np.linspace(0, n - size, -(-n // size))]


def _drawn(draw: np.random.Generator, low: int, high: int) -> int:
    return int(draw.integers(low, high + 1))


def _triple(of_axis: Callable[[int], int]) -> Triple:
    return of_axis(0), of_axis(1), of_axis(2)
