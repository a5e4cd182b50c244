"""Two real processes, over gloo: they are one training."""

from __future__ import annotations

import json
import multiprocessing
import runpy
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from genesis3d.data.cases import Case
from genesis3d.events import Failed, Finished, Saved, Started, Stepped, Warned
from genesis3d.io import write_volume
from genesis3d.networks.model_file import read_model
from genesis3d.training.checkpoint import read_state
from genesis3d.training.processes import ALONE
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]
LOADED = ("workflows.pretrain_setup", "training.joining", "io", "transforms.kernels")
WORKER = str(Path(__file__).with_name("one_of_several.py"))

pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available() or "forkserver" not in multiprocessing.get_all_start_methods(),
    reason="needs processes that start from a loaded one",
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, tiny: Make, balls: list[Case]) -> Make:
    """Make a configuration on scans in files, of a small network without batch normalisation."""
    folder = tmp_path_factory.mktemp("scans")
    for case in balls:
        write_volume(case.load(), folder / f"{case.name}.nii.gz")

    def make(**changes: Any) -> PretrainConfig:
        plain = {
            "cases": [str(folder)],
            "network": {"name": "unet3d", "width": 4, "norm": "group"},
            "optimiser": {"name": "sgd", "lr": 0.02, "momentum": 0.9, "warmup": 2},
            "validation": {"windows": 1, "every": 100},
            "keep": {"samples_every": 100, "every": 100, "checkpoints": 2, "seconds": 3600},
        }
        return tiny(**(plain | changes))

    return make


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environments(slurm: bool) -> list[dict[str, str]]:
    """What torchrun, or srun, tells two processes of one machine."""
    port = str(free_port())
    if slurm:
        common = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODEID": "0",
                  "SLURM_NNODES": "1", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NODELIST": "127.0.0.1",
                  "MASTER_PORT": port, "SLURM_JOB_NAME": "chest"}  # fmt: skip
        return [common | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
    common = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "GROUP_RANK": "0"} for rank in range(2)]


def together(
    run: Path, config: PretrainConfig | None, *, resume: bool = False, fault: str | None = None, slurm: bool = False
) -> list[int]:
    """Train in two processes and return their exit statuses; no test waits for one that hangs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([f"genesis3d.{name}" for name in LOADED])
    children = []
    for rank, environment in enumerate(environments(slurm)):
        values = None if config is None else config.to_dict()
        job = {"run": str(run), "config": values, "resume": resume, "fault": fault, "environment": environment}
        children.append(context.Process(target=runpy.run_path, args=(WORKER, {"JOB": job | {"rank": rank}})))
    for child in children:
        child.start()
    deadline = time.monotonic() + 90
    for child in children:
        child.join(max(1.0, deadline - time.monotonic()))
    hanging = [child for child in children if child.is_alive()]
    for child in hanging:
        child.kill()
    assert not hanging
    return [child.exitcode or 0 for child in children]


def alone(run: Path, config: PretrainConfig | None, *, resume: bool = False) -> None:
    events = list(pretrain(config, run, resume=resume))
    assert isinstance(events[-1], Finished), events[-1]


def differences(a: Path, b: Path) -> tuple[float, float]:
    """Return the largest relative difference of a loss of the curve, and that of the weights as one vector."""
    losses = [RunDir(run).metrics.curve("loss")[1] for run in (a, b)]
    assert len(losses[0]) == len(losses[1])
    loss = max(abs(x - y) / x for x, y in zip(*losses, strict=True))
    one, two = (read_state(RunDir(run).resume_path)["weights"] for run in (a, b))
    assert list(one) == list(two)
    apart = sum(float((one[name].double() - two[name].double()).square().sum()) for name in one)
    return loss, (apart / sum(float(value.double().square().sum()) for value in one.values())) ** 0.5


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory, config: Make) -> Path:
    """A run of twenty steps in one process."""
    run = tmp_path_factory.mktemp("one") / "run"
    alone(run, config(steps=20, batch=3))
    return run


def test_two_processes_equal_one_with_the_same_global_batch(tmp_path: Path, config: Make, one: Path) -> None:
    """Slots 0 and 2 in the first process, slot 1 in the second: weighted as they are."""
    run = tmp_path / "run"
    assert together(run, config(steps=20, batch=3)) == [0, 0]
    loss, weights = differences(run, one)
    assert loss < 1e-5
    assert weights < 1e-5
    events, others = (list(RunDir(path).events()) for path in (run, one))
    assert [event.kind for event in events] == [event.kind for event in others]
    assert [event.step for event in events if isinstance(event, Stepped)] == list(range(1, 21))
    assert isinstance(events[0], Started)
    assert events[0].detail["processes"] == 2
    # the curve was learnt, not two constants compared
    curve = RunDir(run).metrics.curve("loss")[1]
    assert curve[-1] < 0.7 * curve[0]
    files = [sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()) for path in (run, one)]
    assert files[0] == files[1]


def test_a_run_goes_on_in_one_two_sharded_and_again_one_process(tmp_path: Path, config: Make, one: Path) -> None:
    """Adam's state travels too: the resume file is the same, whoever wrote it."""
    adam = {"optimiser": {"name": "adamw", "lr": 1e-3, "warmup": 0, "schedule": "constant"}, "batch": 2}
    whole, run = tmp_path / "whole", tmp_path / "run"
    alone(whole, config(steps=5, **adam))
    alone(run, config(steps=1, **adam))
    assert together(run, config(steps=2, **adam), resume=True) == [0, 0]
    assert together(run, config(steps=4, strategy="fsdp", **adam), resume=True) == [0, 0]
    alone(run, config(steps=5, **adam), resume=True)
    loss, weights = differences(run, whole)
    assert loss < 1e-4
    assert weights < 1e-4
    assert [event.step for event in RunDir(run).events() if isinstance(event, Stepped)] == [1, 2, 3, 4, 5]
    read_model(run / "checkpoints" / "last.safetensors")


def test_batch_normalisation_on_processors_says_what_it_does(tmp_path: Path, config: Make) -> None:
    run = tmp_path / "run"
    made = config(steps=2, batch=4, network={"name": "unet3d", "width": 4, "norm": "batch"})
    assert together(run, made, slurm=True) == [0, 0]
    said = [event.message for event in RunDir(run).events() if isinstance(event, Warned)]
    assert any("each of the 2 processes normalises by its own sub-volumes" in message for message in said)
    module = read_model(run / "checkpoints" / "last.safetensors").module
    state = read_state(RunDir(run).resume_path)["weights"]
    assert all(torch.equal(value, state[f"network.{name}"]) for name, value in module.state_dict().items())
    assert any(event.what == "best" for event in RunDir(run).events() if isinstance(event, Saved))


def test_an_order_stops_both_and_memory_is_halved_by_both(tmp_path: Path, config: Make) -> None:
    run = tmp_path / "run"
    assert together(run, config(steps=40, batch=2), fault="stop") == [0, 0]
    last = list(RunDir(run).events())[-1]
    assert isinstance(last, Finished)
    assert last.cancelled
    assert RunDir(run).state() == "stopped"
    short = tmp_path / "short"
    assert together(short, config(steps=3, batch=4), fault="memory") == [0, 0]
    said = [event.message for event in RunDir(short).events() if isinstance(event, Warned)]
    assert any("training goes on with 1 sub-volume(s) at a time" in message for message in said)
    assert read_state(RunDir(short).resume_path)["progress"]["portions"] == {"training": 1}


@pytest.mark.parametrize(
    ("fault", "sentence"),
    [
        ("exception", "process 1 of 2 failed: ValueError: a defect"),
        ("death", "expected 2 processes until the end, but one of them was lost"),
        ("hang", "process 1 of 2 failed: ValueError: a defect"),
    ],
)
def test_one_that_fails_ends_all_with_a_sentence(tmp_path: Path, config: Make, fault: str, sentence: str) -> None:
    run = RunDir(tmp_path / "run")
    start = time.monotonic()
    statuses = together(run.path, config(steps=40, batch=2), fault=fault)
    assert time.monotonic() - start < 60
    assert all(statuses)
    last = list(run.events())[-1]
    assert isinstance(last, Failed)
    assert last.message == sentence
    assert run.state() == "failed"


def test_refusals_are_the_same_in_all(tmp_path: Path, config: Make) -> None:
    run = tmp_path / "run"
    assert together(run, config(batch=1)) == [2, 2]
    last = list(RunDir(run).events())[-1]
    assert isinstance(last, Failed)
    assert last.message == "batch: expected at least one sub-volume for each of 2 processes, got 1"
    before = json.loads((run / "status.json").read_text())
    assert together(run, config(batch=2)) == [2, 2]  # a run is there already
    assert json.loads((run / "status.json").read_text()) == before


def test_one_process_alone_decides_at_no_cost() -> None:
    assert ALONE.main
    assert ALONE.first(lambda: {"a": 1}) == {"a": 1}
    assert ALONE.any(True)
    assert ALONE.mean({"a": 2.0}, 0.5) == {"a": 2.0}
    assert ALONE.order(lambda: "pause") == "pause"
    assert ALONE.loss_factor(1.0) == 1.0
    error = ValueError("x")
    assert ALONE.explain(error) is error
