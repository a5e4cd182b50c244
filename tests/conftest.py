"""Shared by all tests: thread limits before torch is loaded, fixed home folders, and the leak gate."""

from __future__ import annotations

import importlib.abc
import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "2")

WINDOWED = {"napari", "qtpy", "PyQt6", "PySide6", "PyQt5", "magicgui", "superqt", "psygnal", "pyqtgraph", "vispy"}


class _NoWindows(importlib.abc.MetaPathFinder):
    """Refuses Qt and napari as if they were not installed: the engine must not need them."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if name.partition(".")[0] in WINDOWED:
            raise ModuleNotFoundError(f"No module named {name!r} (blocked: the engine runs without it)", name=name)


if os.environ.get("GENESIS_NO_QT"):
    sys.meta_path.insert(0, _NoWindows())


@pytest.fixture(autouse=True)
def _own_home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing a test does may touch the user's settings or data."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("GENESIS_HOME", str(home))


@pytest.fixture(autouse=True)
def _no_leaked_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a Python thread of ours (named ``genesis-*``) running, and name it."""
    yield
    deadline = time.monotonic() + 5
    while alive := [t.name for t in threading.enumerate() if t.name.startswith("genesis-")]:
        if time.monotonic() > deadline:
            pytest.fail(f"{request.node.nodeid} left threads running: {alive}")
        time.sleep(0.02)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans, or skip: set GENESIS_DATA to it."""
    folder = os.environ.get("GENESIS_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("GENESIS_DATA does not point to real scans")
    return Path(folder)
