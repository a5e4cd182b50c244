from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis3d.data.cases import Case, find_cases
from genesis3d.data.channels import grouped, on_one_grid, overlap
from genesis3d.errors import ScanError
from genesis3d.io import write_volume
from genesis3d.volume import Geometry, Volume


def case(name: str, folder: str = "a") -> Case:
    return Case(name, f"{abs(hash((name, folder))):016x}"[:16], f"/{folder}/{name}.nii.gz")


def test_files_that_differ_by_their_ends_are_one_case() -> None:
    cases = [case("p1_0001"), case("p1_0000"), case("p2_0000"), case("p1_0000", "b"), case("p1_0001", "b"), case("x")]
    groups, said = grouped(cases, ["_0000", "_0001"])
    assert [(g.name, [s.name for s in g.scans]) for g in groups] == [("p1", ["p1_0000", "p1_0001"])] * 2
    assert groups[0].key == cases[1].key
    assert said == ["x: its name ends in none of _0000, _0001", "p2: channel _0001 is missing"]


def test_without_ends_every_scan_is_a_case() -> None:
    groups, said = grouped([case("a"), case("b")], [])
    assert [g.name for g in groups] == ["a", "b"]
    assert said == []


def volume(shape: tuple[int, int, int], spacing: float, origin: float = 0.0, name: str = "v") -> Volume:
    geometry = Geometry(shape, (spacing,) * 3, (origin,) * 3)
    data = np.broadcast_to(np.arange(shape[2], dtype=np.float32) * spacing + origin, shape)
    return Volume(data[None].copy(), geometry, "MR", name=name)


def test_another_grid_is_resampled_onto_the_first_and_said() -> None:
    first, second = volume((12, 12, 12), 1.0, name="t1"), volume((6, 6, 6), 2.0, 0.5, name="t2")
    (a, b), said = on_one_grid([first, second])
    assert a is first
    assert b.geometry == first.geometry
    np.testing.assert_allclose(b.data[0, 6, 6, 2:10], first.data[0, 6, 6, 2:10], atol=1e-4)
    assert said == ["t2 lies on another grid and was resampled onto that of t1"]
    assert on_one_grid([first, first]) == ([first, first], [])


def test_channels_that_do_not_lie_over_each_other_are_refused() -> None:
    first, far = volume((12, 12, 12), 1.0, name="t1"), volume((12, 12, 12), 1.0, 6.0, name="t2")
    assert overlap(first.geometry, first.geometry) == 1.0
    assert overlap(first.geometry, far.geometry) == pytest.approx(0.125, abs=0.05)
    with pytest.raises(ScanError, match=r"expected t2 to cover t1.*covers 1. %"):
        on_one_grid([first, far])


def test_ends_are_those_before_the_suffix_of_the_file(tmp_path: Path) -> None:
    for name in ("case_0000.nii.gz", "case_0001.mha"):
        write_volume(volume((4, 5, 6), 1.0), tmp_path / name)
    groups, said = grouped(find_cases(tmp_path), ["_0000", "_0001"])
    assert [g.name for g in groups] == ["case"]
    assert said == []
