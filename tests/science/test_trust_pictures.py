"""What misleads a map, put into a phantom, and the command that draws it (science/trust_*.py)."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.data.phantoms import thorax
from genesis3d.io.itk_filters.lungs import lung_mask
from genesis3d.volume import Volume


@pytest.fixture
def science(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "science"))
    return importlib.import_module


@pytest.fixture(scope="module")
def chest() -> tuple[Volume, Volume]:
    scan = thorax((48, 64, 64))
    return scan, lung_mask(scan).mask


def test_each_change_is_where_it_should_be(science: Any, chest: tuple[Volume, Volume]) -> None:
    changes, (scan, lungs) = science("trust_changes"), chest
    inside = lungs.data[0] > 0
    for change in (changes.dependent_density, changes.fibrosis):
        after, same = change(scan, lungs)
        assert same is lungs
        difference = after.data[0] - scan.data[0]
        assert (difference >= 0).all()
        assert not difference[~inside].any()
        assert difference[inside].max() > 100
        again, _ = change(scan, lungs)
        np.testing.assert_array_equal(after.data, again.data)
    heavy = (changes.dependent_density(scan, lungs)[0].data[0] - scan.data[0]) * inside
    front, back = heavy[:, :24].mean(), heavy[:, 40:].mean()
    assert back > 5 * front
    still, _ = changes.motion(scan.with_data(np.full(scan.data.shape, -800, np.int16)), lungs)
    assert (still.data == -800).all()
    lobe, _ = changes.lobe_without_air(scan, lungs)
    filled = (lobe.data[0] != scan.data[0]) & inside
    assert set(np.unique(lungs.data[0][filled])) == {2}
    assert 0.2 < filled.sum() / (lungs.data[0] == 2).sum() < 0.7


def test_thick_slices_and_sharp_kernels(science: Any, chest: tuple[Volume, Volume]) -> None:
    changes, (scan, lungs) = science("trust_changes"), chest
    thick, marked = changes.thick_slices(scan, lungs)
    assert thick.geometry.shape == marked.geometry.shape == (16, 64, 64)
    np.testing.assert_allclose(thick.geometry.to_world((0, 0, 0)), scan.geometry.to_world((1, 0, 0)))
    np.testing.assert_allclose(thick.data[0, 2], scan.data[0, 6:9].mean(axis=0), atol=0.01)
    sharp, _ = changes.sharp_kernel(scan, lungs)
    core = scan.data[0] > -950
    assert sharp.data[0][core].std() > scan.data[0][core].std()
    assert (sharp.data[0][~core] == scan.data[0][~core]).all()


def test_the_command_draws(science: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chest: Any) -> None:
    pictures = science("trust_pictures")
    monkeypatch.setattr(pictures, "_scan", lambda given: chest[0])
    given = ["x", "phantom", "--model", "none", "--recipe", "hu", "--lungs", "classical", "--out", str(tmp_path)]
    names = ["vessels", "outside", "thick"]
    monkeypatch.setattr("sys.argv", [*given, "--results", str(tmp_path / "trust.json"), "--only", *names])
    pictures.main()
    for name in names:
        assert (tmp_path / f"trust-{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    found = json.loads((tmp_path / "trust.json").read_text())
    assert list(found["shares"]) == names
    assert found["recipe"] == "hu"
    assert str(tmp_path) not in json.dumps(found)
