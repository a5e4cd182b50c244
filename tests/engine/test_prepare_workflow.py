"""Preparing an archive: whole cases or none, whatever happens meanwhile."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.data.storage import LocalStorage
from genesis3d.data.store import open_store
from genesis3d.errors import ConfigError, RunError, ScanError
from genesis3d.events import Event, Failed, Finished, Started, Stepped, Warned
from genesis3d.io import write_volume
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.prepare import PrepareConfig, prepare


def write(path: Path, seed: int = 0, shape: tuple[int, int, int] = (10, 20, 18)) -> Path:
    """A CT of a block with noise."""
    rng = np.random.default_rng(seed)
    hu = rng.normal(-1000, 5, shape)
    hu[2:-2, 4:-4, 4:-4] = rng.normal(40, 60, (shape[0] - 4, shape[1] - 8, shape[2] - 8))
    volume = Volume(hu.round().astype(np.int16)[None], Geometry(shape, (3.0, 2.0, 2.0)), "CT", "HU")
    return write_volume(volume, path)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six scans and a broken one."""
    folder = tmp_path_factory.mktemp("archive") / "doe_jane"
    folder.mkdir()
    for i in range(6):
        write(folder / f"scan-{i}.mha", i)
    (folder / "broken.nii.gz").write_bytes(b"no scan")
    return folder


def config(archive: Path, out: Path | str, **changes: Any) -> PrepareConfig:
    return PrepareConfig.parse({"cases": [str(archive)], "out": str(out), "jobs": 1} | changes)


def result(events: Iterator[Event] | list[Event]) -> dict[str, Any]:
    (finished,) = [event for event in events if isinstance(event, Finished)]
    return finished.result


def test_an_archive_becomes_a_store_with_a_report(archive: Path, tmp_path: Path) -> None:
    events = list(prepare(config(archive, tmp_path / "out", spacing=(3, 4, 4))))
    assert isinstance(events[0], Started)
    assert (events[0].what, events[0].total, events[0].unit) == ("prepare", 7, "case")
    steps = [event for event in events if isinstance(event, Stepped)]
    assert steps[-1].step == steps[-1].total == 7
    assert steps[-1].seconds_left == 0
    report = result(events)
    store = open_store(tmp_path / "out")
    assert report["cases"] == len(store) == 6
    assert report["fingerprint"] == store.fingerprint
    assert [entry["name"] for entry in report["left_out"]] == ["broken"]
    assert "NIfTI" in report["left_out"][0]["reason"]
    assert any("broken is left out" in event.message for event in events if isinstance(event, Warned))
    assert store.cases[0].spacing == (3.0, 4.0, 4.0)
    assert store.cases[0].source_shape == (10, 20, 18)
    assert report["modalities"] == {"CT": 6}
    assert report["bytes"] == sum(f.stat().st_size for f in (tmp_path / "out").glob("*/c/0/0/0/0"))
    on_disk = json.loads((tmp_path / "out/report.json").read_text())
    assert {name: on_disk[name] for name in report} == report
    for file in (tmp_path / "out").rglob("*"):
        assert not file.is_file() or b"doe_jane" not in file.read_bytes()
    assert not any("doe_jane" in event.to_json() for event in events[1:-2])


def test_the_same_again_does_nothing_and_more_scans_are_added(archive: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    shutil.copytree(archive, scans)
    first = result(prepare(config(scans, tmp_path / "out")))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("*/zarr.json")}
    assert result(prepare(config(scans, tmp_path / "out", jobs=2)))["fingerprint"] == first["fingerprint"]
    write(scans / "new.mha", 9)
    more = result(prepare(config(scans, tmp_path / "out")))
    assert more["cases"] == 7
    assert more["fingerprint"] != first["fingerprint"]
    assert all(p.stat().st_mtime_ns == then for p, then in before.items())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"spacing": (2, 2, 2)}, r"expected spacing None, by which this store was made, got \[2.0, 2.0, 2.0\]"),
        ({"intensity": "minmax"}, "expected intensity"),
        ({"crop": False}, "expected crop True"),
    ],
)
def test_other_settings_are_refused(archive: Path, tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    result(prepare(config(archive, tmp_path / "out")))
    with pytest.raises(ConfigError, match=said):
        list(prepare(config(archive, tmp_path / "out", **changes)))


def test_a_stopped_preparation_keeps_what_it_has_and_goes_on(archive: Path, tmp_path: Path) -> None:
    asked = 0

    def control() -> Any:
        nonlocal asked
        asked += 1
        return "stop" if asked > 3 else "run"

    events = list(prepare(config(archive, tmp_path / "out"), control))
    assert isinstance(events[-1], Finished)
    assert events[-1].cancelled
    assert events[-1].result["waiting"] == 4
    assert 0 < len(open_store(tmp_path / "out")) < 6
    whole = result(prepare(config(archive, tmp_path / "out")))
    assert whole["waiting"] == 0
    assert whole["fingerprint"] == result(prepare(config(archive, tmp_path / "other")))["fingerprint"]


def test_processes_stop_too(archive: Path, tmp_path: Path) -> None:
    events = list(prepare(config(archive, tmp_path / "out", jobs=2), lambda: "stop"))
    assert isinstance(events[-1], Finished)
    assert events[-1].cancelled


def in_two_processes(archive: Path, out: Path) -> list[str]:
    """Return the command that prepares ``archive`` with two workers."""
    return [sys.executable, "-m", "genesis3d", "prepare", str(archive), "--out", str(out), "--jobs", "2"]


def test_killed_at_any_moment_the_same_command_goes_on(archive: Path, tmp_path: Path) -> None:
    expected = result(prepare(config(archive, tmp_path / "whole")))["fingerprint"]
    command = in_two_processes(archive, tmp_path / "out")
    for seconds in (1.2, 2.0):
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        child.kill()
        child.wait()
    assert result(prepare(config(archive, tmp_path / "out")))["fingerprint"] == expected


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="counts processes in /proc")
def test_the_workers_end_with_their_parent(archive: Path, tmp_path: Path) -> None:
    command = in_two_processes(archive, tmp_path / "out")
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while not (workers := children(child.pid)) and child.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill()
    child.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(child) for child in task.read_text().split()]
    return found


@pytest.mark.skipif(os.name != "posix", reason="sends an interrupt")
def test_ctrl_c_keeps_what_is_finished(tmp_path: Path) -> None:
    first = write(mkdir(tmp_path / "scans") / "s0.mha")
    for i in range(1, 60):
        shutil.copy(first, first.with_name(f"s{i}.mha"))
    command = [sys.executable, "-m", "genesis3d", "prepare", str(tmp_path / "scans"), "--out", str(tmp_path / "out")]
    command += ["--jobs", "2", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, process_group=0) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if '"stepped"' in line:
                break
        os.killpg(child.pid, signal.SIGINT)
        finished = json.loads(child.stdout.read().splitlines()[-1])
    assert child.returncode == 0
    assert finished["kind"] == "finished"
    assert len(open_store(tmp_path / "out")) == finished["result"]["cases"] >= 1
    assert finished["result"]["cases"] + finished["result"]["waiting"] == 60


def mkdir(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_full_disk_is_one_sentence_and_nothing_is_half_there(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, written = LocalStorage.write, 0

    def full(self: LocalStorage, name: str, content: bytes) -> None:
        nonlocal written
        written += 1
        if written > 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(self, name, content)

    monkeypatch.setattr(LocalStorage, "write", full)
    with pytest.raises(RunError, match=r"but the disk is full; the 2 finished cases are kept") as error:
        list(prepare(config(archive, tmp_path / "out")))
    assert "\n" not in str(error.value)
    monkeypatch.undo()
    store = open_store(tmp_path / "out")
    assert len(store) == 2
    assert all(np.isfinite(store.volume(i).data[...]).all() for i in range(2))
    assert len([p for p in (tmp_path / "out").iterdir() if p.is_dir()]) == 2
    assert result(prepare(config(archive, tmp_path / "out")))["cases"] == 6


def test_a_half_written_case_is_written_again(archive: Path, tmp_path: Path) -> None:
    expected = result(prepare(config(archive, tmp_path / "out")))["fingerprint"]
    folders = sorted(p for p in (tmp_path / "out").iterdir() if p.is_dir())
    (folders[0] / "zarr.json").unlink()
    (folders[1] / "zarr.json").write_text('{"attributes"')
    (folders[2] / "c/0/0/0/.0.part").write_bytes(b"left over")
    (tmp_path / "out/index.jsonl").unlink()
    assert len(open_store(tmp_path / "out")) == 4
    assert result(prepare(config(archive, tmp_path / "out")))["fingerprint"] == expected


def test_what_cannot_be_prepared_at_all(archive: Path, tmp_path: Path) -> None:
    bad = mkdir(tmp_path / "bad")
    (bad / "a.nii.gz").write_bytes(b"no scan")
    with pytest.raises(ScanError, match="expected at least one case that can be prepared; a: "):
        list(prepare(config(bad, tmp_path / "out")))
    with pytest.raises(ScanError, match="expected at least one scan"):
        list(prepare(config(mkdir(tmp_path / "empty"), tmp_path / "out2")))
    with pytest.raises(ConfigError, match="with other files"):
        list(prepare(config(archive, bad)))
    (tmp_path / "file").write_text("x")
    with pytest.raises(ScanError, match="expected the folder of a store, got a file"):
        list(prepare(config(archive, tmp_path / "file")))
    with pytest.raises(ConfigError, match="out: expected"):
        list(prepare(PrepareConfig(cases=("a",))))


def test_two_at_once_are_refused(archive: Path, tmp_path: Path) -> None:
    events = prepare(config(archive, tmp_path / "out"))
    next(events)
    with pytest.raises(RunError, match="another process prepares it"):
        next(prepare(config(archive, tmp_path / "out")))
    assert result(events)["cases"] == 6


def test_a_case_whose_process_dies_is_left_out(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the workers start from a fresh interpreter: a file on their path makes one scan deadly
    hook = mkdir(tmp_path / "hook")
    (hook / "sitecustomize.py").write_text(
        "import os, genesis3d.data.cases as c\nload = c.Case.load\n"
        "c.Case.load = lambda self: os._exit(9) if self.name == 'scan-3' else load(self)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hook), *sys.path]))
    scans = [str(archive / f"scan-{i}.mha") for i in (2, 3)]
    report = result(prepare(config(archive, tmp_path / "out", cases=scans, jobs=2)))
    (left_out,) = report["left_out"]
    assert left_out["name"] == "scan-3"
    assert "its process died" in left_out["reason"]
    assert report["cases"] == 1
    # alone, it is still not allowed to take the command with it
    again = result(prepare(config(archive, tmp_path / "out", cases=scans, jobs=2)))
    assert [entry["name"] for entry in again["left_out"]] == ["scan-3"]


def test_channels_and_modalities_in_one_store(tmp_path: Path) -> None:
    scans = mkdir(tmp_path / "scans")
    for name in ("p1_0000", "p1_0001", "p2_0000", "p2_0001", "p3_0000"):
        write(scans / f"{name}.mha", len(name))
    mr = np.random.default_rng(0).gamma(2.0, 300.0, (12, 24, 20)).astype(np.float32)
    write_volume(Volume(mr[None], Geometry((12, 24, 20), (3.0, 2.0, 2.0)), "MR"), scans / "p2_0001.mha")
    events = list(prepare(config(scans, tmp_path / "out", channels=("_0000", "_0001"))))
    store = open_store(tmp_path / "out")
    assert [(case.name, case.channels) for case in store.cases] == [("p1", 2), ("p2", 2)]
    assert store.cases[1].intensity.name == "auto"
    assert store.cases[1].scales[0] == (-1000.0, 1000.0)
    assert store.cases[1].scales[1][1] < 5000
    assert store.volume(1).data[...].shape == (2, *store.cases[1].shape)
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any("p3: channel _0001 is missing" in text for text in said)
    assert any("resampled onto" in text for text in said)


@pytest.mark.real
def test_real_ct_and_mr_in_one_store(real_data: Path, tmp_path: Path) -> None:
    scans = sorted((real_data / "open/hippocampus_mr/images").iterdir())[:4]
    cases = [*map(str, scans), str(real_data / "open/dicom/lidc-0001.zip")]
    report = result(prepare(config(real_data, tmp_path / "out", cases=cases, spacing=(2.5, 1.4, 1.4))))
    assert report["modalities"] == {"CT": 1, "MR": 4} or report["modalities"] == {"CT": 1, "unknown": 4}
    store = open_store(tmp_path / "out")
    ct = next(case for case in store.cases if case.modality == "CT")
    assert ct.spacing == (2.5, 1.4, 1.4)
    assert ct.source_shape == (133, 512, 512)
    # the table and the air around the patient are gone
    assert ct.shape[1] < 0.8 * 256
    assert 0.15 < ct.mean < 0.6
    assert store.intensity.name == "auto"


def test_at_a_url(archive: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}/set"
    report = result(prepare(config(archive, url, jobs=4)))
    assert report["fingerprint"] == result(prepare(config(archive, tmp_path / "out")))["fingerprint"]
    assert result(prepare(config(archive, url)))["cases"] == 6


def test_a_training_reads_a_store_and_names_a_case_that_is_lost(archive: Path, tmp_path: Path) -> None:
    from genesis3d.workflows.pretrain import PretrainConfig, pretrain

    result(prepare(config(archive, tmp_path / "out", crop=False)))
    values = {
        "cases": [str(tmp_path / "out")], "network": {"name": "unet3d", "width": 4}, "steps": 3, "batch": 2,
        "sampling": {"patch": (16, 16, 16), "rule": "anywhere"}, "device": "cpu", "precision": "32", "threads": 1,
        "chain": "gentle", "validation": {"windows": 2, "every": 3},
    }  # fmt: skip
    events = list(pretrain(PretrainConfig.parse(values), tmp_path / "run0"))
    assert len([e for e in events if isinstance(e, Stepped)]) == 3
    from genesis3d.networks.model_file import read_card

    card = read_card(tmp_path / "run0/checkpoints/last.safetensors")
    assert card.intensity.name == "ct"
    assert card.data["fingerprint"] == open_store(tmp_path / "out").fingerprint
    for case in open_store(tmp_path / "out").cases:
        (tmp_path / "out" / case.key / "c/0/0/0/0").unlink()
    (failed,) = [e for e in pretrain(PretrainConfig.parse(values), tmp_path / "run9") if isinstance(e, Failed)]
    assert failed.expected
    assert "expected to read case scan-" in failed.message
    assert str(tmp_path) not in failed.message


def test_stores_and_files_in_one_configuration(archive: Path, tmp_path: Path) -> None:
    from genesis3d.workflows.pretrain import PretrainConfig
    from genesis3d.workflows.pretrain_setup import read_cases

    result(prepare(config(archive, tmp_path / "out")))
    given = [str(archive / "scan-0.mha"), str(tmp_path / "out")]

    def read(**changes: Any) -> Any:
        return read_cases(PretrainConfig.parse({"cases": given, "steps": 1} | changes), None, lambda: "run")

    assert [case.name for case in read().cases] == [*(f"scan-{i}" for i in range(6)), "scan-0"]
    assert read().intensity.name == "ct"
    assert read(cases=given[1]).fingerprint == open_store(tmp_path / "out").fingerprint
    with pytest.raises(ConfigError, match=r"intensity: expected .*'ct'.* was prepared, got .*'minmax'"):
        read(intensity="minmax")
    with pytest.raises(ScanError, match="found none"):
        read(cases=str(tmp_path / "nothing.zarr"))
