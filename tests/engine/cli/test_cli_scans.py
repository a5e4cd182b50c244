"""``genesis3d info`` and ``genesis3d convert`` as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from genesis3d.cli import main


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    """A small oblique CT as NIfTI."""
    values = np.linspace(-1000, 900, 5 * 6 * 7).reshape(5, 6, 7).astype(np.int16)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing((0.5, 0.75, 2.5))
    image.SetOrigin((10.0, 20.0, 30.0))
    c, s = float(np.cos(0.2)), float(np.sin(0.2))
    image.SetDirection((-1, 0, 0, 0, c, -s, 0, -s, -c))
    sitk.WriteImage(image, str(tmp_path / "scan.nii.gz"))
    return tmp_path / "scan.nii.gz"


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run the command line and return its exit status."""
    monkeypatch.setattr("sys.argv", ["genesis3d", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_info_for_people(scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "info", scan) == 0
    said = capsys.readouterr().out
    for line in (
        "size         7 x 6 x 5 voxels (x by y by z)",
        "spacing      0.5 x 0.75 x 2.5 mm",
        "origin       10, 20, 30 mm (towards left, posterior, superior)",
        "axes         x to right, y to posterior, z to inferior, oblique by 11.46 degrees",
        "modality     CT, HU",
        "values       int16, -1000 to 900 HU",
        "note         taken as CT in HU because",
    ):
        assert line in said


def test_info_as_json_agrees_with_simpleitk(
    scan: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", scan, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    image = sitk.ReadImage(str(scan))
    assert facts["shape"] == list(image.GetSize()[::-1])
    assert facts["spacing"] == pytest.approx(image.GetSpacing()[::-1])
    assert facts["origin"] == pytest.approx(image.GetOrigin()[::-1])
    direction = np.reshape(image.GetDirection(), (3, 3))[::-1, ::-1]
    np.testing.assert_allclose(facts["direction"], direction)
    assert facts["range"] == [-1000, 900]
    assert facts["series"][0]["channels"] == 1


def test_info_of_four_dimensions_describes_the_first_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    part = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
    sitk.WriteImage(sitk.JoinSeries([part, part * 2]), str(tmp_path / "time.nii"))
    assert run(monkeypatch, "info", tmp_path / "time.nii") == 0
    assert "the scan holds 2 channels; the values are those of channel 0" in capsys.readouterr().out
    assert run(monkeypatch, "info", tmp_path / "time.nii", "--channel", 1) == 0
    assert "0 to 118" in capsys.readouterr().out


def test_convert_keeps_grid_and_values(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.nrrd"
    assert run(monkeypatch, "convert", scan, out) == 0
    assert "7 x 6 x 5 voxels" in capsys.readouterr().out
    before, after = sitk.ReadImage(str(scan)), sitk.ReadImage(str(out))
    np.testing.assert_array_equal(sitk.GetArrayViewFromImage(before), sitk.GetArrayViewFromImage(after))
    for name in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(after, name)() == pytest.approx(getattr(before, name)(), abs=1e-12)


def test_convert_overwrites_only_when_asked(
    scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.mha"
    out.write_bytes(b"mine")
    assert run(monkeypatch, "convert", scan, out) == 2
    assert "is there already" in capsys.readouterr().err
    assert out.read_bytes() == b"mine"
    assert run(monkeypatch, "convert", scan, out, "--overwrite") == 0
    assert sitk.ReadImage(str(out)).GetSize() == (7, 6, 5)


def test_an_expected_error_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "info", tmp_path / "nowhere") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == f"genesis3d: {tmp_path / 'nowhere'}: no such file or folder\n"


@pytest.mark.real
@pytest.mark.slow
def test_info_of_real_scans_agrees_with_simpleitk(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scans = [p for p in sorted((real_data / "open").rglob("*.nii.gz")) if "hippocampus" not in p.as_posix()]
    assert len(scans) > 20
    for path in scans:
        assert run(monkeypatch, "info", path, "--json") == 0
        facts = json.loads(capsys.readouterr().out)
        image = sitk.ReadImage(str(path))
        values = sitk.GetArrayViewFromImage(image)
        assert facts["shape"] == list(values.shape)
        assert facts["spacing"] == pytest.approx(image.GetSpacing()[::-1], abs=1e-12)
        assert facts["origin"] == pytest.approx(image.GetOrigin()[::-1], abs=1e-12)
        np.testing.assert_allclose(facts["direction"], np.reshape(image.GetDirection(), (3, 3))[::-1, ::-1])
        assert facts["range"] == [values.min(), values.max()]


@pytest.mark.real
@pytest.mark.slow
def test_info_and_convert_of_a_zipped_dicom_series(
    real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = real_data / "open/dicom/lidc-0001.zip"
    assert run(monkeypatch, "info", scan) == 0
    said = capsys.readouterr().out
    assert "size         512 x 512 x 133 voxels" in said
    assert "modality     CT, HU" in said
    assert "-2048 to 3071 HU" in said
    assert "LIDC-IDRI" not in said
    assert run(monkeypatch, "convert", scan, tmp_path / "out.nii") == 0
    saved = sitk.ReadImage(str(tmp_path / "out.nii"))
    assert saved.GetSize() == (512, 512, 133)
    assert saved.GetSpacing() == (0.703125, 0.703125, 2.5)
    assert saved.GetOrigin() == pytest.approx((-166.0, -171.699997, -340.0), abs=1e-5)
