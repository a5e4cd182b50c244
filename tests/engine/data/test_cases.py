from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import genesis3d.io
from genesis3d.data.cases import case_of, find_cases, load_cases
from genesis3d.errors import ScanError
from genesis3d.intensity import Percentile
from genesis3d.volume import Geometry, Volume


@dataclass
class Series:
    uid: str
    problem: str | None = None

    def label(self) -> str:
        return f"series {self.uid}"


def read_stub(path: str, *, series: str | None = None, channel: int | None = None) -> Volume:
    if "broken" in str(path):
        raise ScanError(f"{path}: expected a scan, got nonsense")
    rng = np.random.default_rng(0)
    data = rng.integers(-1000, 500, (1, 4, 6, 5)).astype(np.int16)
    if "flat" in str(path):
        data[:] = 3
    direction = ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    geometry = Geometry((4, 6, 5), direction=direction)
    return Volume(data, geometry, "CT", "HU", Path(path).stem, str(path), series, notes=("a slice was mended",))


def list_stub(path: Path) -> list[Series]:
    if "broken" in str(path):
        raise ScanError(f"{path}: expected DICOM, got nonsense")
    return [Series("1.9", "tilted"), Series("1.2"), Series("1.3")] if "two" in str(path) else [Series("1.1")]


@pytest.fixture(autouse=True)
def _stub_io(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(genesis3d.io, "read_volume", read_stub, raising=False)
    monkeypatch.setattr(genesis3d.io, "list_series", list_stub, raising=False)


def dicom(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(128) + b"DICM" + bytes(10))


def scan(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"some bytes")
    return path


def test_files_folders_zips_and_dicom_are_found_in_order(tmp_path: Path) -> None:
    scan(tmp_path / "b.nii.gz")
    scan(tmp_path / "a.MHA")
    scan(tmp_path / "notes.txt")
    scan(tmp_path / "deeper" / "c.nrrd")
    dicom(tmp_path / "patient" / "series" / "IM0001")
    dicom(tmp_path / "patient" / "series" / "IM0002")
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        archive.writestr("x.dcm", b"x")
    found = find_cases([tmp_path])
    assert [case.name for case in found] == ["a", "b", "z", "c", "series"]
    assert found[-1].series == "1.1"
    assert not found.skipped


def test_the_largest_of_several_series_is_taken_and_the_others_are_said(tmp_path: Path) -> None:
    dicom(tmp_path / "two" / "a.dcm")
    found = find_cases(tmp_path)
    assert [case.series for case in found] == ["1.2"]
    assert "3 series; the largest that opens is used (series 1.2)" in found.skipped[0]


def test_what_cannot_be_a_case_is_named_and_passed_over(tmp_path: Path) -> None:
    good = scan(tmp_path / "good.nii")
    (tmp_path / "empty.nii").touch()
    dicom(tmp_path / "broken" / "x.dcm")
    found = find_cases([good, tmp_path / "nowhere", tmp_path / "empty.nii", tmp_path / "broken"])
    assert [case.name for case in found] == ["good"]
    assert len(found.skipped) == 3
    for word in ("nowhere", "empty.nii", "broken"):
        assert any(word in sentence for sentence in found.skipped)


def test_nothing_found_is_an_error_naming_where(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match=f"{tmp_path.name}: expected at least one scan"):
        find_cases([tmp_path])


def test_a_key_tells_neither_path_nor_case_twice(tmp_path: Path) -> None:
    path = scan(tmp_path / "jane_doe.nii")
    (one,) = find_cases([path, path])
    assert len(one.key) == 16
    assert int(one.key, 16) >= 0
    assert find_cases(path)[0].key == one.key
    assert find_cases(path, salt="another")[0].key != one.key
    assert find_cases(scan(tmp_path / "other.nii"))[0].key != one.key


def test_a_loaded_case_is_canonical(tmp_path: Path) -> None:
    volume = find_cases(scan(tmp_path / "a.nii"))[0].load()
    assert volume.geometry.direction == ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    assert not volume.orientation.is_identity
    stored = read_stub("a.nii")
    np.testing.assert_array_equal(case_of(stored).load().data, stored.data[:, ::-1])


def test_scans_are_loaded_and_bad_ones_left_out_by_name(tmp_path: Path) -> None:
    for name in ("a", "broken", "b"):
        scan(tmp_path / f"{name}.nii")
    loaded = load_cases(find_cases(tmp_path))
    assert [case.name for case in loaded.cases] == ["a", "b"]
    assert loaded.intensity.name == "ct"
    assert loaded.nbytes == 2 * 4 * 6 * 5 * 2
    assert any("broken is left out" in sentence for sentence in loaded.warnings)
    assert any("a slice was mended" in sentence for sentence in loaded.warnings)
    assert (loaded.scales[0].low, loaded.scales[0].high) == (-1000, 1000)


def test_a_scan_without_contrast_or_of_other_channels_is_left_out(tmp_path: Path) -> None:
    two = read_stub("two.nii")
    two = Volume(np.repeat(two.data, 2, axis=0), two.geometry, name="two channels")
    cases = [case_of(read_stub("a.nii")), case_of(read_stub("flat.nii")), case_of(two)]
    loaded = load_cases(cases, Percentile())
    assert [case.name for case in loaded.cases] == ["a"]
    assert any("more than one finite value" in sentence for sentence in loaded.warnings)
    assert any("channel" in sentence for sentence in loaded.warnings)
    with pytest.raises(ScanError, match="at least one readable scan"):
        load_cases(cases[1:2], Percentile())
