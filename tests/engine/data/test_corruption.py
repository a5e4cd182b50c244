"""Labels grown and shrunk by millimetres."""

from __future__ import annotations

import numpy as np

from genesis3d.data.corruption import corrupted
from genesis3d.labels import IGNORE
from genesis3d.volume import Geometry, Volume


def labels() -> Volume:
    data = np.zeros((1, 9, 12, 12), np.uint8)
    data[0, 3:6, 3:6, 3:6] = 1
    data[0, 3:6, 3:6, 8:10] = 2
    return Volume(data, Geometry((9, 12, 12), (2.0, 1.0, 1.0)))


def test_dilation_reaches_so_many_millimetres_along_each_axis() -> None:
    grown = corrupted(labels(), 1.0).data[0]
    assert grown[4, 2:7, 4].tolist() == [1] * 5
    assert grown[4, 1, 4] == 0
    assert grown[2, 4, 4] == 0  # 2 mm away
    assert corrupted(labels(), 2.0).data[0, 2, 4, 4] == 1


def test_classes_never_take_each_other_and_the_nearer_wins() -> None:
    grown = corrupted(labels(), 3.0).data[0]
    assert (grown[3:6, 3:6, 3:6] == 1).all()
    assert (grown[3:6, 3:6, 8:10] == 2).all()
    assert (grown[4, 4, 6], grown[4, 4, 7]) == (1, 2)


def test_erosion_shrinks_every_class_by_itself() -> None:
    shrunk = corrupted(labels(), -1.0).data[0]
    assert np.argwhere(shrunk == 1).tolist() == [[3, 4, 4], [4, 4, 4], [5, 4, 4]]
    assert not (shrunk == 2).any()


def test_unlabelled_voxels_stay_and_erode_nothing() -> None:
    volume = labels()
    volume.data[0, :, :, :4] = np.where(volume.data[0, :, :, :4] == 0, IGNORE, volume.data[0, :, :, :4])
    for radius in (-1.0, 1.0):
        assert ((corrupted(volume, radius).data == IGNORE) == (volume.data == IGNORE)).all()
    assert corrupted(volume, -1.0).data[0, 4, 4, 3] == 1
    assert corrupted(volume, 0.0) is volume
