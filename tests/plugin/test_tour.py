"""The tour of ``make run``: its steps up to training, in a window that is shown, with pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from napari_genesis.tour import Tour, healthy_phantoms


@pytest.mark.usefixtures("known_plugin")
def test_scan_and_preview_leave_pictures(make_napari_viewer: Any, tmp_path: Path) -> None:
    from PIL import Image

    viewer = make_napari_viewer(show=True)
    tour = Tour(viewer, tmp_path)
    layer = tour.open_scan(None)
    assert viewer.layers.selection.active is layer
    tour.show_scan()
    tour.show_preview(layer)
    pictures = sorted(tmp_path.glob("*.png"))
    assert [p.stem for p in pictures] == ["01-scan-three-planes", "02-preview", "03-preview-3d"]
    for path in pictures:
        assert np.asarray(Image.open(path).convert("L")).std() > 20, f"{path.name} shows nothing"
    assert viewer.dims.ndisplay == 2


def test_phantoms_to_train_on_keep_what_they_are() -> None:
    from genesis3d.io import read_volume

    paths = healthy_phantoms(1)
    assert read_volume(paths[0]).unit == "HU"
    assert healthy_phantoms(1) == paths
