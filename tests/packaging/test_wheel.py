"""The wheel, installed elsewhere, is found by napari's plugin manager and brings everything it names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (file,) = out.glob("*.whl")
    return file


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's content and metadata, as pip would lay it."""
    site = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*command, str(wheel)], check=True, capture_output=True)
    return site


def run_there(site: Path, code: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(site), "PYTHONSAFEPATH": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=site, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def test_the_wheel_holds_both_packages_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"napari_genesis", "genesis3d"}
    assert "napari_genesis/napari.yaml" in names
    assert "genesis3d/py.typed" in names
    shipped = {f"genesis3d/models/{path.name}" for path in (ROOT / "src/genesis3d/models").glob("*")}
    assert shipped
    assert shipped <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert wheel.stat().st_size < 10 * 2**20


def test_the_plugin_manager_finds_the_wheel_and_every_command(site: Path) -> None:
    code = """
import json, warnings
warnings.simplefilter("ignore")
from npe2 import PluginManager
from npe2.manifest.utils import import_python_name
manager = PluginManager()
manager.discover()
manifest = manager.get_manifest("napari-genesis")
commands = manifest.contributions.commands
for command in commands:
    assert callable(import_python_name(command.python_name)), command
import genesis3d, napari_genesis
print(json.dumps([genesis3d.__file__, napari_genesis.__file__, len(commands)]))
"""
    engine, plugin, commands = json.loads(run_there(site, code))
    assert Path(engine).is_relative_to(site)
    assert Path(plugin).is_relative_to(site)
    assert commands >= 8


def test_the_command_line_of_the_wheel_answers(site: Path) -> None:
    code = (
        "import subprocess, sys\n"
        "done = subprocess.run([sys.executable, '-m', 'genesis3d', '--help'], capture_output=True, text=True)\n"
        "print(done.returncode, 'pretrain' in done.stdout)"
    )
    assert run_there(site, code) == "0 True"


def test_the_wheel_lists_the_models_that_ship(site: Path) -> None:
    code = (
        "import genesis3d.networks.library as library, json\n"
        "models = library.Library('none').models()\n"
        "print(json.dumps([[m.name, m.shipped, m.problem, str(m.path)] for m in models]))"
    )
    found = json.loads(run_there(site, code))
    assert {name for name, *_ in found} == {path.stem for path in (ROOT / "src/genesis3d/models").glob("*.safetensors")}
    for _name, shipped, problem, path in found:
        assert shipped
        assert problem == ""
        assert Path(path).is_relative_to(site)
