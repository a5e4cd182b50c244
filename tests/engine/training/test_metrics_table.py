from __future__ import annotations

from pathlib import Path

from genesis3d.training.metrics import MetricsTable


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
