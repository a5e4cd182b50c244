"""napari.yaml: valid, complete, and true."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
from npe2 import PluginManifest

import napari_genesis

FOLDER = Path(napari_genesis.__file__).parent


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(FOLDER / "napari.yaml")


def test_the_two_manifests_are_one(manifest: PluginManifest) -> None:
    assert (FOLDER.parent / "napari.yaml").read_text() == (FOLDER / "napari.yaml").read_text()
    assert manifest.name == "napari-genesis"


def test_every_command_points_to_something_that_exists(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands or ():
        assert command.id.startswith("napari-genesis.")
        module, _, name = (command.python_name or "").partition(":")
        source = FOLDER.parent.joinpath(*module.split(".")).with_suffix(".py")
        assert name in _names(source), command.id


def _names(source: Path) -> set[str]:
    tree = ast.parse(source.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_contributions_name_known_commands(manifest: PluginManifest) -> None:
    known = {command.id for command in manifest.contributions.commands or ()}
    contributions = manifest.contributions
    used = [item.command for group in (contributions.readers, contributions.writers, contributions.widgets,
                                       contributions.sample_data) for item in group or ()]  # fmt: skip
    used += [item.command for items in (contributions.menus or {}).values() for item in items]
    assert set(used) <= known
    assert {
        "napari-genesis.scan",
        "napari-genesis.preview",
        "napari-genesis.pretrain",
        "napari-genesis.anomaly",
        "napari-genesis.segment",
    } <= {widget.command for widget in contributions.widgets or ()}


def test_it_claims_scans_and_not_every_gz(manifest: PluginManifest) -> None:
    (reader,) = manifest.contributions.readers or ()
    assert "*.nii.gz" in reader.filename_patterns
    assert "*.gz" not in reader.filename_patterns
    assert reader.accepts_directories


def test_no_fields_that_older_npe2_refuses(manifest: PluginManifest) -> None:
    text = (FOLDER / "napari.yaml").read_text()
    assert not [word for word in ("default_dock_area", "tabify", "keybindings") if word in text]


def test_the_writers_take_each_format(manifest: PluginManifest) -> None:
    for writer in manifest.contributions.writers or ():
        assert set(writer.filename_extensions) == {".nii.gz", ".nii", ".nrrd", ".mha", ".mhd"}


def test_importing_the_plugin_imports_nothing_heavy() -> None:
    import subprocess
    import sys

    code = (
        "import sys, napari_genesis, napari_genesis.readers, napari_genesis.writers, napari_genesis.sample_data\n"
        "print([m for m in ('torch', 'napari', 'qtpy', 'SimpleITK') if m in sys.modules])"
    )
    done: Any = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
