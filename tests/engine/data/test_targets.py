from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.data.targets import LabelledCases, TargetData, find_targets, labelled_case, load_targets
from genesis3d.errors import ConfigError, ScanError
from genesis3d.io import write_volume
from genesis3d.labels import IGNORE, LabelClass
from genesis3d.volume import Geometry, Orientation, Volume

SHAPE = (8, 10, 12)


def scan(shape: tuple[int, int, int] = SHAPE, spacing: float = 2.0, name: str = "scan", **known: Any) -> Volume:
    d, h, w = np.indices(shape)
    data = (40 * d + 9 * h + w).astype(np.int16)
    return Volume(data[None], Geometry(shape, (spacing,) * 3, (5.0, -3.0, 7.0)), "MR", name=name, **known)


def paint(volume: Volume, *boxes: tuple[int, Any], dtype: Any = np.uint8) -> Volume:
    data = np.zeros(volume.geometry.shape, dtype=dtype)
    for value, where in boxes:
        data[where] = value
    return Volume(data[None], volume.geometry, name=volume.name)


BOX = np.s_[2:5, 3:7, 4:9]


def put(folder: Path, name: str, volume: Volume) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_volume(volume, folder / name)


def load(**settings: Any) -> LabelledCases:
    cases = load_targets(TargetData(**settings))
    assert cases is not None
    return cases


def test_a_root_with_images_and_labels_needs_no_more(tmp_path: Path) -> None:
    for name in ("b", "a"):
        put(tmp_path / "images", f"{name}.nii.gz", scan())
        put(tmp_path / "labels", f"{name}.mha", paint(scan(), (3, BOX), (700, np.s_[6:, :2, :2]), dtype=np.int16))
    cases = load(images=str(tmp_path))
    assert [case.name for case in cases.cases] == ["a", "b"]
    assert [(c.value, c.name) for c in cases.classes] == [(0, "background"), (3, "label 3"), (700, "label 700")]
    labels = cases.labels[0]
    assert labels.data.dtype == np.uint8
    assert (labels.data[0][BOX] == 1).all()
    assert (labels.data[0][6:, :2, :2] == 2).all()
    assert np.count_nonzero(labels.data) == 60 + 8
    assert len(set(cases.patients)) == 2
    assert labels.geometry.matches(cases.volumes[0].geometry)
    assert len(cases.subset([1])) == 1
    assert cases.subset([1]).cases[0].name == "b"


def test_one_mapping_for_all_cases_in_the_order_of_values(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.mha", scan())
    put(tmp_path / "images", "b.mha", scan())
    put(tmp_path / "labels", "a.mha", paint(scan(), (5, BOX)))
    put(tmp_path / "labels", "b.mha", paint(scan(), (2, BOX), (5, np.s_[7])))
    cases = load(images=str(tmp_path))
    assert [c.value for c in cases.classes] == [0, 2, 5]
    assert set(np.unique(cases.labels[0].data)) == {0, 2}
    assert set(np.unique(cases.labels[1].data)) == {0, 1, 2}


@pytest.mark.parametrize("end", ["_seg", "_lesion", "-mask", ".labels"])
def test_label_names_may_continue_those_of_images(tmp_path: Path, end: str) -> None:
    for name in ("case_1", "case_1_2"):
        put(tmp_path / "scans", f"{name}.nii.gz", scan())
        put(tmp_path / "masks", f"{name}{end}.nii.gz", paint(scan(), (1, BOX)))
    found = find_targets(TargetData(images=str(tmp_path / "scans"), labels=str(tmp_path / "masks")))
    assert [(c.name, Path(c.labels).name) for c in found] == [
        ("case_1", f"case_1{end}.nii.gz"),
        ("case_1_2", f"case_1_2{end}.nii.gz"),
    ]


def test_one_folder_for_both_is_told_apart_by_the_end_of_names(tmp_path: Path) -> None:
    for name in ("p1", "p2"):
        put(tmp_path, f"{name}.mha", scan())
        put(tmp_path, f"{name}_lesion.mha", paint(scan(), (1, BOX)))
    assert [c.name for c in find_targets(TargetData(images=str(tmp_path)))] == ["p1", "p2"]
    again = TargetData(images=str(tmp_path), labels=str(tmp_path / ".." / tmp_path.name))
    assert [c.name for c in find_targets(again)] == ["p1", "p2"]
    put(tmp_path, "p1_lung.mha", paint(scan(), (1, np.s_[:4])))
    with pytest.raises(ConfigError, match="label_suffix to tell them; they end in _lesion, _lung"):
        find_targets(TargetData(images=str(tmp_path)))
    found = find_targets(TargetData(images=str(tmp_path), label_suffix="_lesion"))
    assert [Path(c.labels).name for c in found] == ["p1_lesion.mha", "p2_lesion.mha"]
    assert found.skipped == ["p1_lung is left out: no labels are called like it"]


def test_lists_of_files_run_in_parallel(tmp_path: Path) -> None:
    images = [str(put(tmp_path / p, "ct.mha", scan())) for p in ("ann", "bob")]
    labels = [str(put(tmp_path / p, "organ.mha", paint(scan(), (1, BOX)))) for p in ("ann", "bob")]
    found = find_targets(TargetData(images=images, labels=labels))
    assert [(c.name, c.labels) for c in found] == [("ann_ct", labels[0]), ("bob_ct", labels[1])]
    assert len({c.patient for c in found}) == 2
    # a file that serves as both is refused
    with pytest.raises(ConfigError, match=r"ct\.mha: expected an image and its labels, got one file for both"):
        find_targets(TargetData(images=images[0], labels=images[0]))


def test_a_case_without_labels_or_with_broken_ones_is_left_out_and_said(tmp_path: Path) -> None:
    for name in ("good", "lonely", "broken", "fractions", "negative"):
        put(tmp_path / "images", f"{name}.mha", scan())
    put(tmp_path / "labels", "good.mha", paint(scan(), (1, BOX)))
    (tmp_path / "labels/broken.mha").write_bytes(b"no image")
    put(tmp_path / "labels", "fractions.mha", paint(scan(), (0.5, BOX), dtype=np.float32))
    put(tmp_path / "labels", "negative.mha", paint(scan(), (-1, BOX), dtype=np.int16))
    cases = load(images=str(tmp_path))
    assert [case.name for case in cases.cases] == ["good"]
    said = "\n".join(cases.warnings)
    assert "lonely is left out: no labels are called like it" in said
    assert "broken is left out:" in said
    assert str(tmp_path) not in said
    assert "fractions is left out: " in said
    assert "expected labels as whole numbers, got fractions" in said
    assert "negative is left out: " in said
    assert "expected labels from 0 to 65535, got -1 to 0" in said


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int32, np.int64, np.uint64, np.float32, np.float64])
def test_labels_of_any_type(dtype: Any) -> None:
    cases = labelled_case(scan(), paint(scan(), (1, BOX), dtype=dtype))
    assert np.count_nonzero(cases.labels[0].data == 1) == 60
    assert cases.labels[0].data.dtype == np.uint8


def test_labels_that_are_turned_are_turned_back() -> None:
    volume = scan()
    turn = Orientation((2, 0, 1), (True, False, True))
    labels = paint(volume, (1, BOX))
    turned = Volume(np.ascontiguousarray(turn.apply(labels.data)), labels.geometry.oriented(turn))
    cases = labelled_case(volume, turned)
    np.testing.assert_array_equal(cases.labels[0].data, labels.data)
    assert cases.warnings == ()


def test_labels_on_another_grid_are_put_onto_the_scan_with_a_word() -> None:
    volume = scan()
    fine = scan((16, 20, 24), 1.0)
    fine = Volume(fine.data, Geometry((16, 20, 24), (1.0,) * 3, (4.5, -3.5, 6.5)))
    cases = labelled_case(volume, paint(fine, (1, np.s_[4:10, 6:14, 8:18])))
    np.testing.assert_array_equal(cases.labels[0].data, paint(volume, (1, BOX)).data)
    assert "its labels lie on another grid and were put onto that of the scan" in cases.warnings[0]


def test_what_the_labels_do_not_cover_is_not_labelled() -> None:
    part = scan().crop((0, 0, 0), (7, 10, 12))
    cases = labelled_case(scan(), paint(part, (1, BOX)))
    assert (cases.labels[0].data[0, 7] == IGNORE).all()
    assert not (cases.labels[0].data[0, :7] == IGNORE).any()


def test_labels_that_lie_elsewhere_are_refused() -> None:
    far = scan()
    far = Volume(far.data, Geometry(SHAPE, (2.0,) * 3, (5.0, 9.0, 7.0)))
    with pytest.raises(ScanError, match=r"expected its labels to lie over the scan \(12 x 10 x 8 voxels.*covers .. %"):
        labelled_case(scan(), paint(far, (1, BOX)))


def test_unlabelled_slices_are_those_without_paint() -> None:
    volume = scan()
    labels = paint(volume, (1, np.s_[2:8, 4, 3:9]), (2, np.s_[1, 8, 5:7]))
    cases = labelled_case(volume, labels, TargetData(unlabelled="slices"))
    got = cases.labels[0].data[0]
    assert {h for h in range(10) if not (got[:, h] == IGNORE).all()} == {4, 8}
    assert set(np.unique(got[:, 4])) == {0, 1}
    assert np.count_nonzero(got[:, 8] == 2) == 2
    # one painted voxel: its slice of the first axis counts
    single = labelled_case(volume, paint(volume, (1, np.s_[3, 3, 3])), TargetData(unlabelled="slices"))
    assert (single.labels[0].data[0, 3] != IGNORE).all()
    assert (single.labels[0].data == IGNORE).sum() == 7 * 120
    # who knows the axis says it
    along_w = labelled_case(volume, paint(volume, (1, np.s_[3, 3, 3])), TargetData(unlabelled="slices"), axis=2)
    assert (along_w.labels[0].data[0, :, :, 3] != IGNORE).all()


def test_background_may_be_painted_where_nothing_else_counts() -> None:
    classes = (LabelClass(value=1, name="Background"), LabelClass(value=2, name="organ", colour="#ff0000"))
    data = TargetData(unlabelled="ignore", classes=classes)
    volume = scan()
    cases = labelled_case(volume, paint(volume, (2, BOX), (1, np.s_[7])), data)
    assert [(c.value, c.name, c.colour) for c in cases.classes] == [(0, "background", None), (2, "organ", "#ff0000")]
    values, counts = np.unique(cases.labels[0].data, return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {0: 120, 1: 60, IGNORE: 960 - 180}
    assert cases.warnings == ()
    alone = labelled_case(volume, paint(volume, (2, BOX)), data)
    assert "no voxel is labelled as background" in alone.warnings[0]


def test_a_value_may_mean_unlabelled_and_others_than_the_given_classes_are_background() -> None:
    data = TargetData(ignore=9, classes=(LabelClass(value=4, name="organ"),))
    volume = scan()
    cases = labelled_case(volume, paint(volume, (4, BOX), (9, np.s_[7]), (5, np.s_[0])), data)
    assert set(np.unique(cases.labels[0].data)) == {0, 1, IGNORE}
    assert (cases.labels[0].data[0, 7] == IGNORE).all()
    assert not cases.labels[0].data[0, 0].any()
    assert cases.warnings == ("scan: value 5 is none of the given classes and counts as background",)


@pytest.mark.parametrize("unlabelled", ["background", "slices", "ignore"])
def test_empty_labels_are_refused(unlabelled: Any) -> None:
    with pytest.raises(ScanError, match="expected at least one labelled voxel"):
        labelled_case(scan(), paint(scan()), TargetData(unlabelled=unlabelled))


def test_four_dimensions_are_refused() -> None:
    labels = paint(scan(), (1, BOX))
    with pytest.raises(ScanError, match="expected one label a voxel, got 3 values"):
        labelled_case(scan(), Volume(np.repeat(labels.data, 3, axis=0), labels.geometry))


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (4.0, 2.0, 3.0), (2.0, 2.0, 2.0)])
def test_another_spacing_keeps_places_and_volumes(spacing: tuple[float, float, float]) -> None:
    volume = scan((16, 20, 24))
    labels = paint(volume, (1, np.s_[4:10, 6:14, 8:18]), (2, np.s_[10:14, 6:14, 8:18]))
    cases = labelled_case(volume, labels, TargetData(spacing=spacing))
    got = cases.labels[0]
    assert got.geometry.spacing == spacing
    assert got.geometry == cases.volumes[0].geometry
    for index, wanted in ((1, 6 * 8 * 10), (2, 4 * 8 * 10)):
        assert np.count_nonzero(got.data == index) * np.prod(spacing) == pytest.approx(wanted * 8, rel=0.2)
    center = got.geometry.to_world(np.argwhere(got.data[0] == 1).mean(axis=0))
    np.testing.assert_allclose(center, volume.geometry.to_world((6.5, 9.5, 12.5)), atol=0.6)


def test_a_painted_slice_survives_a_coarser_spacing() -> None:
    volume = scan((30, 10, 12), 1.0)
    labels = paint(volume, *((1, np.s_[d, 2:8, 2:9]) for d in (4, 15, 23)))
    cases = labelled_case(volume, labels, TargetData(unlabelled="slices", spacing=(3.0, 1.0, 1.0)))
    got = cases.labels[0].data[0]
    painted = [d for d in range(10) if (got[d] == 1).sum() > 20]
    assert painted == [1, 5, 7]
    assert (got[[0, 3, 9]] == IGNORE).all()


def test_registered_files_are_channels_of_one_case(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for number in (0, 1):
            put(tmp_path / "imagesTr", f"{name}_{number:04d}.mha", scan())
        put(tmp_path / "labelsTr", f"{name}.mha", paint(scan(), (1, BOX)))
    cases = load(images=str(tmp_path))
    assert [case.name for case in cases.cases] == [v.name for v in cases.volumes] == ["a", "b"]
    assert cases.volumes[0].channels == 2
    assert cases.volumes[0].data.dtype == np.float32
    assert cases.volumes[0].data.min() >= 0
    assert cases.volumes[0].data.max() <= 1
    assert (cases.scales[0].low, cases.scales[0].high) == (0, 1)


def test_told_to_stop_nothing_is_given(tmp_path: Path) -> None:
    put(tmp_path / "images", "a.mha", scan())
    put(tmp_path / "labels", "a.mha", paint(scan(), (1, BOX)))
    assert load_targets(TargetData(images=str(tmp_path)), control=lambda: "stop") is None


def test_settings_that_contradict_themselves_are_refused() -> None:
    with pytest.raises(ConfigError, match="got both"):
        TargetData.parse({"dataset": "x", "images": ["y"]})
    with pytest.raises(ConfigError, match="different values and different names"):
        TargetData.parse({"classes": [{"value": 1, "name": "a"}, {"value": 2, "name": "A"}]})
    with pytest.raises(ConfigError, match="got neither"):
        find_targets(TargetData())
    data = TargetData(images="a", labels=("b",), classes=(LabelClass(value=1, name="x"),))
    assert TargetData.parse(data.to_dict()) == data


@pytest.mark.real
def test_folders_of_real_labels(real_data: Path) -> None:
    hippocampus = TargetData(images=str(real_data / "open/hippocampus_mr"))
    found = find_targets(hippocampus)
    assert len(found) == 200
    assert found.skipped == []
    some = load_targets(hippocampus, type(found)(found[:3]))
    assert some is not None
    assert [c.value for c in some.classes] == [0, 1, 2]
    assert all(set(np.unique(one.data)) == {0, 1, 2} for one in some.labels)
    sarcoma = load(images=str(real_data / "open/sarcoma_mr"), label_suffix="_tumour", channels=["_t1"])
    assert [case.name for case in sarcoma.cases] == [f"sts-00{n}" for n in (2, 3, 4, 6, 8)]
    assert sarcoma.warnings == ()
    lesions = [str(real_data / f"open/ms_brain_mr/{p}") for p in ("patient07", "patient26")]
    data = {"images": [f"{p}/flair.nii.gz" for p in lesions], "labels": [f"{p}/lesions.nii.gz" for p in lesions]}
    assert [case.name for case in load(**data).cases] == ["patient07_flair", "patient26_flair"]
    with pytest.raises(ScanError, match="expected its labels to lie over the scan"):
        load(
            images=str(real_data / "open/chest_ct/lidc-0002.nii.gz"),
            labels=str(real_data / "open/abdomen_ct/chaos-3_liver.nii.gz"),
        )
