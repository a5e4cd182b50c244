"""Rules over the source that no linter knows."""

from __future__ import annotations

import ast
import re
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [*(ROOT / "src").rglob("*.py"), *(ROOT / "napari_genesis").rglob("*.py")]
LOADING = [*SOURCES, *(ROOT / "benchmarks").rglob("*.py"), *(ROOT / "docs").rglob("*.py")]
UNPICKLERS = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


@cache
def nodes(text: str) -> list[ast.AST]:
    return list(ast.walk(ast.parse(text)))


def calls(text: str) -> list[tuple[str, dict[str, object]]]:
    """Return every call in a source by its dotted name, with the constants among its keywords."""
    found = []
    for node in nodes(text):
        if isinstance(node, ast.Call):
            keywords = {
                k.arg or "**": k.value.value if isinstance(k.value, ast.Constant) else ... for k in node.keywords
            }
            found.append((ast.unparse(node.func), keywords))
    return found


def unsafe(name: str, keywords: dict[str, object]) -> bool:
    """Whether a call could run what a file says."""
    last = name.rpartition(".")[2]
    if name == "torch.load":
        return keywords.get("weights_only") is not True
    if name in ("yaml.load", "yaml.load_all"):
        return True
    if last in ("unsafe_load", "full_load", "load_model", "add_safe_globals", "load_pickle", "read_pickle"):
        return True
    if keywords.get("allow_pickle", False) is not False or "pickle_module" in keywords:
        return True
    return name in ("eval", "exec", "builtins.eval", "builtins.exec", "torch.jit.load", "torch.hub.load")


def unpicklers(text: str) -> set[str]:
    """Return the modules a source imports that unpickle."""
    found = set()
    for node in nodes(text):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found & UNPICKLERS


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "torch.load(\n    path,\n    map_location='cpu',\n)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text, Loader=yaml.Loader)",
        "eval(text)",
        "keras.models.load_model(path)",
    ],
)
def test_the_rule_finds_an_unsafe_loader(line: str) -> None:
    assert any(unsafe(*call) for call in calls(line))


def test_no_unsafe_loader_is_called() -> None:
    assert sum(name == "torch.load" for path in LOADING for name, _ in calls(path.read_text(encoding="utf-8"))) >= 2
    for path in LOADING:
        text = path.read_text(encoding="utf-8")
        assert not [name for name, keywords in calls(text) if unsafe(name, keywords)], path.name
        assert not unpicklers(text), path.name


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
