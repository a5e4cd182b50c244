"""A training against opacity, whole: its pairs, its run, what it refuses, and the model that it makes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.data.cases import Case, case_of
from genesis3d.data.phantoms import thorax
from genesis3d.events import Event, Failed, Finished, Started, Stepped, Validated, Warned
from genesis3d.inference.predictor import Predictor
from genesis3d.io.itk_filters.lungs import lung_mask
from genesis3d.io.read import read_volume
from genesis3d.io.write import write_volume
from genesis3d.networks.model_file import ModelCard, read_card, read_model, write_model
from genesis3d.training import statistics
from genesis3d.training.checkpoint import Checkpoints, read_state
from genesis3d.training.opacity_pairs import OpacityMaker
from genesis3d.training.opacity_settings import OpacityPairs
from genesis3d.training.rundir import RunDir
from genesis3d.volume import Volume
from genesis3d.workflows.pretrain import PRETRAIN_PRESETS, PretrainConfig, pretrain
from genesis3d.workflows.pretrain_setup import read_cases, training_pairs
from genesis3d.workflows.restore import RestoreConfig, restore

TINY: dict[str, Any] = {
    "network": {"name": "unet3d", "width": 4, "decoder": "nearest", "flat": 1, "out_channels": 2},
    "sampling": {"patch": (8, 16, 16)},
    "opacity": {"sampling": {"least_lung": 200, "most_dense": 0.5}},
    "minutes": None,
    "steps": 6,
    "batch": 2,
    "device": "cpu",
    "precision": "32",
    "threads": 1,
    "validation": {"windows": 2, "every": 3},
    "keep": {"samples_every": 3, "every": 2, "checkpoints": 2, "seconds": 0},
}


def config_of(**changes: Any) -> PretrainConfig:
    return PretrainConfig.parse(PRETRAIN_PRESETS["opacity"].to_dict() | TINY | changes)


def lungless(volume: Volume) -> Volume:
    """The patient's belly: all soft tissue."""
    return volume.with_data(np.maximum(volume.data, 0), name="belly")


@pytest.fixture(scope="module")
def scans() -> list[Case]:
    return [case_of(replace(thorax((48, 72, 72), seed=seed), name=f"chest-{seed}")) for seed in (0, 1)]


@pytest.fixture(scope="module")
def masks(tmp_path_factory: pytest.TempPathFactory, scans: list[Case]) -> Path:
    """The lungs of both scans as files, found once."""
    folder = tmp_path_factory.mktemp("masks")
    for case in scans:
        write_volume(lung_mask(case.load()).mask, folder / f"{case.name}.nii.gz", labels=True)
    return folder


@pytest.fixture(scope="module")
def given(masks: Path) -> dict[str, Any]:
    return TINY["opacity"] | {"lungs": str(masks)}


@pytest.fixture(scope="module", autouse=True)
def _save_after_every_step() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "due", lambda self: True)
        patch.setattr(statistics, "WINDOWS", 2)
        yield


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory, scans: list[Case], given: dict[str, Any]
) -> tuple[RunDir, list[Event]]:
    """A run of six steps that was never stopped."""
    run = RunDir(tmp_path_factory.mktemp("opacity") / "run")
    return run, list(pretrain(config_of(opacity=given), run.path, cases=scans))


@pytest.fixture(scope="module")
def maker(scans: list[Case], given: dict[str, Any]) -> OpacityMaker:
    config = config_of(batch=8, opacity=given)
    loaded = read_cases(config, scans, lambda: "run")
    assert loaded is not None
    made, _ = training_pairs(config, loaded)
    assert isinstance(made, OpacityMaker)
    return made


def test_a_run_measures_what_it_is_for_and_makes_a_model_of_two_heads(whole: tuple[RunDir, list[Event]]) -> None:
    run, events = whole
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Finished), events[-1]
    assert [event.step for event in events if isinstance(event, Stepped)] == [1, 2, 3, 4, 5, 6]
    measured = [event.metrics for event in events if isinstance(event, Validated)]
    assert len(measured) == 3
    for figures in measured:
        assert {"loss", "mae", "dice", "average_precision", "mse_network", "ratio"} <= figures.keys()
        assert all(np.isfinite(list(figures.values())))
    card = read_card(run.path)
    assert (card.purpose, card.activation, card.working_spacing) == ("opacity", "opacity", (6.0, 2.0, 2.0))
    assert card.modality == "CT"
    assert card.intensity.to_dict() == {"name": "window", "low": -1000.0, "high": 200.0}
    assert "chest" not in str(card.to_dict())
    samples = np.load(run.samples / "step-000006.npz")
    assert samples["restored"].shape == samples["target"].shape == samples["opacity"].shape == (2, 1, 8, 16, 16)
    model = read_model(run.checkpoints / "last.safetensors")
    output = Predictor(model, "cpu", "32")(samples["input"].astype(np.float32))
    assert np.allclose(output[:, :1], samples["restored"], atol=5e-3)
    assert np.allclose(output[:, 1:], samples["probability"], atol=5e-3)


def test_a_stopped_run_lands_and_resumes_to_the_same_weights(
    whole: tuple[RunDir, list[Event]], tmp_path: Path, scans: list[Case], given: dict[str, Any]
) -> None:
    path, asked = tmp_path / "run", [0]

    def control() -> Any:
        asked[0] += 1
        return "run" if asked[0] <= 8 else "stop"  # two scans read, lungs in two looked for, four steps

    stopped = list(pretrain(config_of(opacity=given), path, cases=scans, control=control))[-1]
    assert isinstance(stopped, Finished)
    assert stopped.cancelled
    assert 0 < stopped.result["step"] < 6
    done = list(pretrain(None, path, resume=True, cases=scans))[-1]
    assert isinstance(done, Finished)
    assert not done.cancelled
    ours, theirs = (dict(read_state(run.resume_path)["weights"]) for run in (RunDir(path), whole[0]))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_scan_without_lungs_is_left_out_and_none_with_lungs_is_refused(tmp_path: Path, scans: list[Case]) -> None:
    belly = case_of(lungless(scans[0].load()))
    events = list(pretrain(config_of(steps=1), tmp_path / "one", cases=[scans[0], belly]))
    assert isinstance(events[-1], Finished), events[-1]
    said = [event.message for event in events if isinstance(event, Warned)]
    assert any("belly is left out" in sentence and "found no lungs" in sentence for sentence in said)
    refused = list(pretrain(config_of(steps=1), tmp_path / "none", cases=[belly]))[-1]
    assert isinstance(refused, Failed)
    assert "expected at least one scan with lungs in view" in refused.message


def test_masks_that_are_given_are_taken(tmp_path: Path, scans: list[Case]) -> None:
    volume = scans[0].load()
    half = np.zeros(volume.geometry.shape, np.uint8)
    half[:, :, 40:] = volume.data[0, :, :, 40:] < -600
    half[:4] = half[-4:] = half[:, :12] = half[:, -12:] = half[:, :, -8:] = 0
    write_volume(volume.with_data(half, unit=None, modality=None), tmp_path / "chest-0.nii.gz", labels=True)
    config = config_of(opacity=TINY["opacity"] | {"lungs": str(tmp_path)}, batch=4)
    loaded = read_cases(config, scans, lambda: "run")
    assert loaded is not None
    assert [case.name for case in loaded.cases] == ["chest-0"]
    assert any("chest-1 is left out" in sentence for sentence in loaded.warnings)
    assert str(tmp_path) not in str(config.public())
    made, _ = training_pairs(config, loaded)
    middles = [(place.start[2] + 3.2) * volume.geometry.spacing[2] for place in made.pairs(0).locations]
    assert min(middles) > 40 * volume.geometry.spacing[2] - 20


def test_every_sub_volume_shows_lung_and_follows_its_address(maker: OpacityMaker) -> None:
    pairs = maker.pairs(3)
    assert pairs.input.shape == (8, 1, 8, 16, 16)
    assert pairs.target.shape == (8, 3, 8, 16, 16)
    assert 0 <= float(pairs.input.min()) <= float(pairs.input.max()) <= 1
    clean, lungs, opacity = pairs.target[:, 0], pairs.target[:, 1], pairs.target[:, 2]
    assert set(lungs.unique().tolist()) <= {0.0, 1.0}
    assert lungs.sum(dim=(1, 2, 3)).min() > 100
    assert float(clean[lungs > 0].mean()) < 0.3  # aerated
    one = maker.pair(3, 5)
    assert torch.equal(one.input[0], pairs.input[5])
    assert torch.equal(one.target[0], pairs.target[5])
    assert not torch.equal(maker.of_stream("validation").pairs(3).target, pairs.target)
    assert not ((opacity > 0) & (lungs == 0)).any()


def test_shares_decide_what_is_put_in_and_only_lung_is_changed(maker: OpacityMaker) -> None:
    def made(**shares: float) -> tuple[torch.Tensor, torch.Tensor, set[str]]:
        settings = OpacityPairs.parse(maker.settings.to_dict() | {"also_uneven": 0.0} | shares)
        pairs = OpacityMaker(maker.sampler, settings, 0, 6).pairs(0)
        change = (pairs.input - pairs.target[:, :1]).abs()
        assert float((change * (1 - pairs.target[:, 1:2])).max()) == 0
        return change, pairs.target[:, 2:] > 0.5, set(pairs.outcomes)

    change, there, said = made(untouched=1.0, uneven=0.0, foreign=0.0)
    assert (float(change.max()), bool(there.any()), said) == (0.0, False, {"untouched"})
    change, there, said = made(untouched=0.0, uneven=1.0, foreign=0.0)
    assert float(change.max()) > 0.05
    assert not there.any()
    assert said == {"coarse noise"}
    change, there, said = made(untouched=0.0, uneven=0.0, foreign=0.0)
    assert there.any(dim=(1, 2, 3, 4)).sum() >= 4
    assert float(change[there].mean()) > 0.1
    change, there, said = made(untouched=0.0, uneven=0.0, foreign=1.0)
    assert said == {"foreign patch"}
    assert float(change.max()) > 0.05


def test_the_network_learns_one_batch(maker: OpacityMaker) -> None:
    config = config_of()
    task = config.task.build(config.network, 0)
    ill = OpacityPairs.parse(maker.settings.to_dict() | {"untouched": 0.0, "uneven": 0.0, "foreign": 0.0})
    pairs = OpacityMaker(maker.sampler, ill, 0, 4).pairs(0)
    optimiser = torch.optim.AdamW(task.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        result = task(pairs.input, pairs.target)
        result["loss"].backward()
        optimiser.step()
        losses.append(float(result["loss"].detach()))
    assert losses[-1] < 0.5 * losses[0]
    assert float(result["dice"]) > 0.6


def test_a_model_restores_a_scan_on_the_scans_own_grid(tmp_path: Path, scans: list[Case]) -> None:
    """One that takes a tenth of its range away everywhere: 120 HU of what is not darker."""
    volume = scans[0].load().crop((16, 24, 8), (12, 16, 20))
    source = write_volume(volume, tmp_path / "scan.nii.gz")
    preset = PRETRAIN_PRESETS["opacity"]
    network = preset.network.replaced(width=2, norm="none")
    module = network.build()
    with torch.no_grad():
        for weight in module.get_submodule("out_tr").parameters():
            weight.zero_()
        module.get_submodule("out_tr.final_conv").bias[0] = -0.1  # type: ignore[index]
    card = ModelCard(
        network=network, task=preset.task.to_dict(), activation="opacity", intensity=preset.intensity, modality="CT",
        patch=(16, 32, 32), working_spacing=(6.0, 2.0, 2.0),
    )  # fmt: skip
    write_model(tmp_path / "model.safetensors", module, card)
    config = {"scan": str(source), "model": str(tmp_path / "model.safetensors"), "precision": "32", "overlap": 0.0}
    events = list(restore(RestoreConfig.parse(config | {"out": str(tmp_path / "out.nii.gz")})))
    assert isinstance(events[0], Started)
    assert events[0].what == "restore"
    assert isinstance(events[-1], Finished)
    restored = read_volume(tmp_path / "out.nii.gz").canonical()
    assert restored.geometry.matches(volume.geometry)
    given = np.clip(volume.data, -1000, 200)
    tissue = given > -600
    assert np.percentile((given - restored.data)[tissue], [10, 50]) == pytest.approx([120, 120], abs=1)
    assert np.abs(given - restored.data).max() < 121


def test_other_organs_are_a_matter_of_settings(scans: list[Case]) -> None:
    volume = scans[0].load()
    brain = case_of(volume.with_data(np.maximum(volume.data, -100) + 100, unit=None, modality="MR", name="head"))
    config = config_of(opacity=TINY["opacity"] | {"lungs": "body"}, intensity="percentile")
    loaded = read_cases(config, [brain], lambda: "run")
    assert loaded is not None
    pairs = training_pairs(config, loaded)[0].pairs(0)
    assert float(pairs.target[:, 1].mean()) > 0.3
    assert 0 <= float(pairs.input.min()) <= float(pairs.input.max()) <= 1


def test_a_network_of_one_head_is_refused(tmp_path: Path, scans: list[Case]) -> None:
    events = list(pretrain(config_of(network={"name": "unet3d", "width": 4}), tmp_path / "run", cases=scans))
    assert isinstance(events[-1], Failed)
    assert "one output channel more" in events[-1].message
