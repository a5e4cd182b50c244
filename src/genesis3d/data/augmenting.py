"""Augmentation of labelled sub-volumes: what is drawn, by address, and the presets.

The geometry of a case (a turn of the grid, then a rotation and scaling about its centre) is drawn before its sub-volume
is cut, so that what it brings in from outside the sub-volume are voxels of the scan wherever there are any.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, field_validator, model_validator

from genesis3d.config import Config
from genesis3d.errors import ConfigError
from genesis3d.volume import Orientation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from genesis3d.rng import Address

__all__ = ["AUGMENTATIONS", "Augmentation", "AugmentationField", "Drawn", "augmentation_preset"]

Triple = tuple[int, int, int]
# Spacings that differ by more than this are not exchanged; and beyond _FLAT the scan is rotated in its plane alone.
_ALIKE = 1.1
_FLAT = 3.0


def _share(description: str) -> Any:
    return Field(0.0, ge=0, le=1, description=description)


class Augmentation(Config):
    """What may happen to a labelled sub-volume; shares are probabilities of each, for every sub-volume anew."""

    flip_axes: tuple[int, ...] = Field(
        (),
        description="axes (0 D, 1 H, 2 W) that are mirrored half of the time; leave 2 out where left and right differ",
    )
    transpose: float = _share("share in which axes of equal spacing change places")
    quarter_turns: float = _share("share turned by 90, 180 or 270 degrees in a plane of equal spacing")
    affine: float = _share("share rotated and scaled")
    degrees: float = Field(30.0, ge=0, le=180, description="largest rotation about each axis, in degrees")
    scale: tuple[float, float] = Field(
        (0.7, 1.4), description="smallest and largest size of what is shown, 1: as it is"
    )
    gamma: float = _share("share with a gamma curve")
    gamma_range: tuple[float, float] = Field((0.7, 1.5), description="smallest and largest exponent")
    brightness: float = _share("share made brighter or darker")
    contrast: float = _share("share with more or less contrast")
    strength: float = Field(0.25, ge=0, lt=1, description="brightness and contrast change by at most this share")
    blur: float = _share("share blurred")
    sigma: tuple[float, float] = Field((0.5, 1.0), description="smallest and largest sigma of the blur, in voxels")
    noise: float = _share("share with Gaussian noise")
    noise_variance: float = Field(
        0.0025, ge=0, le=1, description="largest variance of the noise, of intensities in [0, 1]"
    )
    low_resolution: float = _share("share shown at a lower resolution")
    zoom: tuple[float, float] = Field((0.5, 1.0), description="smallest and largest share of the resolution that stays")

    @field_validator("flip_axes")
    @classmethod
    def _axes(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) < len(value) or not set(value) <= {0, 1, 2}:
            raise ValueError("expected different axes out of 0, 1 and 2")
        return value

    @model_validator(mode="after")
    def _ranges(self) -> Augmentation:
        for name in ("scale", "gamma_range", "sigma", "zoom"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name}: expected two positive numbers in order, got {low:g} and {high:g}")
        return self

    def draw(self, patch: Triple, spacing: Sequence[float], address: Address) -> Drawn:
        """Return what happens to the sub-volume (D, H, W) ``patch`` of ``spacing`` in mm at ``address``."""
        address = address / "augmentation"
        turn = self._turn(spacing, (address / "turn").generator())
        turned = [spacing[source] for source in turn.permutation]
        matrix = self._matrix(turned, (address / "affine").generator())
        reach = patch if matrix is None else _reach(matrix, patch)
        size = _triple([reach[turn.permutation.index(axis)] for axis in range(3)])
        return Drawn(self, patch, size, turn, matrix, address)

    def _turn(self, spacing: Sequence[float], draw: np.random.Generator) -> Orientation:
        """Return the drawn mirroring, exchange of axes and quarter turns as one."""
        permutation = [0, 1, 2]
        flips = [axis in self.flip_axes and bool(draw.random() < 0.5) for axis in range(3)]
        planes = [(a, b) for a, b in ((0, 1), (0, 2), (1, 2)) if _alike(spacing[a], spacing[b])]
        exchanged, turned = draw.random() < self.transpose, draw.random() < self.quarter_turns
        if planes and exchanged and len(self.flip_axes) == 3:  # an exchange of two axes mirrors as well
            _exchange(permutation, flips, *planes[int(draw.integers(len(planes)))])
        if planes and turned:
            a, b = planes[int(draw.integers(len(planes)))]
            for _ in range(int(draw.integers(1, 4))):
                _exchange(permutation, flips, a, b)
                flips[a] = not flips[a]
        return Orientation(_triple(permutation), (flips[0], flips[1], flips[2]))

    def _matrix(self, spacing: Sequence[float], draw: np.random.Generator) -> NDArray[np.float64] | None:
        """Return the matrix from voxels of the result to voxels of the source, both about the centre; None: neither."""
        if draw.random() >= self.affine:
            return None
        angles = np.radians(draw.uniform(-self.degrees, self.degrees, 3))
        low, high = np.log(self.scale)
        scale = float(np.exp(draw.uniform(low, high)))
        thick = int(np.argmax(spacing))
        if spacing[thick] > _FLAT * min(spacing):
            angles[[axis for axis in range(3) if axis != thick]] = 0
        rotation = np.eye(3)
        for axis, angle in enumerate(angles):
            rotation = rotation @ _rotation(axis, float(angle))
        mm = np.diag(np.asarray(spacing, dtype=np.float64))
        return np.asarray(np.linalg.inv(mm) @ rotation @ mm / scale)


@dataclass(frozen=True, eq=False)
class Drawn:
    """What happens to one sub-volume.

    Attributes
    ----------
    size : (D, H, W) of the box to be cut around the sub-volume's centre
    turn, matrix : the geometry; the rest is drawn from ``address`` when it is applied
    """

    settings: Augmentation
    patch: Triple
    size: Triple
    turn: Orientation
    matrix: NDArray[np.float64] | None
    address: Address

    def apply(self, input: NDArray[np.float32], labels: NDArray[np.uint8]) -> tuple[Any, Any]:
        """Return torch tensors (C, *patch) float32 in [0, 1] and (1, *patch) uint8.

        ``input`` (C, *size) is in [0, 1], ``labels`` (1, *size) are class indices and 255 where nobody labelled.
        """
        from genesis3d.data.augmenting_kernels import altered, resampled, tensors

        x, y = tensors(self.turn.apply(input), self.turn.apply(labels))
        if self.matrix is not None:
            x, y = resampled(x, y, self.matrix, self.patch)
        return altered(x, self.settings, self.address), y

    def words(self) -> str:
        """Return the geometry in a few words."""
        parts = [] if self.turn.is_identity else ["turned"]
        return ", ".join(parts + ([] if self.matrix is None else ["rotated and scaled"])) or "upright"


# As the papers' target tasks: flip, transpose, rotate, Gaussian noise with a variance of U[0, .1].
_PAPER = Augmentation(flip_axes=(0, 1, 2), transpose=0.5, quarter_turns=0.5, noise=0.5, noise_variance=0.1)
# Left and right alone are alike in a body.  The ranges are near those of science/hippocampus.yaml.
_DEFAULT = Augmentation(
    flip_axes=(2,), affine=0.7, degrees=20, scale=(0.75, 1.3), gamma=0.3, brightness=0.3, contrast=0.3, blur=0.1,
    noise=0.2, low_resolution=0.1,
)  # fmt: skip
AUGMENTATIONS: dict[str, Augmentation] = {"none": Augmentation(), "paper": _PAPER, "default": _DEFAULT}


def augmentation_preset(name: str) -> Augmentation:
    """Return the preset called ``name``; raises ConfigError naming those that exist."""
    if name not in AUGMENTATIONS:
        raise ConfigError(f"augmentation: expected one of {', '.join(AUGMENTATIONS)}, got {name!r}")
    return AUGMENTATIONS[name]


def _named(value: Any) -> Any:
    return augmentation_preset(value) if isinstance(value, str) else value


AugmentationField = Annotated[Augmentation, BeforeValidator(_named)]


def _alike(a: float, b: float) -> bool:
    return max(a, b) <= _ALIKE * min(a, b)


def _exchange(permutation: list[int], flips: list[bool], a: int, b: int) -> None:
    permutation[a], permutation[b] = permutation[b], permutation[a]
    flips[a], flips[b] = flips[b], flips[a]


def _rotation(axis: int, angle: float) -> NDArray[np.float64]:
    a, b = (i for i in range(3) if i != axis)
    matrix = np.eye(3)
    matrix[a, a] = matrix[b, b] = np.cos(angle)
    matrix[a, b], matrix[b, a] = -np.sin(angle), np.sin(angle)
    return matrix


def _reach(matrix: NDArray[np.float64], patch: Triple) -> Triple:
    """Return the size of the box that the turned and scaled ``patch`` takes from, its centre that of the patch."""
    half = np.abs(matrix) @ (np.asarray(patch, dtype=np.float64) - 1) / 2
    return _triple([n + 2 * max(0, int(np.ceil(h - (n - 1) / 2))) for h, n in zip(half, patch, strict=True)])


def _triple(values: Sequence[int]) -> Triple:
    return int(values[0]), int(values[1]), int(values[2])
