from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import IO

import pytest

from genesis3d.training.files import write_atomic
from genesis3d.training.metrics import MetricsTable


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("point", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str
) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    monkeypatch.setattr(os, point, full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_writer_that_fails_midway_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")

    def half(file: IO[bytes]) -> None:
        file.write(b"ne")
        full()

    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, half)
    assert path.read_bytes() == b"old"
    assert write_atomic(path, lambda file: file.write(b"newer")) == 5


def test_new_names_become_columns_and_old_rows_stay(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv")
    table.append(0, {"validation_loss": 0.5})
    table.append(1, {"loss": 0.25})
    again = MetricsTable(table.path)
    again.append(2, {"loss": 0.125, "new": 1})
    header, *rows = table.path.read_text().splitlines()
    assert header == "step,loss,lr,gradient_norm,steps_per_second,validation_loss,new"
    assert rows == ["0,,,,,0.5,", "1,0.25,,,,,", "2,0.125,,,,,1.0"]
    assert again.curve("loss") == ([1, 2], [0.25, 0.125])


def test_a_torn_last_row_is_dropped_on_rewinding(tmp_path: Path) -> None:
    table = MetricsTable(tmp_path / "metrics.csv")
    for step in (1, 2, 3):
        table.append(step, {"loss": step})
    with table.path.open("a") as file:
        file.write("4,0.1")
    table.rewind(2)
    table.append(3, {"loss": 30})
    assert table.curve("loss") == ([1, 2, 3], [1, 2, 30])
