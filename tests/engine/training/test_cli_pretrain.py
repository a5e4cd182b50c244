from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.data.cases import Case
from genesis3d.errors import ConfigError, ModelError, RunError
from genesis3d.events import Finished, Stepped, read_event
from genesis3d.io import write_volume
from genesis3d.networks.library import Library
from genesis3d.training.checkpoint import read_state
from genesis3d.training.rundir import RunDir
from genesis3d.transforms import chain_preset
from genesis3d.workflows.pretrain import PretrainConfig

Make = Callable[..., PretrainConfig]


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory, balls: list[Case]) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    for case in balls[:2]:
        write_volume(case.load(), folder / f"{case.name}.nii.gz")
    return folder


@pytest.fixture
def settings(tmp_path: Path, tiny: Make) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(tiny().to_yaml())
    return path


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["pretrain", *map(str, arguments)], catch_exceptions=True)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.exit_code, result.output


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "genesis3d", "pretrain", *map(str, arguments)]


def test_a_folder_of_scans_is_trained_on_and_told_in_lines(tmp_path: Path, scans: Path, settings: Path) -> None:
    run = tmp_path / "run"
    before = signal.getsignal(signal.SIGTERM)
    code, said = call(scans, "--run-dir", run, "--config", settings, "--steps", 2, "--set", "batch=1", "--seed", 5)
    assert code == 0, said
    assert "pretrain on cpu" in said
    assert "step 2, held out: error" in said
    assert "finished: checkpoints/best.safetensors" in said
    assert signal.getsignal(signal.SIGTERM) is before
    config = RunDir(run).config()
    assert (config["steps"], config["batch"], config["seed"]) == (2, 1, 5)
    assert config["cases"] == [str(scans)]


def test_the_best_model_enters_the_library_under_its_name(tmp_path: Path, scans: Path, settings: Path) -> None:
    arguments = (scans, "--config", settings, "--steps", 1, "--set", "batch=1", "--name")
    code, said = call(*arguments, "balls", "--run-dir", tmp_path / "run")
    assert code == 0, said
    assert "in the library: " in said
    best = tmp_path / "run/checkpoints/best.safetensors"
    assert Library().find("balls").read_bytes() == best.read_bytes()
    for name, sentence in (("balls", "is in the library already"), ("a/b", "name: expected up to 80 letters")):
        with pytest.raises(ModelError, match=sentence):
            call(*arguments, name, "--run-dir", tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_events_as_json_lines_and_a_chain_from_a_file(tmp_path: Path, scans: Path, settings: Path) -> None:
    run, chain = tmp_path / "run", tmp_path / "chain.yaml"
    chain.write_text(chain_preset("inpainting").to_yaml())
    code, said = call(
        scans, "--run-dir", run, "--config", settings, "--set", "steps=1", "--chain", chain, "--json", "--threads", 1
    )
    assert code == 0, said
    events = [read_event(line) for line in said.splitlines()]
    assert events == list(RunDir(run).events())
    assert isinstance(events[-1], Finished)
    assert PretrainConfig.parse(RunDir(run).config()).chain == chain_preset("inpainting")
    for folder in (str(scans), str(tmp_path)):
        assert folder not in RunDir(run).events_path.read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--steps", 3, "--minutes", 2], "--steps and --minutes: expected one of them"),
        (
            ["--preset", "best"],
            "preset: expected one of default, quick, opacity, official-pytorch, official-keras, paper, got 'best'",
        ),
        (["--preset", "quick", "--config", "x.yaml"], "--config and --preset: expected one of them"),
        (["--chain", "nowhere.yaml"], "--chain: expected a YAML file or one of"),
        (["--set", "batch"], "expected KEY=VALUE"),
        (["--set", "optimiser.lr=-1"], "optimiser.lr"),
        (["--device", "abacus"], "device"),
        (["--resume"], "expected a run directory with a readable config.json"),
        (["--config", "nowhere.yaml"], "nowhere.yaml: expected a YAML file"),
    ],
)
def test_wrong_options_are_one_sentence_and_leave_nothing(
    tmp_path: Path, arguments: list[object], message: str
) -> None:
    with pytest.raises((ConfigError, RunError), match=re.escape(message)) as caught:
        call("scan.nii", "--run-dir", tmp_path / "run", *arguments)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_run_that_exists_is_not_overwritten(tmp_path: Path, scans: Path, settings: Path) -> None:
    run = tmp_path / "run"
    assert call(scans, "--run-dir", run, "--config", settings, "--steps", 1)[0] == 0
    code, said = call(scans, "--run-dir", run, "--config", settings)
    assert code == 2
    assert "it holds a run: resume it or name another" in said
    code, said = call("--run-dir", run, "--resume", "--steps", 2)
    assert code == 0
    assert [event.step for event in RunDir(run).events() if isinstance(event, Stepped)] == [1, 2]


def test_a_broken_scan_is_exit_status_2_and_one_line(tmp_path: Path, settings: Path) -> None:
    scan = tmp_path / "broken.nii.gz"
    scan.write_bytes(b"nonsense")
    code, said = call(scan, "--run-dir", tmp_path / "run", "--config", settings)
    assert code == 2
    assert said.splitlines()[-1].startswith("genesis3d: ")
    assert "broken" in said.splitlines()[-1]


def test_warnings_name_files_without_their_folders(tmp_path: Path, scans: Path, settings: Path) -> None:
    folder = tmp_path / "Some^Body" / "scans"
    folder.mkdir(parents=True)
    (folder / "broken.nii.gz").write_bytes(b"nonsense")
    run = tmp_path / "run"
    assert call(scans, folder, "--run-dir", run, "--config", settings, "--steps", 1)[0] == 0
    said = [event.message for event in RunDir(run).events() if event.kind == "warned"]
    assert any("broken" in message for message in said)
    assert "Some^Body" not in RunDir(run).events_path.read_text()


def wait_for_step(run: RunDir, process: subprocess.Popen[bytes], step: int, patience: float = 60) -> None:
    deadline = time.monotonic() + patience
    while (run.status().get("step") or 0) < step:
        assert process.poll() is None, "the training ended before it was interrupted"
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_terminated_and_a_killed_training_resume_to_what_would_have_been(
    tmp_path: Path, scans: Path, settings: Path
) -> None:
    """SIGTERM saves; SIGKILL loses the steps since the last save, which are repeated exactly."""
    options = [scans, "--config", settings, "--steps", 240, "--set", "validation.every=120", "--json"]
    options += ["--set", "keep.seconds=0.05", "--set", "keep.every=1000", "--set", "keep.samples_every=1000"]
    whole, run = RunDir(tmp_path / "whole"), RunDir(tmp_path / "run")
    assert call(*options, "--run-dir", whole.path)[0] == 0

    with subprocess.Popen(command(*options, "--run-dir", run.path), stdout=subprocess.PIPE) as child:
        wait_for_step(run, child, 5)
        child.send_signal(signal.SIGTERM)
        last = read_event(child.communicate()[0].decode().splitlines()[-1])
    assert child.returncode == 0
    assert isinstance(last, Finished)
    assert last.cancelled
    assert run.state() == "stopped"
    stopped_at = last.result["step"]
    assert run.status()["saved_step"] == stopped_at

    again = command("--run-dir", run.path, "--resume", "--json")
    with subprocess.Popen(again, stdout=subprocess.DEVNULL) as child:
        wait_for_step(run, child, stopped_at + 5)
        child.kill()
    assert run.state() == "killed"
    saved = read_state(run.resume_path)["progress"]["step"]
    assert stopped_at < saved <= 240

    assert call("--run-dir", run.path, "--resume")[0] == 0
    assert run.state() == "finished"
    mine, theirs = (read_state(r.resume_path)["weights"] for r in (run, whole))
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)
    assert run.metrics.curve("loss") == whole.metrics.curve("loss")
    assert run.metrics.curve("validation_loss") == whole.metrics.curve("validation_loss")
    assert [event.step for event in run.events() if isinstance(event, Stepped)] == list(range(1, 241))
    assert json.loads(run.report_path.read_text())["step"] == 240


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_two_processes_from_one_command_stop_on_sigterm_and_one_goes_on(
    tmp_path: Path, scans: Path, settings: Path
) -> None:
    run = RunDir(tmp_path / "run")
    options = [scans, "--config", settings, "--run-dir", run.path, "--steps", 1000, "--json", "--processes", 2]
    options += ["--set", "keep.seconds=0.05", "--set", "keep.every=100000", "--set", "validation.every=100000"]
    with subprocess.Popen(command(*options), stdout=subprocess.PIPE) as child:
        wait_for_step(run, child, 3, patience=240)
        child.send_signal(signal.SIGTERM)
        said = [read_event(line) for line in child.communicate()[0].decode().splitlines()]
    assert child.returncode == 0
    assert said == list(run.events())  # one process spoke
    assert isinstance(said[-1], Finished)
    assert said[-1].cancelled
    stopped_at = said[-1].result["step"]
    code, lines = call("--run-dir", run.path, "--resume", "--steps", stopped_at + 1)
    assert code == 0, lines
    assert [event.step for event in run.events() if isinstance(event, Stepped)] == list(range(1, stopped_at + 2))
