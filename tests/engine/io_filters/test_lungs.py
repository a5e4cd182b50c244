"""The lung mask on a phantom chest: sides, airways, opacity at the pleura, and what it says when it is in doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis3d.errors import DomainError
from genesis3d.io.itk_filters.lungs import LEFT, RIGHT, lung_mask
from genesis3d.volume import Geometry, Volume

SPACING = (4.0, 3.0, 3.0)


def chest(lung_hu: float = -860, lungs: tuple[bool, bool] = (True, True)) -> tuple[Volume, np.ndarray]:
    """A body of 40 HU with two lungs, trachea, table, bowel gas and padding; and the true labels."""
    d, h, w = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in (72, 96, 112)], indexing="ij")

    def ellipsoid(centre: tuple[float, ...], radii: tuple[float, ...]) -> np.ndarray:
        return sum(((g - c) / r) ** 2 for g, c, r in zip((d, h, w), centre, radii, strict=True)) <= 1

    hu = np.full(d.shape, -1000, np.float32)
    hu[((h - 48) / 40) ** 2 + ((w - 56) / 50) ** 2 <= 1] = 40
    truth = np.zeros(d.shape, np.uint8)
    for present, side, centre in zip(lungs, (LEFT, RIGHT), (80, 32), strict=True):
        if present:
            lung = ellipsoid((38, 50, centre), (27, 28, 18))
            hu[lung], truth[lung] = lung_hu, side
    hu[((h - 42) ** 2 + (w - 56) ** 2 <= 9) & (d > 40)] = -1000  # trachea
    hu[ellipsoid((4, 40, 60), (3, 10, 10))] = -995  # bowel
    hu[:, 92:94, 10:100] = 200  # table
    hu += np.random.default_rng(0).normal(0, 15, hu.shape).astype(np.float32)
    hu[((h - 48) ** 2 + (w - 56) ** 2) > 58**2] = -3024  # outside the scanner's circle
    return Volume(hu.astype(np.int16)[None], Geometry(hu.shape, SPACING), "CT", "HU", "phantom"), truth


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


def test_left_is_one_and_right_is_two_without_airways() -> None:
    volume, truth = chest()
    found = lung_mask(volume)
    labels = found.mask.data[0]
    assert found.warnings == ()
    assert labels.dtype == np.uint8
    assert dice(labels == LEFT, truth == LEFT) > 0.97
    assert dice(labels == RIGHT, truth == RIGHT) > 0.97
    assert not labels[60:, 40:45, 54:59].any()
    assert found.mask.geometry == volume.geometry


def test_sides_are_the_patients_however_the_scan_is_stored() -> None:
    volume, truth = chest()
    turned = Volume(
        volume.data[:, ::-1, :, ::-1], Geometry(volume.geometry.shape, SPACING, (284.0, 0.0, 333.0),
        ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))), "CT", "HU", "turned",
    )  # fmt: skip
    labels = lung_mask(turned).mask
    assert dice(labels.data[0] == LEFT, truth == LEFT) > 0.97
    stored = labels.as_source()
    assert stored.geometry == turned.geometry
    assert dice(stored.data[0] == LEFT, (truth == LEFT)[::-1, :, ::-1]) > 0.97


def test_opacity_at_the_pleura_and_a_nodule_stay_inside_a_dome_does_not() -> None:
    volume, truth = chest()
    hu = volume.data.copy()
    d, h, w = np.indices(truth.shape)
    lesion = ((d - 38) * 4.0) ** 2 + ((h - 50) * 3.0) ** 2 + ((w - 97) * 3.0) ** 2 <= 9**2
    nodule = ((d - 38) * 4.0) ** 2 + ((h - 50) * 3.0) ** 2 + ((w - 32) * 3.0) ** 2 <= 12**2
    dome = (((d - 16) * 4.0) ** 2 + ((h - 50) * 3.0) ** 2 + ((w - 80) * 3.0) ** 2 <= 32**2) & (truth > 0)
    hu[0][(lesion & (truth > 0)) | nodule | dome] = 30
    labels = lung_mask(volume.with_data(hu)).mask.data[0]
    assert (labels[lesion & (truth > 0)] == LEFT).mean() > 0.5
    assert (labels[nodule] == RIGHT).all()
    core = dome & (d < 18)
    assert (labels[core] > 0).mean() < 0.1


def test_ground_glass_is_lung() -> None:
    volume, truth = chest()
    hu = volume.data.copy()
    hu[0][(truth == LEFT) & (np.indices(truth.shape)[1] > 55)] = -560
    labels = lung_mask(volume.with_data(hu)).mask.data[0]
    assert dice(labels > 0, truth > 0) > 0.96


def test_fused_lungs_are_told_apart() -> None:
    volume, truth = chest()
    hu = volume.data.copy()
    hu[0, 34:42, 36:40, 44:70] = -860  # a thin anterior junction
    labels = lung_mask(volume.with_data(hu)).mask.data[0]
    assert dice(labels == LEFT, truth == LEFT) > 0.95
    assert dice(labels == RIGHT, truth == RIGHT) > 0.95


def test_doubts() -> None:
    one, _ = chest(lungs=(True, False))
    assert any("right lung found has 0 mL" in text for text in lung_mask(one).warnings)
    whole, _ = chest()
    part = whole.crop((30, 0, 0), (30, 96, 112))
    said = lung_mask(part).warnings
    assert any("in part only: they reach its lowest and its highest slice" in text for text in said)
    small = Volume(whole.data, Geometry(whole.geometry.shape, (2.0, 2.0, 2.0)), "CT", "HU", "child")
    assert any("small for an adult chest" in text for text in lung_mask(small).warnings)


def test_what_is_no_chest_ct_is_refused() -> None:
    volume, _ = chest(lungs=(False, False))
    with pytest.raises(DomainError, match="phantom: expected a chest CT, found no lungs"):
        lung_mask(volume)
    with pytest.raises(DomainError, match="expected a CT in HU to find lungs in, got MR without HU"):
        lung_mask(Volume(volume.data, volume.geometry, "MR", None, "head"))
    air = volume.with_data(np.full_like(volume.data, -1000))
    with pytest.raises(DomainError, match="found no lungs"):
        lung_mask(air)


@pytest.mark.real
def test_real_chests(real_data: Path) -> None:
    from genesis3d.io import read_volume

    found = lung_mask(read_volume(real_data / "open" / "chest_ct" / "lidc-0002.nii.gz"))
    assert found.warnings == ()
    voxel = float(np.prod(found.mask.geometry.spacing)) / 1000
    left, right = ((found.mask.data == side).sum() * voxel for side in (LEFT, RIGHT))
    assert 2200 < left < 2800
    assert 2500 < right < 3100
