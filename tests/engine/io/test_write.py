"""Saving: whole or not at all, the values as they are, the smallest integers for labels."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from genesis3d.errors import ScanError
from genesis3d.io import read_volume, write_volume
from genesis3d.volume import Geometry, Volume

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")
GRID = Geometry((4, 5, 6), (2.0, 0.5, 0.75), (1.0, 2.0, 3.0))


def volume_of(values: np.ndarray, **known: str) -> Volume:
    return Volume(data=values.reshape(-1, 4, 5, 6), geometry=GRID, **known)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64", ">i2"])
def test_values_and_type_are_kept(tmp_path: Path, suffix: str, dtype: str) -> None:
    volume = volume_of(np.arange(120).astype(dtype))
    saved = read_volume(write_volume(volume, tmp_path / f"a{suffix}"))
    assert saved.data.dtype == np.dtype(dtype).newbyteorder("=")
    np.testing.assert_array_equal(saved.data, volume.data)
    assert saved.geometry.matches(GRID, 1e-5)


@pytest.mark.parametrize(
    ("values", "labels", "stored"),
    [
        (np.arange(120) % 2 == 0, False, "uint8"),
        (np.arange(120, dtype=np.int64), False, "uint8"),
        (np.arange(120, dtype=np.int64) - 500, False, "int16"),
        (np.arange(120, dtype=np.int32), True, "uint8"),
        (np.arange(120, dtype=np.int32) * 300, True, "uint16"),
        (np.arange(120, dtype=np.uint64) * 3_000_000, True, "uint32"),
        (np.arange(120, dtype=np.int32), False, "int32"),
        (np.arange(120, dtype=np.float16), False, "float32"),
    ],
)
def test_types_that_formats_lack_and_labels(tmp_path: Path, values: np.ndarray, labels: bool, stored: str) -> None:
    path = write_volume(volume_of(values), tmp_path / "a.nii.gz", labels=labels)
    saved = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    assert saved.dtype == stored
    np.testing.assert_array_equal(saved.ravel(), values.astype(np.float64))


def test_complex_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ScanError, match="real numbers to save, got complex64"):
        write_volume(volume_of(np.zeros(120, np.complex64)), tmp_path / "a.nii")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
def test_modality_and_unit_survive_where_the_format_has_room(tmp_path: Path, suffix: str) -> None:
    volume = volume_of(np.zeros(120, np.int16), modality="CT", unit="HU")
    saved = read_volume(write_volume(volume, tmp_path / f"a{suffix}"))
    assert (saved.modality, saved.unit) == ("CT", "HU")


def test_channels_are_kept_and_asked_for(tmp_path: Path) -> None:
    volume = volume_of(np.arange(240, dtype=np.int16))
    path = write_volume(volume, tmp_path / "a.nrrd")
    np.testing.assert_array_equal(read_volume(path, channel=1).data[0], volume.data[1])


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("a.png", "name ending in .nii.gz, .nii, .nrrd, .mha, .mhd, got .png"),
        ("a", "got no suffix"),
        ("nowhere/a.nii", "its folder does not exist"),
        ("folder.nii", "expected a file name, got a folder"),
    ],
)
def test_places_that_cannot_be_written(tmp_path: Path, name: str, phrase: str) -> None:
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(ScanError) as caught:
        write_volume(volume_of(np.zeros(120, np.int16)), tmp_path / name)
    assert phrase in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_not_writable(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(ScanError, match="cannot be written: Permission denied"):
        write_volume(volume_of(np.zeros(120, np.int16)), tmp_path / "a.nii")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_an_error_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, step: str
) -> None:
    path = write_volume(volume_of(np.arange(120, dtype=np.int16)), tmp_path / f"a{suffix}")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(ScanError, match="cannot be written: No space left on device"):
        write_volume(volume_of(np.zeros(120, np.int16)), path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# The NIfTI writer of the image library says nothing when a write falls short: a limit on file sizes stands for a
# full disk, in a process of its own.
FULL_DISK = """
import resource, signal, sys
import numpy as np
from genesis3d.errors import ScanError
from genesis3d.io import write_volume
from genesis3d.volume import Geometry, Volume
values = np.random.default_rng(0).integers(0, 30000, (1, 30, 50, 50)).astype(np.int16)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
for suffix in sys.argv[2:]:
    try:
        write_volume(Volume(data=values, geometry=Geometry((30, 50, 50))), sys.argv[1] + "/a" + suffix)
    except ScanError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on file sizes here")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), *SUFFIXES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    said = done.stdout.splitlines()
    assert len(said) == len(SUFFIXES)
    assert all("cannot be written: the image library failed to write it whole" in line for line in said)
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def test_importing_io_pulls_neither_simpleitk_nor_pydicom() -> None:
    code = "import sys, genesis3d.io; sys.exit(bool({'SimpleITK', 'pydicom', 'psutil'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], timeout=100, check=False).returncode == 0


@pytest.mark.parametrize("linked", [True, False])
def test_a_packed_and_a_plain_file_of_one_name_are_two_scans(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    """The image library takes a.nii for a.nii.gz as well when both are there."""
    if not linked:
        monkeypatch.setattr(Path, "symlink_to", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    for name, value in (("a.nii", 1), ("a.nii.gz", 2)):
        write_volume(Volume(np.full((1, 2, 3, 4), value, np.int16), Geometry((2, 3, 4))), tmp_path / name)
    assert read_volume(tmp_path / "a.nii").data.max() == 1
    packed = read_volume(tmp_path / "a.nii.gz")
    assert packed.data.max() == 2
    assert packed.source == str(tmp_path / "a.nii.gz")
    assert packed.name == "a"
