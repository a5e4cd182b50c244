"""kill -9 at twenty random moments: the run resumes each time, and ends as one that was never killed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch

from genesis3d.errors import RunError
from genesis3d.events import Sampled, Saved, Stepped, Validated
from genesis3d.networks.model_file import read_model
from genesis3d.training.checkpoint import read_state
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain import PretrainConfig

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
Make = Callable[..., PretrainConfig]
KILLS = 20

# All that a resumed run must know: an average, a plateau, a blow-up that is recovered from, saves at every second step.
CHANGES: dict[str, Any] = {
    "network": {"name": "unet3d", "width": 2, "norm": "none"},
    "task": {"name": "restoration", "output": "linear"},
    "optimiser": {
        "name": "sgd", "lr": 10.0, "clip": None, "warmup": 0, "weight_decay": 0,
        "schedule": "plateau", "plateau_patience": 1, "decay_factor": 0.9,
    },
    "recovery": {"tries": 3, "factor": 0.02},
    "averaging": {"decay": 0.8},
    "validation": {"windows": 1, "every": 2},
    "keep": {"seconds": 0, "every": 5, "checkpoints": 2, "samples_every": 4},
    "batch": 1,
    "steps": 50,
}  # fmt: skip

# Libraries are loaded once; every training is a fork of this process, which itself never computes.
ZYGOTE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from conftest import TINY, ball
import lightning_fabric, torch
from genesis3d.data.cases import case_of
from genesis3d.workflows import pretrain_setup
from genesis3d.workflows.pretrain import PretrainConfig, pretrain
pretrain_setup.YARDSTICKS = ()
cases = [case_of(ball(seed)) for seed in (0, 1)]
config = PretrainConfig.from_yaml(sys.argv[2])
print("ready", flush=True)
for line in sys.stdin:
    run, resume = line.rsplit(maxsplit=1)
    pid = os.fork()
    if pid == 0:
        last = list(pretrain(None if resume == "1" else config, run, resume=resume == "1", cases=cases))[-1]
        os._exit(0 if last.kind == "finished" else 1)
    print(pid, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


class Trainer:
    """Starts trainings as processes of their own."""

    def __init__(self, settings: Path) -> None:
        command = [sys.executable, "-W", "ignore", "-c", ZYGOTE, str(Path(__file__).parent), str(settings)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self, run: RunDir) -> int:
        """Begin or resume; return the number of the process."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{run.path} {int(run.begun())}\n")
        self.process.stdin.flush()
        return int(self.line())

    def end(self) -> int:
        """Wait for the process and return its exit status, -9 when it was killed."""
        return int(self.line())


@pytest.fixture
def trainer(tmp_path: Path, tiny: Make) -> Iterator[Trainer]:
    settings = tmp_path / "settings.yaml"
    settings.write_text(tiny(**CHANGES).to_yaml())
    trainer = Trainer(settings)
    yield trainer
    trainer.process.stdin.close()  # type: ignore[union-attr]  # a pipe
    trainer.process.wait(30)
    trainer.process.stdout.close()  # type: ignore[union-attr]  # a pipe


def told(run: RunDir) -> list[tuple[Any, ...]]:
    """All that a run said, without what depends on the clock."""
    kinds = (Stepped, Validated, Sampled, Saved)
    return [
        (event.kind, event.step, getattr(event, "metrics", None) or getattr(event, "path", None))
        for event in run.events()
        if isinstance(event, kinds)
    ]


def curve(run: RunDir) -> list[dict[str, str]]:
    return [{name: value for name, value in row.items() if name != "steps_per_second"} for row in run.metrics.rows()]


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def wait_for_a_step(run: RunDir, pid: int) -> None:
    """Wait until the process has written to the curve (it rewrites it once, on resuming)."""
    before, deadline = size(run.events_path), time.monotonic() + 20
    while size(run.events_path) <= before and time.monotonic() < deadline:
        time.sleep(0.002)


@pytest.mark.timeout(600)
def test_twenty_kills_change_nothing(tmp_path: Path, trainer: Trainer) -> None:
    whole, run, dice = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run"), random.Random(5)
    trainer.start(whole)
    assert trainer.end() == 0
    killed, saved = 0, -1
    while killed < KILLS:
        pid = trainer.start(run)
        if killed % 4:  # every fourth one hits the start of the process or the reading of the state
            wait_for_a_step(run, pid)
        time.sleep(dice.uniform(0, 0.08))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        ended = trainer.end()
        if ended == 0:  # faster than the kill: another one
            assert_the_same(run, whole)
            run, saved = RunDir(tmp_path / f"run-{killed}"), -1
            continue
        assert ended == -signal.SIGKILL, list(run.events())[-1]
        killed += 1
        before, saved = saved, step_saved(run)
        assert saved >= before, "a step that was saved was lost"
    trainer.start(run)
    assert trainer.end() == 0
    assert_the_same(run, whole)


def assert_the_same(run: RunDir, whole: RunDir) -> None:
    """A finished run holds, bit for bit, what one that was never killed holds, and nothing else."""
    assert run.state() == "finished"
    assert told(run) == told(whole)
    assert curve(run) == curve(whole)
    mine, theirs = read_state(run.resume_path), read_state(whole.resume_path)
    assert mine["progress"]["recoveries"] == theirs["progress"]["recoveries"] > 0
    assert mine["progress"]["plateau_factor"] == theirs["progress"]["plateau_factor"] < 1
    for part in ("weights", "averaged"):
        assert mine[part].keys() == theirs[part].keys()
        assert all(torch.equal(mine[part][name], theirs[part][name]) for name in theirs[part])
    names = sorted(path.name for path in whole.checkpoints.iterdir())
    assert sorted(path.name for path in run.checkpoints.iterdir()) == names
    for name in names:
        if name.endswith(".safetensors"):
            a, b = (read_model(r.checkpoints / name).module.state_dict() for r in (run, whole))
            assert all(torch.equal(a[key], b[key]) for key in b)
    assert not list(run.path.glob("*/.*.part"))


def step_saved(run: RunDir) -> int:
    """The step of the resume file, which is whole whenever it is there; -1 before the first."""
    try:
        return int(read_state(run.resume_path)["progress"]["step"])
    except RunError:
        assert not run.resume_path.exists()
        return -1
