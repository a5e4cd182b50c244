"""What an import may cost: nothing heavy before it is used."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "napari", "qtpy", "PyQt6", "PySide6", "SimpleITK", "pydicom", "numba", "lightning_fabric", "scipy",
         "matplotlib", "zarr", "numcodecs", "fsspec"]  # fmt: skip


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys, json\nprint(json.dumps([n for n in {HEAVY} if n in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    "statement",
    [
        "import napari_genesis",
        "import genesis3d",
        "from genesis3d.cli import build_app; build_app()",
        "import genesis3d.io, genesis3d.volume, genesis3d.intensity",
        "from genesis3d.transforms import TRANSFORMS, CHAIN_PRESETS; TRANSFORMS.names()",
        "from genesis3d.networks import NETWORKS; NETWORKS.names()",
        "from genesis3d.tasks import TASKS; TASKS.names()",
        "from genesis3d.workflows.pretrain import PretrainConfig",
        "from genesis3d.workflows.anomaly import AnomalyConfig",
        "from genesis3d.workflows.weights import export_weights, import_weights",
        "from genesis3d.workflows.gallery import GalleryConfig",
        "from genesis3d.workflows.models import ImportConfig; from genesis3d.networks.library import Library; "
        "Library().models()",
        "from genesis3d.workflows.prepare import PrepareConfig, prepare",
        "import napari_genesis.readers, napari_genesis.writers, napari_genesis.sample_data",
    ],
)
def test_an_import_loads_nothing_heavy(statement: str) -> None:
    assert loaded_by(statement) == set()


def test_the_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nsys.argv = ['genesis3d', '--help']\nfrom genesis3d.cli import main\n"
        f"try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code in (0, None)\n"
        f"print([n for n in {HEAVY} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    for verb in ("info", "convert", "prepare", "pretrain", "restore", "anomaly", "models", "gallery", "curves"):
        assert verb in done.stdout
