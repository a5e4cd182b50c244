"""A study end to end on phantoms: plan, runs, resuming, trials of rates, report."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.data.cases import Case
from genesis3d.data.targets import LabelledCases
from genesis3d.errors import ConfigError, ModelError
from genesis3d.events import Event, Failed, Finished, Saved, Stepped, Warned
from genesis3d.intensity import Scale, Window
from genesis3d.labels import LabelClass
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.study import StudyConfig, study
from genesis3d.workflows.study_plan import drawn, make_plan
from genesis3d.workflows.study_settings import agrees, put

CLASSES = (LabelClass(value=0, name="background"), LabelClass(value=300, name="ball"))
TINY = {
    "network": {"name": "unet3d", "width": 2, "norm": "instance", "decoder": "nearest"},
    "sampling.patch": [16, 16, 16],
    "batch": 1,
    "augmentation": "none",
    "threads": 1,
    "device": "cpu",
}


def phantoms(count: int = 6) -> LabelledCases:
    """Return bright balls in noise, one a case."""
    volumes, labels, cases = [], [], []
    geometry = Geometry((16, 16, 16))
    for number in range(count):
        generator = Address(number, path="ball").generator()
        centre = generator.uniform(5, 11, 3)
        inside = sum((axis - c) ** 2 for axis, c in zip(np.indices((16, 16, 16)), centre, strict=True)) < 16
        data = (inside * 0.8 + generator.normal(0.1, 0.05, inside.shape)).astype(np.float32)
        volumes.append(Volume(data[None], geometry, name=f"case-{number}"))
        labels.append(Volume(inside[None].astype(np.uint8), geometry, name=f"case-{number}"))
        cases.append(Case(f"case-{number}", f"{number:016x}"))
    patients = [case.key for case in cases]
    return LabelledCases(cases, volumes, [Scale(0.0, 1.0)] * count, labels, patients, Window(low=0, high=1), CLASSES)


def settings(**changes: Any) -> StudyConfig:
    values: dict[str, Any] = {
        "target": {"images": ["nowhere"]},
        "arms": {"scratch": {}, "msra": {"initialisation": "msra"}},
        "counts": [1, 2],
        "seeds": [0, 1],
        "steps": 4,
        "measure_every": 2,
        "test": {"names": ["case-4", "case-5"]},
        "settings": TINY,
    }
    return StudyConfig.parse(values | changes)


def run(config: StudyConfig, out: Path, **options: Any) -> list[Event]:
    return list(study(config, out, cases=phantoms(), **options))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    out = tmp_path_factory.mktemp("study")
    return out, run(settings(), out)


def test_every_arm_count_and_seed_is_trained_and_tested(done: tuple[Path, list[Event]]) -> None:
    out, events = done
    assert isinstance(events[-1], Finished)
    assert (events[-1].result["trainings"], events[-1].result["of"]) == (8, 8)
    found = sorted(path.relative_to(out).as_posix() for path in (out / "runs").rglob("*.json"))
    assert len(found) == 8
    assert "runs/msra/n2_f0_s1.json" in found
    result = json.loads((out / "runs/msra/n2_f0_s1.json").read_text())
    assert set(result["test"]) == {"case-4", "case-5"}
    assert set(result["curve"]) == {"2", "4"}
    assert result["curve"]["4"] == result["test"]
    assert set(result["training"]) <= {f"case-{n}" for n in range(4)}
    assert len(result["training"]) == 2
    assert not [path for path in (out / "runs").rglob("*") if path.suffix in (".safetensors", ".pt")]


def test_arms_of_one_seed_see_the_same_labels(done: tuple[Path, list[Event]]) -> None:
    for key in ("n1_f0_s0", "n1_f0_s1", "n2_f0_s0"):
        pair = [json.loads((done[0] / f"runs/{arm}/{key}.json").read_text()) for arm in ("scratch", "msra")]
        assert pair[0]["training"] == pair[1]["training"]
        assert not agrees(pair[0]["identity"], pair[1]["identity"])


def test_the_report_has_tables_curves_and_sentences(done: tuple[Path, list[Event]]) -> None:
    out, events = done
    page = (out / "report.md").read_text(encoding="utf-8")
    for heading in ("What it says", "Dice by number of labels", "Against scratch", "Labels saved", "How to read it"):
        assert f"{heading}" in page
    assert "| 1 | " in page
    report = json.loads((out / "report.json").read_text())
    assert len(report["dice"]) == 4
    assert len(report["differences"]) == 2
    assert report["findings"] == events[-1].result["findings"]  # type: ignore[union-attr]
    assert any("rough" in sentence for sentence in report["findings"])
    with (out / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 * 2 * 2  # runs, steps, cases
    for name in ("labels.png", "convergence.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_a_finished_study_repeats_nothing_and_a_further_seed_only_itself(
    done: tuple[Path, list[Event]], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = done[0]
    stamps = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*.json")}
    trained = counted(monkeypatch)
    again = run(settings(), out)
    assert again[-1].result["findings"] == done[1][-1].result["findings"]  # type: ignore[union-attr]
    assert trained == []
    run(settings(seeds=[0, 1, 2], counts=[1]), out)
    assert sorted(trained) == ["msra/n1_f0_s2", "scratch/n1_f0_s2"]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    page = run(settings(), out, train=False)[-1]
    assert page.result["trainings"] == 8  # type: ignore[union-attr]


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that fills with the runs that are trained."""
    from genesis3d.workflows import finetune

    trained: list[str] = []
    real = finetune.finetune

    def spying(config: Any, place: Path, **rest: Any) -> Iterator[Event]:
        trained.append(f"{place.parent.parent.name}/{place.parent.name}")
        return real(config, place, **rest)

    monkeypatch.setattr(finetune, "finetune", spying)
    return trained


def test_a_stopped_study_goes_on(tmp_path: Path) -> None:
    config = settings(arms={"scratch": {}}, counts=[1], seeds=[0, 1, 2], measure_every=None)
    events: list[Event] = []

    def control() -> Any:
        return "stop" if sum(isinstance(event, Stepped) for event in events) >= 1 else "run"

    events.extend(study(config, tmp_path, control, cases=phantoms()))
    assert isinstance(events[-1], Finished)
    assert events[-1].cancelled
    assert events[-1].result["trainings"] == 1
    assert "1 of 3 runs are in" in (tmp_path / "report.md").read_text(encoding="utf-8")
    last = run(config, tmp_path)[-1]
    assert isinstance(last, Finished)
    assert (last.cancelled, last.result["trainings"]) == (False, 3)


def test_a_run_stopped_in_the_middle_ends_as_if_it_never_was(done: tuple[Path, list[Event]], tmp_path: Path) -> None:
    config = settings(arms={"scratch": {}}, counts=[1], seeds=[0])
    first = list(
        study(config, tmp_path, lambda: "stop" if list(tmp_path.rglob("curve.json")) else "run", cases=phantoms())
    )
    assert isinstance(first[-1], Finished)
    assert (first[-1].cancelled, first[-1].result["trainings"]) == (True, 0)
    assert json.loads((tmp_path / "runs/scratch/n1_f0_s0/run/status.json").read_text())["step"] == 2
    run(config, tmp_path)
    results = [json.loads((out / "runs/scratch/n1_f0_s0.json").read_text()) for out in (tmp_path, done[0])]
    assert results[0]["test"] == results[1]["test"]
    assert results[0]["curve"] == results[1]["curve"]
    assert not (tmp_path / "runs/scratch/n1_f0_s0").exists()


def test_each_arm_gets_the_rate_that_is_best_on_validation_cases(tmp_path: Path) -> None:
    config = settings(
        arms={"scratch": {}, "slow": {"rates": [1e-6]}}, counts=[2], seeds=[0], rates=[1e-7, 1e-2], steps=12,
        measure_every=None, search={"cases": 1},
    )  # fmt: skip
    run(config, tmp_path)
    trials = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "trials").rglob("*.json")}
    assert set(trials) == {"n2_f0_s0_r1e-07", "n2_f0_s0_r0.01"}
    for trial in trials.values():
        assert not {"case-4", "case-5"} & {*trial["test"], *trial["training"]}
        assert not {*trial["test"]} & {*trial["training"]}
    dice = {t["rate"]: np.mean([c["ball"]["dice"] for c in t["test"].values()]) for t in trials.values()}
    chosen = json.loads((tmp_path / "runs/scratch/n2_f0_s0.json").read_text())["rate"]
    assert dice[chosen] == max(dice.values())
    assert json.loads((tmp_path / "runs/slow/n2_f0_s0.json").read_text())["rate"] == 1e-6
    assert "2 trials" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_a_training_that_fails_is_counted_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis3d.workflows import finetune

    real = finetune.finetune

    def failing(config: Any, place: Path, **rest: Any) -> Iterator[Event]:
        bad = config.optimiser.lr > 1 or (config.seed == 1 and "trials" not in str(place))
        return iter([Failed(message="it died")]) if bad else real(config, place, **rest)

    monkeypatch.setattr(finetune, "finetune", failing)
    config = settings(arms={"scratch": {}}, counts=[1], seeds=[0, 1], rates=[0.01, 5.0], measure_every=None)
    events = run(config, tmp_path)
    assert isinstance(events[-1], Finished)
    assert events[-1].result["trainings"] == 1
    assert json.loads((tmp_path / "runs/scratch/n1_f0_s0.json").read_text())["rate"] == 0.01
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["failed"] == {"runs/scratch/n1_f0_s1": "it died"}
    assert any(isinstance(event, Warned) and event.message.endswith("failed: it died") for event in events)


def test_corrupted_labels_are_trained_on_but_never_tested_on(tmp_path: Path) -> None:
    config = settings(arms={"scratch": {}}, counts=[1], seeds=[0], corruptions=[0.0, -1.0], measure_every=None)
    events = run(config, tmp_path)
    assert {Path(event.path).name for event in events if isinstance(event, Saved)} >= {"corruption.png"}
    clean, eroded = (json.loads((tmp_path / f"runs/scratch/n1_f0_s0{c}.json").read_text()) for c in ("", "_c-1"))
    volumes = [next(iter(one["test"].values()))["ball"]["reference_ml"] for one in (clean, eroded)]
    assert volumes[0] == volumes[1]


def test_leave_one_out_tests_every_patient_on_the_others() -> None:
    plan = make_plan(settings(test={"leave_one_out": True}, counts=[3]), phantoms(4))
    assert len(plan.folds) == 4
    assert sorted(fold.test for fold in plan.folds) == [(0,), (1,), (2,), (3,)]
    for one in plan.runs:
        assert not set(one.training) & set(one.test)
        assert len(one.training) == 3


def test_seeds_draw_disjoint_labels_as_long_as_there_are_enough() -> None:
    pool = range(10, 22)
    sets = [set(drawn(pool, 4, seed)) for seed in range(3)]
    assert set.union(*sets) == set(pool)
    assert drawn(pool, 4, 3) != drawn(pool, 4, 0)
    with pytest.raises(ConfigError, match="at most the 12 cases"):
        drawn(pool, 13, 0)


def test_a_setting_of_a_later_version_is_no_other_run() -> None:
    stored = {"finetune": {"batch": 1, "optimiser": {"lr": 0.1}}, "model": "a"}
    assert agrees(stored, {"finetune": {"batch": 1, "optimiser": {"lr": 0.1, "later": 3}}, "model": "a"})
    assert not agrees(stored, {"finetune": {"batch": 2, "optimiser": {"lr": 0.1}}, "model": "a"})
    assert not agrees(None, stored)


def test_settings_are_put_together_by_dotted_keys_and_named_things_are_replaced() -> None:
    base = {"optimiser": {"lr": 1, "name": "adamw"}, "network": {"name": "a", "width": 4, "depth": 3}}
    changed = put(base, {"optimiser.lr": 2, "network": {"name": "b", "width": 8}, "sampling": {"hard": 0}})
    assert changed["optimiser"] == {"lr": 2, "name": "adamw"}
    assert changed["network"] == {"name": "b", "width": 8}
    assert changed["sampling"] == {"hard": 0}
    assert base["optimiser"]["lr"] == 1


def test_what_cannot_be_a_study_is_one_sentence(tmp_path: Path) -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        ({"counts": []}, "either counts or fractions"),
        ({"reference": "nobody"}, "expected one of scratch, msra"),
        ({"test": {"leave_one_out": True, "folds": 2}}, "expected one of leave_one_out"),
        ({"tested": "best"}, "needs validation cases"),
    ]
    for changes, sentence in refused:
        with pytest.raises(ConfigError, match=sentence):
            settings(**changes)
    with pytest.raises(ConfigError, match="arm msra: batch"):
        run(settings(arms={"scratch": {}, "msra": {"settings": {"batch": 0}}}), tmp_path)
    with pytest.raises(ModelError, match="nowhere"):
        run(settings(arms={"scratch": {}, "other": {"model": "nowhere"}}), tmp_path)
    with pytest.raises(ConfigError, match="at most the 4 cases"):
        run(settings(counts=[5]), tmp_path)
    with pytest.raises(ConfigError, match=r"search\.counts"):
        run(settings(counts=[4], rates=[1e-3, 1e-2]), tmp_path)
