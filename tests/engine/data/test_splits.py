from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.data.cases import Case
from genesis3d.data.splits import SplitSettings, patient_of, read_patients, read_split, split, write_split
from genesis3d.data.targets import LabelledCases, TargetData, labelled_case
from genesis3d.errors import ConfigError
from genesis3d.intensity import MinMax, Scale
from genesis3d.labels import IGNORE, LabelClass
from genesis3d.volume import Geometry, Volume

CLASSES = (LabelClass(value=0, name="background"), LabelClass(value=1, name="organ"))


def cases(count: int, of_patient: int = 1) -> LabelledCases:
    one = Volume(np.zeros((1, 2, 2, 2), np.uint8), Geometry((2, 2, 2)))
    names = [f"p{i // of_patient}_{i}" for i in range(count)]
    patients = [patient_of(n, "", SplitSettings(separator="_"), {}) for n in names]
    found = [Case(name, f"{i:016x}") for i, name in enumerate(names)]
    return LabelledCases(found, [one] * count, [Scale(0, 1)] * count, [one] * count, patients, MinMax(), CLASSES)


def test_patients_stay_on_one_side() -> None:
    many = cases(30, of_patient=3)
    for seed in range(5):
        done = split(many, SplitSettings(hold_out=0.3, seed=seed))
        assert sorted(done.training + done.held_out) == list(range(30))
        sides = [{many.patients[i] for i in side} for side in (done.training, done.held_out)]
        assert not sides[0] & sides[1]
        assert len(sides[1]) == 3
    assert split(many, SplitSettings(seed=1)) == split(many, SplitSettings(seed=1))
    assert split(many, SplitSettings(seed=1)) != split(many, SplitSettings(seed=2))
    assert done.how.startswith("9 of 30 cases: p")
    assert not done.warning


def test_folds_hold_out_each_case_once() -> None:
    many = cases(10)
    held = [i for fold in range(5) for i in split(many, SplitSettings(folds=5, fold=fold)).held_out]
    assert sorted(held) == list(range(10))
    with pytest.raises(ConfigError, match="at most one a patient"):
        split(many, SplitSettings(folds=11))
    with pytest.raises(ConfigError, match="fold from 0 to 4"):
        SplitSettings.parse({"folds": 5, "fold": 5})


def test_fewer_labels_are_a_part_of_more_and_the_held_out_stay() -> None:
    many = cases(40)
    whole = split(many, SplitSettings())
    used: set[int] = set()
    for settings in (SplitSettings(count=1), SplitSettings(count=4), SplitSettings(fraction=0.5)):
        done = split(many, settings)
        assert done.held_out == whole.held_out
        assert used < set(done.training) <= set(whole.training)
        used = set(done.training)
    assert len(used) == 16
    assert done.how.endswith("; 16 of 32 training labels are used")
    with pytest.raises(ConfigError, match="at most the 32 training cases"):
        split(many, SplitSettings(count=33))


def test_names_and_files_declare_a_split(tmp_path: Path) -> None:
    many = cases(5)
    done = split(many, SplitSettings(names=("p1_1", "p3_3")))
    assert done.held_out == [1, 3]
    assert done.training == [0, 2, 4]
    with pytest.raises(ConfigError, match=r"expected one of p0_0, .*got 'nobody'"):
        split(many, SplitSettings(names=("nobody",)))
    with pytest.raises(ConfigError, match="fewer cases held out than there are"):
        split(many, SplitSettings(names=tuple(c.name for c in many.cases)))
    write_split(tmp_path / "split.json", done)
    again = split(many, SplitSettings(file=str(tmp_path / "split.json")))
    assert (again.training, again.held_out) == ([0, 2, 4], [1, 3])
    folds = [{"train": ["p0_0.nii.gz", "gone"], "val": ["p1_1.nii.gz"]}, {"train": ["p1_1"], "val": ["p0_0"]}]
    (tmp_path / "folds.json").write_text(json.dumps(folds))
    first = split(many, SplitSettings(file=str(tmp_path / "folds.json")))
    assert (first.training, first.held_out) == ([0], [1])
    assert first.warning.startswith("1 cases that")
    assert "not among those found" in first.warning
    assert read_split(tmp_path / "folds.json", 1) == (["p1_1"], ["p0_0"])


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "expected a JSON file of a split"),
        ("[]", "expected a fold from 0 to -1"),
        ('{"train": ["a"]}', "expected {.train.: .names., "),
        ('{"train": ["a"], "validate": ["a"]}', "expected each case on one side, got a on both"),
    ],
)
def test_a_file_that_is_no_split_is_refused(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "s.json").write_text(text)
    with pytest.raises(ConfigError, match=why):
        read_split(tmp_path / "s.json")


def test_a_patient_is_known_by_table_separator_folder_or_name(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("name,patient\na,one\nb,one\n")
    known = read_patients(tmp_path / "p.csv")
    plain, parted = SplitSettings(), SplitSettings(separator="_")
    assert patient_of("a", "", plain, known) == patient_of("b", "x", plain, known)
    assert patient_of("x_1", "", parted, {}) == patient_of("x_2", "", parted, {}) != patient_of("x_1", "", plain, {})
    assert patient_of("x_1", "f", plain, {}) == patient_of("x_2", "f", plain, {})
    # nothing of the name is left
    assert len(patient_of("jane", "", plain, {})) == 16
    assert "jane" not in patient_of("jane", "", plain, {})
    (tmp_path / "p.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="columns name and patient"):
        read_patients(tmp_path / "p.csv")


def test_without_anything_held_out_it_is_said() -> None:
    done = split(cases(3), SplitSettings(hold_out=0))
    assert done.training == [0, 1, 2]
    assert done.held_out == []
    assert "nothing is held out" in done.warning
    assert split(cases(3, of_patient=3), SplitSettings()).held_out == []


def single(*boxes: tuple[int, Any], unlabelled: Any) -> LabelledCases:
    rng = np.random.default_rng(0)
    geometry = Geometry((20, 30, 40), (3.0, 1.0, 1.0))
    volume = Volume(rng.normal(size=(1, 20, 30, 40)).astype(np.float32), geometry, name="scan")
    labels = np.zeros((1, 20, 30, 40), np.uint8)
    for value, where in boxes:
        labels[0][where] = value
    return labelled_case(volume, Volume(labels, geometry), TargetData(unlabelled=unlabelled))


def test_of_one_case_painted_slices_at_an_end_are_held_out() -> None:
    box = np.s_[5:25, 5:30]
    one = single(*((1, (d, *box)) for d in (3, 8, 9, 15)), unlabelled="slices")
    done = split(one, SplitSettings())
    assert (done.training, done.held_out) == ([0], [0])
    assert done.slab is not None
    assert done.slab.axis == 0
    assert done.how == "slices 12 to 19 along D of scan"
    training, held_out = done.parts(one)
    labelled = [{int(d) for d in np.flatnonzero((p.labels[0].data[0] != IGNORE).any(axis=(1, 2)))}
                for p in (training, held_out)]  # fmt: skip
    assert labelled == [{3, 8, 9}, {15}]
    assert training.volumes[0] is one.volumes[0]


def test_of_one_whole_segmentation_a_slab_with_a_part_of_every_class_is_held_out() -> None:
    one = single((1, np.s_[2:18, 5:25, 5:30]), (2, np.s_[14:17, 8:12, 8:12]), unlabelled="background")
    done = split(one, SplitSettings())
    assert done.slab is not None
    training, held_out = done.parts(one)
    inside = [set(np.unique(p.labels[0].data)) - {IGNORE} for p in (training, held_out)]
    assert inside[1] <= inside[0]
    assert 1 in inside[1]
    both = (training.labels[0].data != IGNORE).astype(int) + (held_out.labels[0].data != IGNORE)
    assert (both == 1).all()


def test_of_one_painted_voxel_nothing_can_be_held_out() -> None:
    one = single((1, np.s_[3, 4, 5]), unlabelled="slices")
    done = split(one, SplitSettings())
    assert done.held_out == []
    assert done.slab is None
    assert "too few slices" in done.warning
    with pytest.raises(ConfigError, match="the single case scan"):
        split(one, SplitSettings(folds=2))
