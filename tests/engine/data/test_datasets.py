from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from genesis3d.data.targets import TargetData, find_targets, load_targets
from genesis3d.errors import ConfigError
from genesis3d.io import write_volume
from genesis3d.labels import IGNORE
from genesis3d.volume import Geometry, Volume

SHAPE = (4, 5, 6)


def put(path: Path, data: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_volume(Volume(np.asarray(data)[None], Geometry(SHAPE, (2.0, 1.0, 1.0))), path)


def labels(*values: int) -> Any:
    data = np.zeros(SHAPE, np.uint8)
    for row, value in enumerate(values):
        data[1:3, row, 2:4] = value
    return data


IMAGE = np.arange(120, dtype=np.int16).reshape(SHAPE)


def decathlon(folder: Path, **changes: Any) -> Path:
    for name in ("la_1", "la_2"):
        put(folder / f"imagesTr/{name}.nii.gz", IMAGE)
        put(folder / f"labelsTr/{name}.nii.gz", labels(1, 2))
    content = {
        "name": "Phantom",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "left  atrium", "2": "wall", "3": "never seen"},
        "numTest": 10,
        "training": [{"image": f"./imagesTr/{n}.nii.gz", "label": f"./labelsTr/{n}.nii.gz"} for n in ("la_1", "la_2")],
        "test": ["./imagesTs/la_9.nii.gz"],
    } | changes
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_a_decathlon_data_set_names_its_classes(tmp_path: Path) -> None:
    for given in (tmp_path, tmp_path / "dataset.json"):
        cases = load_targets(TargetData(dataset=str(decathlon(tmp_path) if given == tmp_path else given)))
        assert cases is not None
        assert [case.name for case in cases.cases] == ["la_1", "la_2"]
        assert [(c.value, c.name) for c in cases.classes] == [(0, "background"), (1, "left atrium"), (2, "wall")]
        assert cases.volumes[0].modality == "MR"
        assert cases.warnings == ()


def test_modalities_of_one_file_become_channels(tmp_path: Path) -> None:
    decathlon(tmp_path, modality={"0": "T2", "1": "ADC"})
    for name in ("la_1", "la_2"):
        stack = np.stack([IMAGE, 5 - IMAGE])
        image = sitk.JoinSeries([sitk.GetImageFromArray(part) for part in stack])
        sitk.WriteImage(image, str(tmp_path / f"imagesTr/{name}.nii.gz"))
        sitk.WriteImage(sitk.GetImageFromArray(labels(1)), str(tmp_path / f"labelsTr/{name}.nii.gz"))
    cases = load_targets(TargetData(dataset=str(tmp_path)))
    assert cases is not None
    assert cases.volumes[0].channels == 2
    assert cases.volumes[0].data[0, 0, 0, 0] == 0
    assert cases.volumes[0].data[1, 0, 0, 0] == 1


def test_a_case_that_the_list_names_but_the_disk_lacks_is_said(tmp_path: Path) -> None:
    decathlon(tmp_path)
    (tmp_path / "imagesTr/la_1.nii.gz").unlink()
    found = find_targets(TargetData(dataset=str(tmp_path)))
    assert [case.name for case in found] == ["la_2"]
    assert "la_1.nii.gz" in found.skipped[0]


def test_an_nnunet_raw_folder(tmp_path: Path) -> None:
    for name in ("BRATS_001", "BRATS_002"):
        for channel in range(2):
            put(tmp_path / f"imagesTr/{name}_{channel:04d}.nrrd", IMAGE + channel)
        put(tmp_path / f"labelsTr/{name}.nrrd", labels(1, 2, 3))
    content = {
        "channel_names": {"0": "CT", "1": "CT"},
        "labels": {"background": 0, "tumour": 1, "oedema": 2, "ignore": 3},
        "numTraining": 2,
        "file_ending": ".nrrd",
    }
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    cases = load_targets(TargetData(dataset=str(tmp_path)))
    assert cases is not None
    assert [case.name for case in cases.cases] == ["BRATS_001", "BRATS_002"]
    assert [c.name for c in cases.classes] == ["background", "tumour", "oedema"]
    assert cases.volumes[0].channels == 2
    assert (cases.labels[0].data[0, 1:3, 2, 2:4] == IGNORE).all()
    assert np.count_nonzero(cases.labels[0].data == IGNORE) == 4


def test_a_plain_folder_needs_no_description(tmp_path: Path) -> None:
    decathlon(tmp_path)
    (tmp_path / "dataset.json").unlink()
    assert len(find_targets(TargetData(dataset=str(tmp_path)))) == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"training": []}, "expected training cases .Decathlon. or channel_names .nnU-Net., got neither"),
        ({"training": ["a"]}, "expected an image and a label for each training case"),
        ({"labels": {"whole": [1, 2]}}, r"got regions \(whole is \[1, 2\]\)"),
        ({"labels": {"a": "b"}}, "expected whole numbers as label values, got 'b' for a"),
        ({"labels": ["a"]}, "expected labels as names and values, got list"),
        ({"channel_names": {"0": "CT"}, "labels": {}}, "no image|channel|expected"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    with pytest.raises((ConfigError, ValueError), match=why):
        find_targets(TargetData(dataset=str(decathlon(tmp_path, **changes))))


def test_no_description_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected a dataset\.json or a folder, found nothing there"):
        find_targets(TargetData(dataset=str(tmp_path / "none.json")))
    (tmp_path / "dataset.json").write_text("[1]")
    with pytest.raises(ConfigError, match="expected a description of a data set, got list"):
        find_targets(TargetData(dataset=str(tmp_path)))
