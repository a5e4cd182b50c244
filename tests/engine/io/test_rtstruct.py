"""RTSTRUCT: contours become the voxels whose centres they enclose, with the regions' names and colours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.errors import ScanError
from genesis3d.io import read_segmentation, read_volume
from genesis3d.io.polygons import fill
from genesis3d.volume import Geometry, Orientation, Volume

GRID = Geometry((6, 12, 14), (2.5, 0.5, 0.75), (100.0, -30.0, -20.0))
Contour = list[tuple[float, float, float]]


def scan(geometry: Geometry = GRID) -> Volume:
    return Volume(np.zeros((1, *geometry.shape), np.int16), geometry, "CT", "HU", name="scan")


def square(d: float, rows: tuple[float, float], columns: tuple[float, float]) -> Contour:
    (a, b), (c, e) = rows, columns
    return [(d, a, c), (d, a, e), (d, b, e), (d, b, c)]


def structure(path: Path, rois: dict[str, list[Contour]], kind: str = "CLOSED_PLANAR", **fields: Any) -> Path:
    """Write contours, given as array indices of :data:`GRID`."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian

    d = Dataset()
    d.SOPClassUID, d.SOPInstanceUID, d.Modality = "1.2.840.10008.5.1.4.1.1.481.3", "1.2.3", "RTSTRUCT"
    names, items = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, item = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        item.ReferencedROINumber, item.ROIDisplayColor = number, [255, 16 * number, 0]
        item.ContourSequence = Sequence()
        for contour in contours:
            one = Dataset()
            one.ContourGeometricType, one.NumberOfContourPoints = kind, len(contour)
            one.ContourData = [float(v) for v in GRID.to_world(np.array(contour))[:, ::-1].ravel().round(5)]
            item.ContourSequence.append(one)
        names.append(roi)
        items.append(item)
    d.StructureSetROISequence, d.ROIContourSequence = Sequence(names), Sequence(items)
    for name, value in fields.items():
        setattr(d, name, value)
    d.file_meta = FileMetaDataset()
    d.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    d.file_meta.MediaStorageSOPClassUID, d.file_meta.MediaStorageSOPInstanceUID = d.SOPClassUID, d.SOPInstanceUID
    d.save_as(path, enforce_file_format=True)
    return path


def expected(*boxes: tuple[int, Any]) -> np.ndarray:
    data = np.zeros(GRID.shape, np.uint8)
    for value, where in boxes:
        data[where] = value
    return data


def test_regions_with_holes_names_and_colours(tmp_path: Path) -> None:
    organ = [square(d, (1.5, 8.5), (2.5, 10.5)) for d in (1, 2, 3)] + [square(2, (3.5, 5.5), (4.5, 6.5))]
    path = structure(tmp_path / "rt.dcm", {"Liver  (GTV)": organ, "empty": [], "node": [square(4, (0.6, 3), (0.6, 2))]})
    labels, classes = read_segmentation(path, scan())
    wanted = expected((1, np.s_[1:4, 2:9, 3:11]), (0, np.s_[2, 4:6, 5:7]), (3, np.s_[4, 1:3, 1:2]))
    np.testing.assert_array_equal(labels.data[0], wanted)
    assert [(c.value, c.name, c.colour) for c in classes] == [(1, "Liver (GTV)", "#ff1000"), (3, "node", "#ff3000")]
    assert labels.notes == ("empty has no closed contour and is left out",)
    assert labels.geometry == GRID
    assert labels.modality is None


def test_a_turned_scan_gets_the_same_voxels(tmp_path: Path) -> None:
    path = structure(tmp_path / "rt.dcm", {"a": [square(d, (1.5, 8.5), (2.5, 10.5)) for d in (1, 2)]})
    turn = Orientation((2, 0, 1), (True, False, True))
    labels, _ = read_segmentation(path, scan(GRID.oriented(turn)))
    np.testing.assert_array_equal(labels.data[0], turn.apply(expected((1, np.s_[1:3, 2:9, 3:11]))))


def test_slices_between_contours_take_the_nearest_plane(tmp_path: Path) -> None:
    contours = [square(0, (1.5, 8.5), (2.5, 10.5)), square(3.1, (1.5, 4.5), (2.5, 4.5))]
    labels, _ = read_segmentation(structure(tmp_path / "rt.dcm", {"a": contours}), scan())
    wanted = expected((1, np.s_[0:2, 2:9, 3:11]), (1, np.s_[2:5, 2:5, 3:5]))
    np.testing.assert_array_equal(labels.data[0], wanted)
    # finer planes than slices: each slice takes one, and none is turned over by its neighbour
    fine = [square(d, (1.5, 8.5), (2.5, 10.5)) for d in np.arange(0.8, 3.3, 0.2)]
    labels, _ = read_segmentation(structure(tmp_path / "rt.dcm", {"a": fine}), scan())
    np.testing.assert_array_equal(labels.data[0], expected((1, np.s_[1:4, 2:9, 3:11])))


def test_overlapping_regions_are_said(tmp_path: Path) -> None:
    path = structure(
        tmp_path / "rt.dcm", {"a": [square(1, (0.5, 4.5), (0.5, 4.5))], "b": [square(1, (3.5, 6.5), (3.5, 6.5))]}
    )
    labels, _ = read_segmentation(path, scan())
    assert labels.notes == ("1 voxels belong to several regions; the last of them counts",)
    assert labels.data[0, 1, 4, 4] == 2


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"contours": [[(1, 1, 1), (2, 1, 6), (3, 6, 6)]]}, "the contours of a are oblique to the slices of the scan"),
        ({"contours": [square(40, (1, 4), (1, 4))]}, "expected contours that lie in the scan scan, got none"),
        ({"contours": [square(1, (1, 4), (1, 4))], "kind": "POINT"}, "expected closed contours, got none; a has no"),
        ({"contours": []}, "expected closed contours, got none"),
        ({"contours": [square(1, (1, 4), (1, 4))], "ROIContourSequence": None}, "expected closed contours, got none"),
    ],
)
def test_what_cannot_be_labels_is_refused(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    path = structure(tmp_path / "rt.dcm", {"a": change.pop("contours")}, **change)
    with pytest.raises(ScanError, match=rf"rt\.dcm: {why}"):
        read_segmentation(path, scan())


def test_contours_need_their_scan(tmp_path: Path) -> None:
    path = structure(tmp_path / "rt.dcm", {"a": [square(1, (1, 4), (1, 4))]})
    with pytest.raises(ScanError, match="expected the scan that its contours were drawn on"):
        read_segmentation(path)
    whole = path.read_bytes()
    for length in (300, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:length])
        with pytest.raises(ScanError, match=r"rt\.dcm"):
            read_segmentation(path, scan())


def test_pixels_inside_polygons_by_their_centres() -> None:
    angles = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.stack([20.3 + 11.7 * np.sin(angles), 17.8 + 11.7 * np.cos(angles)], axis=1)
    rows, columns = np.indices((40, 36))
    inside = fill([circle], (40, 36))
    distance = np.hypot(rows - 20.3, columns - 17.8)
    assert inside[distance < 11.69].all()
    assert not inside[distance > 11.71].any()
    # either way round, in parts beyond the picture, and with a corner on a centre
    np.testing.assert_array_equal(fill([circle[::-1]], (40, 36)), inside)
    np.testing.assert_array_equal(fill([circle - 15], (20, 36)), fill([circle], (40, 51))[15:35, 15:])
    star = np.array([(0.0, 5.0), (10.0, 5.0), (5.0, 0.0), (5.0, 10.0)])
    assert fill([star], (11, 11)).sum() == fill([np.roll(star, 2, axis=0)], (11, 11)).sum()
    two = [
        np.array([(2.0, 2.0), (2.0, 6.0), (6.0, 6.0), (6.0, 2.0)]),
        np.array([(6.0, 2.0), (6.0, 6.0), (9.0, 6.0), (9.0, 2.0)]),
    ]
    assert fill(two, (11, 11)).sum() == 7 * 4


@pytest.mark.real
def test_a_clinical_structure_set(real_data: Path) -> None:
    path = real_data / "hostile/pydicom/rtstruct.dcm"
    from pydicom import dcmread

    d = dcmread(path, force=True)
    points = np.concatenate(
        [np.reshape(c.ContourData, (-1, 3)).astype(float) for i in d.ROIContourSequence for c in i.ContourSequence]
    )
    low, high = points.min(axis=0)[::-1] - 5, points.max(axis=0)[::-1] + 5
    grid = Geometry(tuple(int(n) for n in (high - low) / 2), (2.0, 2.0, 2.0), tuple(low.tolist()))  # type: ignore[arg-type]
    labels, classes = read_segmentation(path, scan(grid))
    assert labels.data.any()
    assert {c.name for c in classes} <= {str(r.ROIName) for r in d.StructureSetROISequence}


def test_a_nested_folder_names_its_one_segmentation(make_series: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_series()
    volume = read_volume(folder)
    structure(folder / "rt.dcm", {"a": [square(1, (1.5, 4.5), (1.5, 4.5))]})
    labels, classes = read_segmentation(folder, volume)
    assert [c.name for c in classes] == ["a"]
    assert labels.data.any()
    structure(folder / "rt2.dcm", {"a": [square(1, (1, 4), (1, 4))]})
    with pytest.raises(ScanError, match="expected one segmentation, got 2"):
        read_segmentation(folder, volume)
