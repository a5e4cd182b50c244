"""What values mean when a file does not say."""

from __future__ import annotations

import numpy as np
import pytest

from genesis3d.io.meaning import guess_ct, note_padding
from genesis3d.volume import Geometry, Volume


def volume_of(low: float, high: float, dtype: str = "int16", modality: str | None = None) -> Volume:
    values = np.linspace(low, high, 20 * 30 * 40).reshape(1, 20, 30, 40).astype(dtype)
    return Volume(data=values, geometry=Geometry((20, 30, 40)), modality=modality)


@pytest.mark.parametrize(("low", "high"), [(-1024, 1500), (-3024, 3071), (-1000, 400)])
@pytest.mark.parametrize("dtype", ["int16", "int32", "float32"])
def test_values_like_those_of_a_ct_are_taken_as_hu_and_said(low: int, high: int, dtype: str) -> None:
    volume = guess_ct(volume_of(low, high, dtype))
    assert (volume.modality, volume.unit) == ("CT", "HU")
    assert f"values run from {low} to {high}" in volume.notes[0]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 255), (0, 4095), (-100, 1000), (-1024, -950), (-1000, 50), (-32768, 32767), (0, 1)]
)
def test_other_values_are_not(low: int, high: int) -> None:
    volume = volume_of(low, high)
    assert guess_ct(volume) is volume


def test_a_single_stray_voxel_makes_no_ct() -> None:
    volume = volume_of(0, 1000)
    volume.data[0, 0, 0, 0] = -1000
    assert guess_ct(volume) is volume


def test_what_the_file_says_is_not_guessed_at() -> None:
    volume = volume_of(-1024, 1500, modality="MR")
    assert guess_ct(volume) is volume


def test_padding_below_air_is_said() -> None:
    assert "values down to -2048 HU" in note_padding(guess_ct(volume_of(-2048, 1500))).notes[-1]
    air = guess_ct(volume_of(-1024, 1500))
    assert note_padding(air) is air
