from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis3d.data.classified import ClassifiedData, load_classified
from genesis3d.data.splits import SplitSettings, split
from genesis3d.errors import ConfigError, ScanError
from genesis3d.io import write_volume
from genesis3d.volume import Geometry, Volume


def put(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = np.arange(4 * 5 * 6, dtype=np.int16).reshape(1, 4, 5, 6) + value
    write_volume(Volume(data, Geometry((4, 5, 6)), "MR"), path)


def test_a_folder_a_class(tmp_path: Path) -> None:
    for number, name in enumerate(("sick/a", "sick/b", "healthy/c")):
        put(tmp_path / f"{name}.mha", 1000 * number)
    cases = load_classified(ClassifiedData(folder=str(tmp_path)))
    assert cases is not None
    assert [(c.value, c.name) for c in cases.classes] == [(0, "healthy"), (1, "sick")]
    assert {c.name: t for c, t in zip(cases.cases, cases.targets, strict=True)} == {"a": 1, "b": 1, "c": 0}
    assert len(set(cases.patients)) == 3
    done = split(cases, SplitSettings())
    assert len(done.held_out) == 1
    assert len(done.training) == 2
    training, held_out = done.parts(cases)
    assert len(training) == 2
    assert held_out.cases[0].name == cases.cases[done.held_out[0]].name


def test_a_table_of_boxes_reads_each_scan_once(tmp_path: Path) -> None:
    put(tmp_path / "scans/a.mha", 0)
    put(tmp_path / "scans/b.mha", 1000)
    (tmp_path / "t.csv").write_text(
        "path,class,start_d,start_h,start_w,patient\n"
        "scans/a.mha,10,0,0,0,x\nscans/b.mha,2,1,1,1,y\nscans/a.mha,2,2,3,3,x\nscans/a.mha,2,3,3,3,x\n"
    )
    cases = load_classified(ClassifiedData(table=str(tmp_path / "t.csv"), box=(2, 2, 3)))
    assert cases is not None
    assert [c.name for c in cases.classes] == ["2", "10"]
    found = {c.name: (v.data[0, 0, 0, 0], t) for c, v, t in zip(cases.cases, cases.volumes, cases.targets, strict=True)}
    assert found == {"a 0 0 0": (0, 1), "b 1 1 1": (1000 + 37, 0), "a 2 3 3": (81, 0)}
    assert all(v.data.shape == (1, 2, 2, 3) for v in cases.volumes)
    assert len(set(cases.patients)) == 2
    assert "a is left out: box: expected to lie inside" in cases.warnings[0]
    of_a = [v for c, v in zip(cases.cases, cases.volumes, strict=True) if c.name.startswith("a")]
    assert of_a[0].data.base is of_a[1].data.base


def test_what_is_no_classification_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "one/a.mha", 0)
    with pytest.raises(ConfigError, match="at least two classes, got one"):
        load_classified(ClassifiedData(folder=str(tmp_path)))
    (tmp_path / "t.csv").write_text("path,class\na,b\n")
    with pytest.raises(ConfigError, match="columns path, class, start_d"):
        load_classified(ClassifiedData(table=str(tmp_path / "t.csv"), box=(2, 2, 2)))
    (tmp_path / "t.csv").write_text("path,class\none/a.mha,b\none/none.mha,c\none/a.mha,d\n")
    whole = load_classified(ClassifiedData(table=str(tmp_path / "t.csv")))
    assert whole is not None
    assert "found nothing there" in whole.warnings[0]
    (tmp_path / "two").mkdir()
    (tmp_path / "two/b.mha").write_bytes(b"broken")
    with pytest.raises(ScanError, match="readable scans of at least two classes; b is left out"):
        load_classified(ClassifiedData(folder=str(tmp_path)))
    with pytest.raises(ConfigError, match="got neither"):
        load_classified(ClassifiedData())
    assert load_classified(ClassifiedData(folder=str(tmp_path)), control=lambda: "stop") is None
