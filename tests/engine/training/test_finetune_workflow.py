from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.data.targets import LabelledCases, TargetData, labelled_case
from genesis3d.errors import ScanError
from genesis3d.events import Control, Event, Failed, Finished, Order, Sampled, Started, Stepped, Validated, Warned
from genesis3d.labels import IGNORE
from genesis3d.networks.model_file import ModelCard, read_card, read_model, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.training import hardness, statistics
from genesis3d.training.checkpoint import Checkpoints, read_state
from genesis3d.training.rundir import RunDir
from genesis3d.training.versions import read_versions
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.finetune import FINETUNE_PRESETS, FinetuneConfig, finetune, finetune_preset

SHAPE = (16, 24, 24)
TINY: dict[str, Any] = {
    "network": {"name": "unet3d", "width": 4, "decoder": "nearest", "norm": "batch"},
    "sampling": {"patch": (8, 16, 16)},
    "augmentation": "default",
    "optimiser": {"lr": 5e-3, "warmup": 2},
    "averaging": {"decay": 0.8},
    "steps": 6,
    "batch": 2,
    "device": "cpu",
    "precision": "32",
    "threads": 1,
    "seed": 7,
    "validation": {"windows": 4, "every": 3},
    "keep": {"samples_every": 3, "every": 100, "seconds": 0},
}


def config(**changes: Any) -> FinetuneConfig:
    return FinetuneConfig.parse(TINY | changes)


def blob(seed: int) -> tuple[Volume, np.ndarray]:
    """A bright and a dark ball in noise, and their classes 3 and 7."""
    rng = np.random.default_rng(seed)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    shift = rng.uniform(-0.1, 0.1, 3)
    bright = (z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - 0.4) ** 2 < 0.2
    dark = ((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x + 0.5) ** 2 < 0.15) & ~bright
    image = 300.0 * bright - 300.0 * dark + rng.normal(0, 30, SHAPE)
    geometry = Geometry(SHAPE, (2.0, 1.0, 1.0))
    volume = Volume(image[None].astype(np.float32), geometry, modality="MR", name=f"blob-{seed}")
    return volume, (3 * bright + 7 * dark).astype(np.uint8)


def cases(*seeds: int, change: Callable[[np.ndarray], None] | None = None, **data: Any) -> LabelledCases:
    made = []
    for seed in seeds:
        volume, labels = blob(seed)
        if change is not None:
            change(labels)
        made.append(labelled_case(volume, volume.with_data(labels), TargetData.parse(data)))
    names = ("cases", "volumes", "scales", "labels", "patients")
    return replace(made[0], **{name: [item for one in made for item in getattr(one, name)] for name in names})


def after(steps: int, order: Order = "stop") -> Control:
    asked = [0]

    def control() -> Order:
        asked[0] += 1
        return "run" if asked[0] <= steps else order

    return control


def failed(events: Iterator[Event]) -> Failed:
    last = list(events)[-1]
    assert isinstance(last, Failed)
    return last


def curve(run: RunDir) -> list[tuple[str, int, dict[str, float]]]:
    return [(e.kind, e.step, e.metrics) for e in run.events() if isinstance(e, Stepped | Validated)]


@pytest.fixture(autouse=True, scope="module")
def _save_after_every_step() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoints, "due", lambda self: True)
        patch.setattr(statistics, "WINDOWS", 2)
        patch.setattr("genesis3d.data.hard.AHEAD", 3)
        yield


@pytest.fixture(scope="module")
def three() -> LabelledCases:
    return cases(0, 1, 2)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, three: LabelledCases) -> tuple[RunDir, list[Event]]:
    run = RunDir(tmp_path_factory.mktemp("whole") / "run")
    return run, list(finetune(config(steps=9), run.path, data=three))


def test_a_run_tells_its_story_and_keeps_it(whole: tuple[RunDir, list[Event]]) -> None:
    run, events = whole
    assert isinstance(events[0], Started)
    assert events[0].what == "finetune"
    assert [e.step for e in events if isinstance(e, Stepped)] == list(range(1, 10))
    figures = [e.metrics for e in events if isinstance(e, Validated)]
    assert set(figures[-1]) == {"loss", "dice", "dice_label 3", "dice_label 7"}
    assert isinstance(events[-1], Finished)
    assert run.state() == "finished"
    assert {"dice", "loss"} <= set(next(e for e in events if isinstance(e, Stepped)).metrics)
    assert run.metrics.curve("validation_dice")[0] == [0, 3, 6, 9]


def test_the_best_model_is_that_of_the_highest_dice(whole: tuple[RunDir, list[Event]]) -> None:
    run, events = whole
    reached = {e.step: e.metrics["dice"] for e in events if isinstance(e, Validated) and e.step}
    card = read_card(run.path)
    assert card.step == next(step for step, dice in reached.items() if dice == max(reached.values()))


def test_the_model_says_what_it_is(whole: tuple[RunDir, list[Event]]) -> None:
    card = read_card(whole[0].path)
    assert card.purpose == "segmentation"
    assert card.activation == "softmax"
    assert [(one.value, one.name) for one in card.classes] == [(0, "background"), (3, "label 3"), (7, "label 7")]
    assert card.network.out_channels == 3
    assert card.patch == (8, 16, 16)
    assert card.data["cases"] == 3
    assert card.data["labelled_voxels"]["label 3"] > 100
    assert "dice" in card.metrics
    assert "blob" not in json.dumps(card.to_dict())


def test_samples_hold_input_prediction_and_labels(whole: tuple[RunDir, list[Event]]) -> None:
    run, events = whole
    paths = [e.path for e in events if isinstance(e, Sampled)]
    with np.load(run.path / paths[-1]) as sample:
        assert sample["input"].shape == sample["prediction"].shape == sample["labels"].shape
        assert set(np.unique(sample["labels"])) <= {0, 1, 2, IGNORE}
        assert list(sample["classes"]) == ["background", "label 3", "label 7"]


def test_the_configuration_of_a_run_is_whole(whole: tuple[RunDir, list[Event]]) -> None:
    stored = FinetuneConfig.parse(whole[0].config())
    assert stored.network.out_channels == 3
    assert [one.value for one in stored.data.classes] == [0, 3, 7]
    assert stored.data.intensity is not None


@pytest.mark.parametrize("steps", [2, 7])
def test_a_stopped_and_resumed_run_equals_one_that_never_stopped(
    steps: int, whole: tuple[RunDir, list[Event]], three: LabelledCases, tmp_path: Path
) -> None:
    run = RunDir(tmp_path / "run")
    first = list(finetune(config(steps=9), run.path, data=three, control=after(steps)))
    assert isinstance(first[-1], Finished)
    assert first[-1].cancelled
    list(finetune(None, run.path, data=three, resume=True))
    assert curve(run) == curve(whole[0])
    ours, theirs = read_state(run.resume_path), read_state(whole[0].resume_path)
    assert ours["progress"]["hard"] == theirs["progress"]["hard"] != []
    assert all(torch.equal(ours["averaged"][name], value) for name, value in theirs["averaged"].items())
    assert not (run.path / "versions.json").exists()


def test_it_learns(tmp_path: Path) -> None:
    settings = config(steps=40, batch=4, augmentation="none", optimiser={"lr": 2e-2, "warmup": 4})
    events = list(finetune(settings, tmp_path / "run", data=cases(0, 1, 2)))
    reached = [e.metrics["dice"] for e in events if isinstance(e, Validated)]
    assert reached[-1] > 0.6
    assert reached[-1] > reached[0] + 0.3


def test_training_on_keeps_the_version_before(three: LabelledCases, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    list(finetune(config(), run.path, data=three))
    before = read_card(run.path)

    def corrected(labels: np.ndarray) -> None:
        labels[:4] = 3

    events = list(finetune(config(steps=4), run.path, data=cases(0, 1, 2, change=corrected), resume=True))
    assert [e.step for e in events if isinstance(e, Stepped)] == [7, 8, 9, 10]
    rates = [e.metrics["lr"] for e in events if isinstance(e, Stepped)]
    assert rates[0] == max(rates)
    version = read_versions(run)[0]
    assert (version["version"], version["step"]) == (1, before.step)
    assert version["figures"]["dice"] == before.metrics["dice"]
    assert version["figures_now"]["dice"] != before.metrics["dice"]
    assert read_card(run.path / version["path"]).step == before.step
    assert any("version 1 of step" in e.message for e in events if isinstance(e, Warned))


def test_the_same_budget_again_goes_on_and_a_plain_resume_does_not(three: LabelledCases, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    list(finetune(config(steps=3), run.path, data=three))
    assert not [e for e in finetune(None, run.path, data=three, resume=True) if isinstance(e, Stepped)]
    for total in (6, 9):
        list(finetune(config(steps=3), run.path, data=three, resume=True))
        assert read_state(run.resume_path)["progress"]["step"] == total
    assert [item["version"] for item in read_versions(run)] == [1, 2]


def test_a_killed_continuation_goes_on_without_a_second_version(three: LabelledCases, tmp_path: Path) -> None:
    run = RunDir(tmp_path / "run")
    list(finetune(config(steps=3), run.path, data=three))
    list(finetune(config(steps=5), run.path, data=three, resume=True, control=after(2)))
    list(finetune(None, run.path, data=three, resume=True))
    assert read_state(run.resume_path)["progress"]["step"] == 8
    assert len(read_versions(run)) == 1


def genesis(path: Path, **settings: Any) -> str:
    network = UNet3d.parse({"width": 4, "decoder": "nearest"} | settings)
    module = network.build(3)
    card = ModelCard(title="a genesis", network=network, task={"name": "restoration"}, patch=(8, 16, 16),
                     intensity={"name": "window", "low": -500, "high": 500})  # fmt: skip
    write_model(path, module, card)  # type: ignore[arg-type]
    return str(path)


def test_a_model_gives_weights_network_intensity_and_patch(three: LabelledCases, tmp_path: Path) -> None:
    model = genesis(tmp_path / "genesis.safetensors")
    settings = config(model=model, sampling={}, steps=2)
    events = list(finetune(settings, tmp_path / "run", data=three))
    assert isinstance(events[-1], Finished)
    card = read_card(tmp_path / "run")
    assert card.network == UNet3d(width=4, decoder="nearest", out_channels=3)
    assert card.patch == (8, 16, 16)
    assert card.parents[0].startswith("a genesis (SHA-256 ")
    stored = RunDir(tmp_path / "run").config()
    assert stored["data"]["intensity"] == {"name": "window", "low": -500.0, "high": 500.0}
    assert any("encoder and decoder" in e.message for e in events if isinstance(e, Warned))


def test_several_channels_take_a_model_of_one(tmp_path: Path) -> None:
    one = cases(0, 1)
    volumes = [replace(v, data=np.repeat(v.data, 2, axis=0)) for v in one.volumes]
    model = genesis(tmp_path / "genesis.safetensors")
    events = list(finetune(config(model=model, steps=2), tmp_path / "run", data=replace(one, volumes=volumes)))
    assert isinstance(events[-1], Finished)
    assert read_model(tmp_path / "run").card.network.in_channels == 2


def test_a_model_of_another_network_is_one_sentence(three: LabelledCases, tmp_path: Path) -> None:
    message = failed(finetune(config(model="nowhere"), tmp_path / "run", data=three)).message
    assert "nowhere" in message
    restoring = config().to_dict() | {"task": {"name": "restoration"}}
    with pytest.raises(Exception, match="expected segmentation or classification"):
        FinetuneConfig.parse(restoring)


@pytest.mark.parametrize("how", ["uniform", "xavier", "msra", "default"])
def test_every_initialisation_trains(how: str, three: LabelledCases, tmp_path: Path) -> None:
    events = list(finetune(config(initialisation=how, steps=1), tmp_path / "run", data=three))
    assert isinstance(events[-1], Finished)


def sliced(labels: np.ndarray) -> None:
    painted = labels[[6, 8, 10]].copy()
    labels[:] = 0
    labels[[6, 8, 10]] = painted


def test_one_scan_with_three_painted_slices_holds_one_of_them_out(tmp_path: Path) -> None:
    partial = cases(0, change=sliced, unlabelled="slices")
    events = list(finetune(config(steps=3), tmp_path / "run", data=partial))
    assert isinstance(events[-1], Finished)
    held = RunDir(tmp_path / "run").status()["held_out"]
    assert "slices" in held
    assert read_card(tmp_path / "run").data["labelled_voxels"]["background"] < 2 * 24 * 24


def test_a_single_painted_voxel_trains(tmp_path: Path) -> None:
    def one_voxel(labels: np.ndarray) -> None:
        labels[:] = 0
        labels[7, 12, 14] = 1

    single = cases(0, change=one_voxel, unlabelled="slices")
    events = list(finetune(config(steps=3), tmp_path / "run", data=single))
    assert isinstance(events[-1], Finished)
    assert any("held out" in e.message for e in events if isinstance(e, Warned))


def test_labels_of_one_class_without_background_train(tmp_path: Path) -> None:
    def all_one(labels: np.ndarray) -> None:
        labels[:] = np.where(labels == 3, 1, 0)

    only = cases(0, 1, change=all_one, unlabelled="ignore")
    assert isinstance(list(finetune(config(steps=2), tmp_path / "run", data=only))[-1], Finished)


def test_empty_labels_are_refused_in_one_sentence() -> None:
    with pytest.raises(ScanError, match=r"paint the structure first|labelled"):
        cases(0, change=lambda labels: labels.fill(0))


def test_other_classes_than_the_run_was_begun_with_are_refused(three: LabelledCases, tmp_path: Path) -> None:
    list(finetune(config(steps=1), tmp_path / "run", data=three))

    def third(labels: np.ndarray) -> None:
        labels[:3] = 9

    message = failed(finetune(config(), tmp_path / "run", data=cases(0, 1, change=third), resume=True)).message
    assert "expected 3 classes" in message
    assert "begin a new run" in message


def test_early_stop_and_going_on_after_it(
    three: LabelledCases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genesis3d.workflows.finetune_learning._without_dice", lambda figures: 1.0)
    settings = config(steps=40, validation={"windows": 1, "every": 1, "patience": 2})
    list(finetune(settings, tmp_path / "run", data=three))
    assert read_state(RunDir(tmp_path / "run").resume_path)["progress"]["step"] == 3
    list(finetune(settings, tmp_path / "run", data=three, resume=True))
    assert read_state(RunDir(tmp_path / "run").resume_path)["progress"]["step"] == 6  # a round has a best of its own


def test_little_memory_makes_portions(three: LabelledCases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis3d.tasks.segmentation_module import SegmentationModule

    plain = SegmentationModule.forward

    def little(self: Any, input: torch.Tensor, target: torch.Tensor) -> Any:
        if len(input) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return plain(self, input, target)

    monkeypatch.setattr(SegmentationModule, "forward", little)
    events = list(finetune(config(steps=2), tmp_path / "run", data=three))
    assert isinstance(events[-1], Finished)
    assert any("memory did not suffice" in e.message for e in events if isinstance(e, Warned))


def test_hard_places_lie_where_the_network_errs(whole: tuple[RunDir, list[Event]], three: LabelledCases) -> None:
    found = read_state(whole[0].resume_path)["progress"]["hard"]
    assert all(item["from"] % 3 == 0 for item in found)
    places = found[-1]["places"]
    assert places
    assert all(0 <= v < n for place in places for v, n in zip(place[1:], SHAPE, strict=True))
    assert hardness.Hardness.__doc__


def test_presets_are_valid_and_named() -> None:
    assert {"default", "quick"} <= set(FINETUNE_PRESETS)
    for name in FINETUNE_PRESETS:
        assert FinetuneConfig.parse(finetune_preset(name).to_dict()) == finetune_preset(name)


@pytest.mark.parametrize(
    ("name", "is_side"),
    [("left kidney", True), ("kidney_R", True), ("Right lung", True), ("liver", False), ("bright", False)],
)
def test_left_and_right_are_not_mirrored_where_classes_are_named_after_sides(name: str, is_side: bool) -> None:
    from genesis3d.labels import LabelClass
    from genesis3d.workflows.finetune_start import unmirrored

    loaded = cases(0, classes=[LabelClass(value=3, name=name), LabelClass(value=7, name="other")])
    made, sentence = unmirrored(config(), loaded)
    assert (2 not in made.augmentation.flip_axes) == is_side
    assert bool(sentence) == is_side
