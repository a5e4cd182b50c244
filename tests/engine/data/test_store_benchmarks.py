"""The benchmarks of stores run; their figures are not judged here."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _benchmarks_of_the_working_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[3]))


def test_reading_is_measured_on_a_small_scan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import store_reads
    from genesis3d.data.phantoms import thorax

    monkeypatch.setattr(store_reads, "PATCH", (8, 16, 16))
    rows = store_reads.measure(thorax((24, 48, 48)), "a phantom", tmp_path, 10)
    assert {row.what: row.value for row in rows}["ratio"] is not None
    assert all(row.value is not None and row.value > 0 for row in rows)


@pytest.mark.slow
def test_memory_is_measured_on_few_cases(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from benchmarks import store_memory

    monkeypatch.setattr(store_memory, "SHAPE", (32, 64, 64))
    monkeypatch.setattr(store_memory, "FEW", 2)
    rows = {row.what: row for row in store_memory.measure(tmp_path, 12, 20, 1)}
    assert rows["cases after the same command again"].value == 12
    assert rows["difference"].met
