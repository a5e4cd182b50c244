"""What the pages show runs, and what they name exists."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what snippets name: scan.nii.gz, scans/, a DICOM folder and a run with a model."""
    from genesis3d.data.phantoms import thorax
    from genesis3d.io import write_volume
    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    folder = tmp_path_factory.mktemp("material")
    for name in ("scans", "folder", "run/checkpoints"):
        (folder / name).mkdir(parents=True)
    scan = thorax(shape=(48, 96, 96))
    for name in ("scan.nii.gz", "scans/a.mha", "scans/b.mha"):
        write_volume(scan, folder / name)
    write_dicom(folder / "folder")
    network = UNet3d(width=4)
    write_model(folder / "run/checkpoints/last.safetensors", network.build(), ModelCard(network=network))
    return folder


def write_dicom(folder: Path) -> None:
    import numpy as np
    import SimpleITK as sitk

    for z in range(4):
        image = sitk.GetImageFromArray(np.full((1, 16, 16), z, np.int16))
        image.SetMetaData("0008|0060", "CT")
        image.SetMetaData("0020|000e", "1.2.3.4")
        image.SetMetaData("0020|0032", f"0\\0\\{2 * z}")
        image.SetMetaData("0020|0037", "1\\0\\0\\0\\1\\0")
        writer = sitk.ImageFileWriter()
        writer.KeepOriginalImageUIDOn()
        writer.SetFileName(str(folder / f"{z}.dcm"))
        writer.Execute(image)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_snippets_run(page: Path, tmp_path: Path, material: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S)
    if not blocks:
        return
    shutil.copytree(material, tmp_path, dirs_exist_ok=True)
    script = tmp_path / f"{page.stem}.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_commands_shown_exist(page: Path) -> None:
    from genesis3d.cli import build_app

    app = build_app()
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    known |= {group.name for group in app.registered_groups}
    shown = set(re.findall(r"^genesis3d ([a-z]+)", page.read_text(encoding="utf-8"), re.M))
    assert shown <= known, f"{page.name} shows commands that do not exist: {shown - known}"
