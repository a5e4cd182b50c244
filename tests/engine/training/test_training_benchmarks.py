"""The benchmarks of training on sizes that cost nothing: they run elsewhere later, and must be sound."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[3]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> object:
    """Import a benchmark of the working tree by name."""
    monkeypatch.syspath_prepend(str(ROOT))

    def load(name: str) -> ModuleType:
        return importlib.import_module(f"benchmarks.{name}")

    return load


def test_costs_follow_from_what_was_measured(tmp_path: Path, benchmark) -> None:
    cost = benchmark("cluster_cost")
    assert "not measured" in "\n".join(cost.table(tmp_path))
    rows = {"train_step": ("sub-volumes per second, ours", 2.0), "two_processes": ("two processes / one", 0.5)}
    for name, (what, value) in rows.items():
        found = {"name": "x (1 thread)", "machine": {"processor": "p"}, "rows": [{"what": what, "value": value}]}
        (tmp_path / f"{name}.json").write_text(json.dumps(found))
    one, many, gpu, _ = cost.machines(tmp_path)
    assert one.hours(1_000, 1) == pytest.approx(1_000 * 32 / 2 / 3600)
    assert many.hours(1_000, 1) == pytest.approx(1_000 * 32 / (2 * 64 * 0.5) / 3600)
    assert gpu.hours(1_000, 1) is None
    assert "| 1,000 | one CPU machine as below | 2 each | 4.4 hours |" in "\n".join(cost.table(tmp_path))


def test_the_page_shows_the_figures_of_the_result_files(benchmark) -> None:
    cost = benchmark("cluster_cost")
    text = cost.PAGE.read_text(encoding="utf-8")
    assert cost.page(text) == text, "run python -m benchmarks.cluster_cost"


def test_gpu_rows_without_a_gpu_and_on_a_processor(tmp_path: Path, benchmark, monkeypatch: pytest.MonkeyPatch) -> None:
    gpu, training = benchmark("gpu"), benchmark("training")
    assert all(row.value is None and "python -m benchmarks.gpu" in row.note for row in gpu.not_measured())
    network = training.UNet3d(width=4)
    setting = training.Setting(network, (16, 16, 16), 2, (32, 48, 48))
    monkeypatch.setattr(gpu, "median", lambda values: sorted(values)[0])
    rows = gpu.measured(setting, "cpu", steps=1, plain_steps=1, scans=1)
    assert [row.what for row in rows] == [what for what, _, _ in gpu.ROWS]
    assert all(row.value is not None for row in rows)
    assert rows[0].value > 0
    assert 0 <= rows[3].value <= 100


def test_both_loops_of_the_step_see_the_same_and_agree(benchmark) -> None:
    training, step = benchmark("training"), benchmark("train_step")
    setting = training.Setting(training.UNet3d(width=4), (16, 16, 16), 2, (32, 48, 48))
    threads = torch.get_num_threads()
    rows, ours = step.compared(setting, 1)
    assert torch.get_num_threads() == threads
    assert ours.steps == 2
    figures = {row.what: row.value for row in rows}
    assert figures["loss of the following steps, relative difference"] < 0.05
    assert figures["first gradient, relative difference"] < 0.2
