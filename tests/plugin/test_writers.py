"""writers.py: layers return to files on the scan's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from scipy.spatial.transform import Rotation

import genesis3d.io
from genesis3d.errors import ScanError
from genesis3d.volume import Geometry, Volume
from napari_genesis.layers import layer_data
from napari_genesis.writers import write_image, write_labels


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Volume, str]]:
    calls: list[tuple[Volume, str]] = []
    monkeypatch.setattr(
        genesis3d.io, "write_volume", lambda volume, path: calls.append((volume.as_source(), path)), raising=False
    )
    return calls


def oblique() -> Volume:
    turn = Rotation.from_euler("zyx", (100, 7, -4), degrees=True).as_matrix()
    geometry = Geometry((3, 4, 5), (2, 0.5, 0.75), (-10, 20, 30), tuple(map(tuple, turn.tolist())))
    return Volume(np.arange(60, dtype=np.int16).reshape(1, 3, 4, 5), geometry, name="scan")


def test_an_image_is_written_on_its_scan_s_grid(written: Any) -> None:
    scan = oblique()
    array, options, _ = layer_data(scan)
    assert write_image("out.nii.gz", *Image(array, **options).as_layer_data_tuple()[:2]) == ["out.nii.gz"]
    volume, path = written[0]
    assert path == "out.nii.gz"
    assert volume.geometry.matches(scan.geometry, 1e-6)
    np.testing.assert_array_equal(volume.data, scan.data)


def test_labels_are_written_as_small_whole_numbers(written: Any) -> None:
    scan = oblique().with_data(np.full((3, 4, 5), 300, np.int64))
    array, options, _ = layer_data(scan, "labels")
    write_labels("out.nrrd", *Labels(array, **options).as_layer_data_tuple()[:2])
    volume = written[0][0]
    assert volume.data.dtype == np.uint16
    np.testing.assert_array_equal(volume.data, scan.data)
    assert volume.geometry.matches(scan.geometry, 1e-6)


def test_what_is_no_volume_is_not_written(written: Any) -> None:
    with pytest.raises(ScanError, match="RGB"):
        write_image("out.mha", *Image(np.zeros((3, 4, 5, 3), np.uint8), rgb=True).as_layer_data_tuple()[:2])
    assert written == []


def test_napari_saves_through_the_writer(viewer: Any, written: Any, tmp_path: Path, npe2pm: Any) -> None:
    from npe2 import PluginManifest

    import napari_genesis

    npe2pm.register(PluginManifest.from_file(Path(napari_genesis.__file__).with_name("napari.yaml")))
    array, options, _ = layer_data(oblique())
    viewer.add_image(array, **options)
    target = str(tmp_path / "saved.nii.gz")
    viewer.layers[0].save(target, plugin="napari-genesis")
    assert written[0][1] == target
