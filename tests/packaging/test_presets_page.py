"""docs/presets.md is what the code says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from genesis3d.transforms import CHAIN_PRESETS
from genesis3d.workflows.pretrain_config import PRETRAIN_PRESETS, SCHEMES

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_of_presets_is_up_to_date() -> None:
    command = [sys.executable, str(ROOT / "docs" / "presets.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_names_every_preset_chain_and_scheme() -> None:
    page = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8")
    for name in (*PRETRAIN_PRESETS, *CHAIN_PRESETS, *SCHEMES):
        assert f"`{name}`" in page
