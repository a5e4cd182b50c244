"""A run that begins with the weights of a model."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from genesis3d.data.cases import Case
from genesis3d.events import Failed, Finished, Started, Validated
from genesis3d.intensity import INTENSITIES
from genesis3d.networks.model_file import ModelCard, read_card, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.training.checkpoint import read_state
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain import PretrainConfig, pretrain

Make = Callable[..., PretrainConfig]
pytestmark = pytest.mark.usefixtures("little_measuring")
NETWORK = UNet3d(width=4)


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "somewhere" / "parent.safetensors"
    write_model(path, NETWORK.build(seed=99), ModelCard(network=NETWORK, title="a parent"))
    return path


def test_it_begins_where_the_parent_ended_and_says_so_on_its_card(
    tmp_path: Path, tiny: Make, balls: list[Case], parent: Path
) -> None:
    run = RunDir(tmp_path / "run")
    digest = sha256(parent.read_bytes()).hexdigest()
    events = list(pretrain(tiny(steps=1, start=str(parent), optimiser={"lr": 1e-12}), run.path, cases=balls))
    assert isinstance(events[-1], Finished), events[-1]
    weights, theirs = read_state(run.resume_path)["weights"], NETWORK.build(seed=99).state_dict()
    torch.testing.assert_close(weights["network.out_tr.final_conv.weight"], theirs["out_tr.final_conv.weight"])
    card = read_card(run.path)
    assert card.parents == (f"a parent (SHA-256 {digest})",)
    assert "somewhere" not in card.model_dump_json()
    assert "somewhere" not in run.events_path.read_text()

    parent.unlink()  # a resumed run needs it no more, and still knows it
    resumed = list(pretrain(tiny(steps=2, start=str(parent)), run.path, resume=True, cases=balls))
    assert isinstance(resumed[-1], Finished)
    assert read_card(run.checkpoints / "last.safetensors").parents == card.parents


def test_a_run_and_a_name_of_the_library_are_models_too(
    tmp_path: Path, tiny: Make, balls: list[Case], parent: Path
) -> None:
    from genesis3d.networks.library import Library

    Library().add(parent, "my-model")
    first = list(pretrain(tiny(steps=1, start="my-model"), tmp_path / "first", cases=balls))
    second = list(pretrain(tiny(steps=1, start=str(tmp_path / "first")), tmp_path / "second", cases=balls))
    for events in (first, second):
        assert isinstance(events[-1], Finished), events[-1]
    held_out = [next(e for e in events if isinstance(e, Validated)).metrics["loss"] for events in (first, second)]
    assert held_out[0] != held_out[1]
    assert read_card(tmp_path / "second").parents[0].startswith("unet3d, pre-trained on 2 scan(s) (SHA-256 ")


def test_a_model_of_another_network_is_refused_before_scans_are_read(tmp_path: Path, tiny: Make, parent: Path) -> None:
    config = tiny(start=str(parent), network={"name": "unet3d", "width": 6}, cases=("nowhere.nii",))
    last = list(pretrain(config, tmp_path / "run"))[-1]
    assert isinstance(last, Failed)
    assert last.expected
    assert last.message == ("start: expected a model of the run's own network, got one of network.width=4 (the run: 6)")


def test_no_model_is_one_sentence_without_folders(tmp_path: Path, tiny: Make) -> None:
    events = list(pretrain(tiny(start=str(tmp_path / "nowhere.safetensors")), tmp_path / "run"))
    assert isinstance(events[0], Failed)
    assert events[0].expected
    assert not isinstance(events[-1], Started)
    assert str(tmp_path) not in events[0].message
    assert "nowhere.safetensors" in events[0].message


def test_another_intensity_than_the_parents_is_said(tmp_path: Path, tiny: Make, balls: list[Case]) -> None:
    path = tmp_path / "parent.safetensors"
    write_model(path, NETWORK.build(), ModelCard(network=NETWORK, intensity=INTENSITIES.parse("minmax")))
    events = list(pretrain(tiny(steps=1, start=str(path)), tmp_path / "run", cases=balls))
    said = [event.message for event in events if event.kind == "warned"]
    assert len(said) == 1
    assert said[0].startswith("the run maps intensities by {'name': 'ct'")
