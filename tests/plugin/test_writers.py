"""writers.py: layers return to files on the scan's own grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from napari.layers import Image, Labels
from scipy.spatial.transform import Rotation

from genesis3d.errors import ScanError
from genesis3d.io import read_volume
from genesis3d.volume import Geometry, Volume
from napari_genesis.layers import layer_data
from napari_genesis.writers import write_image, write_labels


def oblique() -> Volume:
    turn = Rotation.from_euler("zyx", (100, 7, -4), degrees=True).as_matrix()
    geometry = Geometry((3, 4, 5), (2, 0.5, 0.75), (-10, 20, 30), tuple(map(tuple, turn.tolist())))
    return Volume(np.arange(60, dtype=np.int16).reshape(1, 3, 4, 5), geometry, name="scan")


def test_an_image_is_written_on_its_scan_s_grid(tmp_path: Path) -> None:
    scan = oblique()
    array, options, _ = layer_data(scan)
    path = str(tmp_path / "out.nrrd")
    assert write_image(path, *Image(array, **options).as_layer_data_tuple()[:2]) == [path]
    volume = read_volume(path)
    assert volume.geometry.matches(scan.geometry, 1e-6)
    np.testing.assert_array_equal(volume.data, scan.data)


def test_labels_are_written_as_small_whole_numbers(tmp_path: Path) -> None:
    scan = oblique().with_data(np.full((3, 4, 5), 300, np.int64))
    array, options, _ = layer_data(scan, "labels")
    path = str(tmp_path / "out.mha")
    write_labels(path, *Labels(array, **options).as_layer_data_tuple()[:2])
    volume = read_volume(path)
    assert volume.data.dtype == np.uint16
    np.testing.assert_array_equal(volume.data, scan.data)
    assert volume.geometry.matches(scan.geometry, 1e-6)


def test_what_is_no_volume_is_not_written(tmp_path: Path) -> None:
    picture = Image(np.zeros((3, 4, 5, 3), np.uint8), rgb=True)
    with pytest.raises(ScanError, match="RGB"):
        write_image(str(tmp_path / "out.mha"), *picture.as_layer_data_tuple()[:2])
    assert list(tmp_path.iterdir()) == []


def test_napari_saves_through_the_writer(viewer: Any, tmp_path: Path, npe2pm: Any) -> None:
    from npe2 import PluginManifest

    import napari_genesis

    npe2pm.register(PluginManifest.from_file(Path(napari_genesis.__file__).with_name("napari.yaml")))
    array, options, _ = layer_data(oblique())
    viewer.add_image(array, **options)
    target = str(tmp_path / "saved.nii.gz")
    assert viewer.layers[0].save(target, plugin="napari-genesis") == [target]
    np.testing.assert_array_equal(read_volume(target).data, oblique().data)
