"""Names and colours of labels in image files, and labels of any type read back as whole numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis3d.errors import ScanError
from genesis3d.io import read_segmentation, read_volume, write_volume
from genesis3d.labels import LabelClass
from genesis3d.volume import Geometry, Volume

CLASSES = (
    LabelClass(value=0, name="background"),
    LabelClass(value=1, name="Leber: rechts = groß", colour="#ff8001"),
    LabelClass(value=300, name="tumour\nand oedema"),
)


def labels(dtype: type = np.uint16) -> Volume:
    data = np.zeros((1, 3, 4, 5), dtype)
    data[0, 1, 1:3, 2] = 1
    data[0, 2] = 0 if dtype is np.uint8 else 300
    return Volume(data, Geometry((3, 4, 5), (2.0, 1.0, 0.5)))


@pytest.mark.parametrize("suffix", [".seg.nrrd", ".nrrd", ".mha", ".mhd"])
def test_names_and_colours_are_kept(tmp_path: Path, suffix: str) -> None:
    path = write_volume(labels(), tmp_path / f"a{suffix}", labels=True, classes=CLASSES)
    again, classes = read_segmentation(path)
    np.testing.assert_array_equal(again.data, labels().data)
    assert [(c.value, c.name, c.colour) for c in classes] == [
        (1, "Leber: rechts = groß", "#ff8001"),
        (300, "tumour and oedema", None),
    ]
    # the header is that of any such file
    assert read_volume(path).geometry.matches(labels().geometry)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_nifti_keeps_the_values_alone(tmp_path: Path, suffix: str) -> None:
    again, classes = read_segmentation(write_volume(labels(), tmp_path / f"a{suffix}", labels=True, classes=CLASSES))
    np.testing.assert_array_equal(again.data, labels().data)
    assert classes == ()


def test_an_image_says_nothing_of_classes(tmp_path: Path) -> None:
    path = write_volume(labels(np.int16), tmp_path / "a.nrrd", classes=CLASSES)
    assert b"Segment0" not in path.read_bytes()


def test_keys_that_make_no_sense_are_passed_over(tmp_path: Path) -> None:
    path = write_volume(labels(np.uint8), tmp_path / "a.mha", labels=True, classes=CLASSES[:2])
    text = path.read_bytes()
    assert b"Segment0_LabelValue = 1" in text
    path.write_bytes(text.replace(b"LabelValue = 1", b"LabelValue = x"))
    assert read_segmentation(path)[1] == ()
    path.write_bytes(text.replace(b"Color = 1 ", b"Color = 7 "))
    assert read_segmentation(path)[1][0].colour is None


def test_floating_point_labels_are_whole_or_refused(tmp_path: Path) -> None:
    path = write_volume(labels(np.float32), tmp_path / "a.nii.gz")
    assert read_segmentation(path)[0].data.dtype == np.uint16
    write_volume(labels().with_data(labels().data / 7), path)
    with pytest.raises(ScanError, match=r"a\.nii\.gz: expected labels as whole numbers, got fractions"):
        read_segmentation(path)
    write_volume(labels().with_data(labels().data.astype(np.int32) - 1), path)
    with pytest.raises(ScanError, match="expected labels from 0 to 65535, got -1 to 299"):
        read_segmentation(path)


def test_a_segmentation_saved_without_its_surroundings_is_put_back(tmp_path: Path) -> None:
    whole = labels()
    scan = whole.with_data(np.zeros(whole.data.shape, np.int16))
    part = whole.crop((1, 1, 1), (2, 3, 3))
    path = write_volume(part, tmp_path / "part.seg.nrrd", labels=True, classes=CLASSES)
    again, _ = read_segmentation(path, scan)
    expected = np.zeros(whole.data.shape, np.uint16)
    expected[0, 1:3, 1:4, 1:4] = part.data[0]
    np.testing.assert_array_equal(again.data, expected)
    assert again.geometry == scan.geometry
    # without names nobody says that the rest is background
    plain = write_volume(part, tmp_path / "part.nrrd", labels=True)
    assert read_segmentation(plain, scan)[0].data.shape == (1, 2, 3, 3)
