"""Rules over the source that no linter knows."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "napari_genesis").rglob("*.py")]


def test_every_torch_load_is_restricted_to_weights() -> None:
    for path in SOURCES:
        for call in re.findall(r"(?<!safetensors\.)torch\.load\((.*)", path.read_text(encoding="utf-8")):
            assert "weights_only=True" in call, f"{path.name}: torch.load({call}"


def test_nothing_unpickles() -> None:
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"^\s*(import|from) (c?[pP]ickle|dill|joblib|shelve|marshal)\b", text, re.M), path.name
        assert "allow_pickle=True" not in text, path.name


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    text = (ROOT / "napari_genesis" / "__init__.py").read_text(encoding="utf-8")
    assert re.search(r'__version__ = "(.*)"', text).group(1) == project["version"]  # type: ignore[union-attr]


def test_the_two_manifests_are_equal() -> None:
    """The top-level file is a link; some file systems turn links into text, so the content is compared."""
    assert (ROOT / "napari.yaml").read_bytes() == (ROOT / "napari_genesis" / "napari.yaml").read_bytes()


def test_pinned_versions_satisfy_the_open_ranges() -> None:
    from packaging.requirements import Requirement

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").split())
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    wanted = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["all"],
        *project["dependency-groups"]["dev"],
    ]
    for text in wanted:
        requirement = Requirement(text)
        name = requirement.name.lower().replace("_", "-")
        assert name in pins, f"{name} is not pinned"
        assert requirement.specifier.contains(pins[name]), f"{name}: {pins[name]} is outside {requirement.specifier}"
