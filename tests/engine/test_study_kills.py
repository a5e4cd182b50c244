"""The command study on files: killed while it works, then taken up again by two processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from genesis3d.events import Finished
from genesis3d.io import write_volume
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.study import StudyConfig, study


def files(folder: Path) -> None:
    """Write four scans of a bright ball, and their labels."""
    grid = Geometry((16, 16, 16))
    for name in ("images", "labels"):
        (folder / name).mkdir()
    for number in range(4):
        generator = Address(number, path="ball").generator()
        centre = generator.uniform(5, 11, 3)
        inside = sum((axis - c) ** 2 for axis, c in zip(np.indices(grid.shape), centre, strict=True)) < 16
        data = (inside * 0.8 + generator.normal(0.1, 0.05, grid.shape)).astype(np.float32)
        write_volume(Volume(data[None], grid), folder / "images" / f"ball-{number}.nii.gz")
        write_volume(Volume(inside[None].astype(np.uint8), grid), folder / "labels" / f"ball-{number}.nii.gz")


@pytest.mark.slow
def test_a_killed_study_goes_on_in_two_processes(tmp_path: Path) -> None:
    files(tmp_path)
    config = {
        "target": {"images": [str(tmp_path / "images")], "labels": [str(tmp_path / "labels")]},
        "arms": {"scratch": {}},
        "counts": [1, 2],
        "seeds": [0, 1],
        "steps": 3,
        "test": {"names": ["ball-3"]},
        "settings": {
            "network": {"name": "unet3d", "width": 2, "norm": "instance", "decoder": "nearest"},
            "sampling.patch": [16, 16, 16], "batch": 1, "augmentation": "none", "threads": 1, "device": "cpu",
        },
    }  # fmt: skip
    out = tmp_path / "out"
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "genesis3d", "study", str(tmp_path / "study.yaml"), "--out-dir", str(out)]
    process = subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL)
    first = out / "runs/scratch/n1_f0_s0.json"
    deadline = time.monotonic() + 200
    while not first.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.kill()
    process.wait()
    stamp = first.stat().st_mtime_ns
    last = list(study(StudyConfig.from_yaml(tmp_path / "study.yaml"), out, jobs=2))[-1]
    assert isinstance(last, Finished)
    assert (last.cancelled, last.result["trainings"], last.result["of"]) == (False, 4, 4)
    assert first.stat().st_mtime_ns == stamp
    found = sorted(path.name for path in (out / "runs/scratch").iterdir())
    assert found == ["n1_f0_s0.json", "n1_f0_s1.json", "n2_f0_s0.json", "n2_f0_s1.json"]
    assert all(json.loads(path.read_text())["failed"] == "" for path in (out / "runs/scratch").iterdir())
