"""DICOM SEG: every frame lies on the slice it was painted on, with its name, and nothing else is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from genesis3d.errors import GeometryError, ScanError
from genesis3d.io import read_segmentation, read_volume, write_dicom_seg, write_volume
from genesis3d.io.segment_codes import segment_codes
from genesis3d.labels import LabelClass
from genesis3d.volume import Geometry, Volume

CLASSES = (
    LabelClass(value=0, name="background"),
    LabelClass(value=1, name="left lung", colour="#ff8000"),
    LabelClass(value=7, name="tumour", colour="#00a0ff"),
    LabelClass(value=9, name="never painted"),
)
SAGITTAL = [0, 1, 0, 0, 0, -1]
TURNED = [0.96, 0.28, 0, 0.28, -0.96, 0]
MakeSeries = Callable[..., Path]


def placed(orientation: list[float]) -> Callable[[int], dict[str, Any]]:
    normal = np.cross(orientation[:3], orientation[3:])

    def each(index: int) -> dict[str, Any]:
        place = np.array([-20.0, -30.0, 100.0]) + 2.5 * index * normal
        return {
            "ImageOrientationPatient": orientation, "position": tuple(place.round(6)),
            "ImagePositionPatient": place.round(6).tolist(), "StudyInstanceUID": "1.2.3",
            "Manufacturer": "SECRET-MAKER", "InstitutionName": "SECRET-HOUSE", "StationName": "SECRET-STATION",
        }  # fmt: skip

    return each


def painted(scan: Volume) -> Volume:
    """Labels without any symmetry, on two separate groups of slices of the file's own order."""
    data = np.zeros(scan.data.shape[1:], np.uint16)
    data[1:3, 2:6, 1:4] = 1
    data[1, 2, 1] = 0
    data[4, 1:3, 5:9] = 7
    data[3, 7, 0] = 3
    return scan.with_data(data)


def frames(path: Path) -> list[tuple[str, str, tuple[float, ...], np.ndarray]]:
    """Return of each frame, as any reader sees it: segment, slice it refers to, place, and pixels."""
    d = pydicom.dcmread(path)
    names = {s.SegmentNumber: s.SegmentLabel for s in d.SegmentSequence}
    pixels = d.pixel_array.reshape(-1, d.Rows, d.Columns)
    found = []
    for item, plane in zip(d.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        source = item.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        name = names[item.SegmentIdentificationSequence[0].ReferencedSegmentNumber]
        found.append((name, source, tuple(item.PlanePositionSequence[0].ImagePositionPatient), plane))
    return found


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], [-1, 0, 0, 0, 1, 0], SAGITTAL, TURNED])
def test_frames_lie_on_the_slices_that_were_painted(
    make_series: MakeSeries, tmp_path: Path, orientation: list[float]
) -> None:
    folder = make_series(each=placed(orientation))
    scan = read_volume(folder)
    labels = painted(scan)
    path = write_dicom_seg(labels.canonical(), CLASSES, folder, tmp_path / "seg.dcm")
    slices = {d.SOPInstanceUID: d for d in map(pydicom.dcmread, folder.iterdir())}
    expected = {}
    for index in range(6):
        corner = scan.geometry.to_world((index, 0, 0))[::-1]
        for value, name in ((1, "left lung"), (3, "label 3"), (7, "tumour")):
            if (labels.data[0, index] == value).any():
                expected[name, tuple(corner.round(3))] = labels.data[0, index] == value
    found = frames(path)
    assert len(found) == len(expected) == 4
    for name, source, position, plane in found:
        np.testing.assert_allclose(position, slices[source].ImagePositionPatient, atol=1e-3)
        np.testing.assert_array_equal(plane, expected[name, tuple(np.round(position, 3))])


@pytest.mark.parametrize("orientation", [[1, 0, 0, 0, 1, 0], SAGITTAL, TURNED])
def test_what_was_written_is_read_again(make_series: MakeSeries, tmp_path: Path, orientation: list[float]) -> None:
    folder = make_series(each=placed(orientation))
    scan = read_volume(folder)
    path = write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "seg.dcm")
    for like in (scan, scan.canonical()):
        again, classes = read_segmentation(path, like)
        np.testing.assert_array_equal(again.as_source().data, painted(scan).data)
        assert again.geometry == like.geometry
        assert [(c.value, c.name, c.colour) for c in classes] == [
            (1, "left lung", "#ff8000"),
            (3, "label 3", None),
            (7, "tumour", "#00a0ff"),
        ]
    own, _ = read_segmentation(path)
    # slices 1 to 4 carry labels
    assert sorted(own.geometry.shape) == sorted((4, 8, 10))
    seen = own.canonical().geometry.to_world(np.argwhere(own.canonical().data[0] == 7))
    wanted = scan.geometry.to_world(np.argwhere(painted(scan).data[0] == 7))
    np.testing.assert_allclose(sorted(seen.round(3).tolist()), sorted(wanted.round(3).tolist()), atol=2e-3)


def test_highdicom_reads_the_same_and_what_a_segment_is_stands_in_codes(
    make_series: MakeSeries, tmp_path: Path
) -> None:
    import highdicom

    folder = make_series(each=placed(TURNED))
    scan = read_volume(folder)
    segmentation = highdicom.seg.segread(write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "seg.dcm"))
    volume = segmentation.get_volume(combine_segments=True)
    index = np.argwhere(volume.array == 3)
    world = (np.c_[index, np.ones(len(index))] @ volume.affine.T)[:, :3][:, ::-1]
    wanted = scan.geometry.to_world(np.argwhere(painted(scan).data[0] == 7))
    np.testing.assert_allclose(sorted(world.tolist()), sorted(wanted.tolist()), atol=1e-3)
    first, _, last = (segmentation.get_segment_description(i) for i in (1, 2, 3))
    assert first.segmented_property_type.meaning == "Lung"
    assert last.segmented_property_type.meaning == "Neoplasm"
    assert last.segmented_property_category.meaning == "Morphologically Abnormal Structure"
    assert first.algorithm_type.value == "AUTOMATIC"
    assert segmentation.Manufacturer == segmentation.ManufacturerModelName == "napari-genesis"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("liver", "Liver"), ("Left Kidney", "Kidney"), ("lung_lesion", "Lesion"), ("oedema", "Edema"), ("xyz", None)],
)
def test_codes_of_names(name: str, kind: str | None) -> None:
    _, found = segment_codes(name)
    assert found.meaning == (kind or "Anatomical Structure")
    assert found.scheme_designator == "SCT"


def test_patient_and_study_are_the_scans_and_nothing_else_is_told(make_series: MakeSeries, tmp_path: Path) -> None:
    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    path = write_dicom_seg(painted(read_volume(folder)), CLASSES, folder, tmp_path / "seg.dcm")
    d = pydicom.dcmread(path)
    assert (d.PatientID, d.PatientName, d.StudyInstanceUID) == ("SECRET-ID", "Secret^Name", "1.2.3")
    assert d.SeriesInstanceUID != pydicom.dcmread(next(folder.iterdir())).SeriesInstanceUID
    for word in (b"SECRET-MAKER", b"SECRET-HOUSE", b"SECRET-STATION", str(tmp_path).encode()):
        assert word not in path.read_bytes()


def test_of_several_series_that_is_taken_on_which_the_labels_lie(make_series: MakeSeries, tmp_path: Path) -> None:
    other = {"SeriesInstanceUID": "1.2.9", "FrameOfReferenceUID": "1.2.8"}
    make_series(8, name="both/a", each=placed([1, 0, 0, 0, 1, 0]))
    turned = placed(TURNED)
    make_series(6, name="both/b", each=lambda i: turned(i) | other)
    folder = tmp_path / "both"
    labels = painted(read_volume(folder, series="1.2.9"))
    anonymous = Volume(labels.data, labels.geometry)
    for given in (labels, anonymous):
        path = write_dicom_seg(given, CLASSES, folder, tmp_path / "seg.dcm")
        assert pydicom.dcmread(path).ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.9"
    archive = shutil.make_archive(str(tmp_path / "zipped"), "zip", folder)
    write_dicom_seg(anonymous, CLASSES, archive, tmp_path / "zip.dcm")
    assert [f[1:3] for f in frames(tmp_path / "zip.dcm")] == [f[1:3] for f in frames(tmp_path / "seg.dcm")]
    with pytest.raises(ScanError, match=r"has no series 5\.5"):
        write_dicom_seg(labels, CLASSES, folder, tmp_path / "seg.dcm", series="5.5")


def test_what_cannot_be_written_leaves_the_old_file(make_series: MakeSeries, tmp_path: Path) -> None:
    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    scan = read_volume(folder)
    path = tmp_path / "seg.dcm"
    path.write_bytes(b"old")
    empty = scan.with_data(np.zeros(scan.data.shape[1:], np.uint8))
    with pytest.raises(ScanError, match="expected at least one labelled voxel to save as DICOM SEG"):
        write_dicom_seg(empty, CLASSES, folder, path)
    with pytest.raises(GeometryError, match="expected the scan on whose grid the labels lie"):
        write_dicom_seg(painted(scan).crop((0, 0, 0), (5, 8, 10)), CLASSES, folder, path)
    write_volume(scan, tmp_path / "scan.nii.gz")
    with pytest.raises(ScanError, match="expected a scan, got a file that is neither DICOM nor"):
        write_dicom_seg(painted(scan), CLASSES, tmp_path / "scan.nii.gz", path)
    with pytest.raises(ScanError, match="its folder does not exist"):
        write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "none" / "seg.dcm")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir() if "part" in p.name] == []


def rewritten(path: Path, change: Callable[[Any], None]) -> Path:
    d = pydicom.dcmread(path)
    change(d)
    d.save_as(path)
    return path


def test_fractional_segments_count_from_half_on(make_series: MakeSeries, tmp_path: Path) -> None:
    import highdicom

    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    scan = read_volume(folder)
    written = write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "seg.dcm")
    first = highdicom.seg.segread(written).get_segment_description(1)
    files = sorted(map(pydicom.dcmread, folder.iterdir()), key=lambda d: d.ImagePositionPatient[2])
    for d in files:
        d.AccessionNumber = d.StudyID = d.StudyTime = d.PatientBirthDate = d.PatientSex = ""
        d.FrameOfReferenceUID = "1.2.8"
        del d.Manufacturer
    share = np.where(painted(scan).data[0] == 1, 0.6, 0.4).astype(np.float32)
    segmentation = highdicom.seg.Segmentation(
        files, share, "FRACTIONAL", [first], "1.2.4", 1, "1.2.5", 1, "made", "up", "1", "0"
    )
    segmentation.save_as(tmp_path / "fractional.dcm")
    labels, _ = read_segmentation(tmp_path / "fractional.dcm", scan)
    np.testing.assert_array_equal(labels.data[0], painted(scan).data[0] == 1)
    whole = painted(scan).data[0].astype(np.uint8)
    numbers = np.select([whole == 1, whole == 7], [1, 2], 0).astype(np.uint8)
    second = highdicom.seg.segread(written).get_segment_description(3)
    second.SegmentNumber = 2
    mapped = highdicom.seg.Segmentation(
        files, numbers, "LABELMAP", [first, second], "1.2.4", 1, "1.2.6", 1, "made", "up", "1", "0"
    )
    mapped.save_as(tmp_path / "map.dcm")
    labels, classes = read_segmentation(tmp_path / "map.dcm", scan)
    assert [(c.value, c.name) for c in classes] == [(1, "left lung"), (7, "tumour")]
    np.testing.assert_array_equal(labels.data[0], np.where(whole == 3, 0, whole))


def test_overlapping_segments_are_said(make_series: MakeSeries, tmp_path: Path) -> None:
    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    scan = read_volume(folder)
    path = write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "seg.dcm")

    def both(d: Any) -> None:
        # the frames of the first segment become those of the second, too
        for item in d.PerFrameFunctionalGroupsSequence:
            item.PlanePositionSequence[0].ImagePositionPatient = [-20, -30, 100]

    labels, _ = read_segmentation(rewritten(path, both), scan)
    assert "voxels belong to several segments; the last of them counts" in labels.notes[0]
    assert (labels.data[0, 0, 1:3, 5:9] == 7).all()


def test_a_scan_of_another_grid_gets_the_nearest_voxels(make_series: MakeSeries, tmp_path: Path) -> None:
    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    scan = read_volume(folder)
    path = write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "seg.dcm")
    fine = Geometry((30, 16, 20), (0.5, 0.25, 0.375), tuple(np.array(scan.geometry.origin) - (1.0, 0.125, 0.1875)))  # type: ignore[arg-type]
    labels, _ = read_segmentation(path, Volume(np.zeros((1, 30, 16, 20)), fine))
    expected = painted(scan).data[0].repeat(5, 0).repeat(2, 1).repeat(2, 2)
    np.testing.assert_array_equal(labels.data[0], expected)


def test_broken_files_are_refused_in_one_sentence(make_series: MakeSeries, tmp_path: Path) -> None:
    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    scan = read_volume(folder)
    path = write_dicom_seg(painted(scan), CLASSES, folder, tmp_path / "seg.dcm")
    whole = path.read_bytes()
    for length in (200, 1000, len(whole) // 2, len(whole) - 60):
        path.write_bytes(whole[:length])
        with pytest.raises(ScanError, match=r"seg\.dcm"):
            read_segmentation(path, scan)
    with pytest.raises(ScanError, match="no such file or folder"):
        read_segmentation(tmp_path / "none.dcm")
    path.write_bytes(whole)
    with pytest.raises(ScanError, match="expected a scan, got DICOM objects without one"):
        read_volume(path)


def test_dicom_labels_of_several_scans_become_one_set_of_classes(make_series: MakeSeries, tmp_path: Path) -> None:
    from genesis3d.data.targets import TargetData, load_targets

    upright = placed([1, 0, 0, 0, 1, 0])
    (tmp_path / "labels").mkdir()
    named = (CLASSES[1], LabelClass(value=3, name="heart"), CLASSES[2])
    other = (LabelClass(value=7, name="Left Lung"), LabelClass(value=1, name="tumour"), LabelClass(value=3, name="rib"))
    for name, uid, classes in (("ann", "1.2.21", named), ("bob", "1.2.22", other)):
        folder = make_series(
            name=f"images/{name}", each=lambda i, uid=uid: upright(i) | {"SeriesInstanceUID": uid, "PatientID": uid}
        )
        write_dicom_seg(painted(read_volume(folder)), classes, folder, tmp_path / f"labels/{name}.dcm")
    cases = load_targets(TargetData(images=str(tmp_path / "images"), labels=str(tmp_path / "labels")))
    assert cases is not None
    assert [case.name for case in cases.cases] == ["ann", "bob"]
    assert [(c.value, c.name) for c in cases.classes][1:] == [(1, "left lung"), (3, "heart"), (4, "rib"), (7, "tumour")]
    assert "bob: rib has value 3 there, 4 here" in cases.warnings
    index = {c.name: i for i, c in enumerate(cases.classes)}
    stored = painted(read_volume(tmp_path / "images/bob")).data
    np.testing.assert_array_equal(cases.labels[1].data == index["left lung"], stored == 7)
    np.testing.assert_array_equal(cases.labels[1].data == index["tumour"], stored == 1)


def test_poor_headers_and_names_in_any_script(make_series: MakeSeries, tmp_path: Path) -> None:
    upright = placed([1, 0, 0, 0, 1, 0])
    poor = {"SliceThickness": None, "StudyInstanceUID": None, "SpecificCharacterSet": "ISO 2022 IR 100",
            "PatientName": "M\u00fcller^Zo\u00eb"}  # fmt: skip
    folder = make_series(each=lambda i: upright(i) | poor | {"FrameOfReferenceUID": f"1.2.{i + 1}"})
    scan = read_volume(folder)
    classes = (
        LabelClass(value=1, name="\u043f\u0435\u0447\u0435\u043d\u044c"),
        LabelClass(value=7, name="\u809d\u81d3"),
    )
    path = write_dicom_seg(painted(scan), classes, folder, tmp_path / "seg.dcm")
    again, named = read_segmentation(path, scan)
    np.testing.assert_array_equal(again.data, painted(scan).data)
    assert [c.name for c in named] == [classes[0].name, "label 3", classes[1].name]
    d = pydicom.dcmread(path)
    assert str(d.PatientName) == "M\u00fcller^Zo\u00eb"
    assert d.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SpacingBetweenSlices == 2.5


@pytest.mark.real
@pytest.mark.parametrize("name", ["philips_enhanced/anatomical", "generic/compressed_j2k", "ge/fmri"])
def test_series_of_other_makers(real_data: Path, tmp_path: Path, name: str) -> None:
    source = real_data / "hostile/dicom2nifti" / name
    scan = read_volume(source, channel=0 if "fmri" in name else None).canonical()
    data = np.zeros(scan.geometry.shape, np.uint8)
    data[: data.shape[0] // 2, : data.shape[1] // 3, 1:] = 7
    data[1, 1, 0] = 1
    path = write_dicom_seg(scan.with_data(data), CLASSES, source, tmp_path / "seg.dcm")
    again, _ = read_segmentation(path, scan)
    np.testing.assert_array_equal(again.data[0], data)
    own, _ = read_segmentation(path)
    seen = own.geometry.to_world(np.argwhere(own.data[0] == 1))
    np.testing.assert_allclose(seen, scan.geometry.to_world((1, 1, 0))[None], atol=1e-2)


@pytest.mark.real
def test_lidc_on_its_own_slices(real_data: Path, tmp_path: Path) -> None:
    import highdicom

    source = real_data / "open/dicom/lidc-0001.zip"
    scan = read_volume(source).canonical()
    data = np.zeros(scan.geometry.shape, np.uint8)
    data[30:60, 100:200, 120:220] = 1
    data[50:90, 300:350, 300:420] = 7
    path = write_dicom_seg(scan.with_data(data), CLASSES, source, tmp_path / "seg.dcm")
    assert [s.SegmentLabel for s in pydicom.dcmread(path).SegmentSequence] == ["left lung", "tumour"]
    volume = highdicom.seg.segread(path).get_volume(combine_segments=True)
    for number, value in ((1, 1), (2, 7)):
        index = np.argwhere(volume.array == number)
        world = np.c_[index, np.ones(len(index))] @ volume.affine.T
        there = np.rint(scan.geometry.to_index(world[:, 2::-1])).astype(int)
        assert len(there) == np.count_nonzero(data == value)
        assert (data[tuple(there.T)] == value).all()
    heights = scan.geometry.to_world(np.stack([np.arange(133), np.zeros(133), np.zeros(133)], axis=1))[:, 0]
    for name, _, position, plane in frames(path):
        index = int(np.argmin(np.abs(heights - position[2])))
        assert abs(heights[index] - position[2]) < 1e-3
        np.testing.assert_array_equal(plane, data[index] == {"left lung": 1, "tumour": 7}[name])
    again, _ = read_segmentation(path, scan)
    np.testing.assert_array_equal(again.data[0], data)


def test_a_reference_is_put_onto_the_grid_of_the_prediction(make_series: MakeSeries, tmp_path: Path) -> None:
    """A DICOM SEG leaves empty slices out: an evaluation compares whole volumes all the same."""
    from genesis3d.events import Finished
    from genesis3d.workflows.evaluate import EvaluateSegmentationConfig, evaluate_segmentation

    folder = make_series(each=placed([1, 0, 0, 0, 1, 0]))
    labels = painted(read_volume(folder))
    wrong = labels.data.copy()
    wrong[0, 0, :2, :2] = 7  # on a slice that the reference leaves out
    for side in ("predictions", "references"):
        (tmp_path / side).mkdir()
    write_dicom_seg(labels.canonical(), CLASSES, folder, tmp_path / "references" / "case.dcm")
    write_volume(labels.with_data(wrong), tmp_path / "predictions" / "case.nii.gz")
    config = EvaluateSegmentationConfig(
        predictions=str(tmp_path / "predictions"), references=str(tmp_path / "references")
    )
    *_, end = evaluate_segmentation(config)
    assert isinstance(end, Finished)
    rows = {row["class"]: row for row in end.result["rows"]}
    marked = int((labels.data == 1).sum()), int((labels.data == 7).sum())
    assert rows["left lung"]["dice"] == 1.0
    assert rows["tumour"]["dice"] == pytest.approx(2 * marked[1] / (2 * marked[1] + 4))
