from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.data.augmenting import AUGMENTATIONS, Augmentation, augmentation_preset
from genesis3d.errors import ConfigError
from genesis3d.labels import IGNORE
from genesis3d.rng import Address

PATCH = (16, 24, 24)


def cornered(size: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """An image with a bright corner region about its centre, and its label."""
    labels = np.zeros((1, *size), np.uint8)
    centre = [n // 2 for n in size]
    labels[0, centre[0] - 4 : centre[0], centre[1] - 6 : centre[1] + 2, centre[2] - 5 : centre[2] + 4] = 1
    return labels.astype(np.float32), labels


def applied(
    settings: Augmentation, step: int, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
) -> tuple[torch.Tensor, torch.Tensor]:
    made = settings.draw(PATCH, spacing, Address(5, step))
    x, y = made.apply(*cornered(made.size))
    assert x.shape == y.shape == (1, *PATCH)
    return x, y


@pytest.mark.parametrize("name", ["none", "paper", "default"])
def test_every_preset_keeps_shape_type_and_range(name: str) -> None:
    for step in range(12):
        x, y = applied(augmentation_preset(name), step, (2.0, 1.0, 1.0))
        assert x.dtype == torch.float32
        assert y.dtype == torch.uint8
        assert float(x.min()) >= 0
        assert float(x.max()) <= 1
        assert set(y.unique().tolist()) <= {0, 1, IGNORE}


def test_none_changes_nothing() -> None:
    x, y = applied(AUGMENTATIONS["none"], 0)
    image, labels = cornered(PATCH)
    np.testing.assert_array_equal(x.numpy(), image)
    np.testing.assert_array_equal(y.numpy(), labels)


GEOMETRY = [
    {"flip_axes": (0, 1, 2)},
    {"flip_axes": (0, 1, 2), "transpose": 1.0},
    {"quarter_turns": 1.0},
    {"affine": 1.0},
    {"flip_axes": (0, 1, 2), "transpose": 0.5, "quarter_turns": 0.5, "affine": 1.0},
]


@pytest.mark.parametrize("settings", GEOMETRY)
def test_image_and_labels_move_together(settings: dict[str, Any]) -> None:
    moved = 0
    for step in range(15):
        x, y = applied(Augmentation.parse(settings), step)
        known = y != IGNORE
        agree = ((x > 0.5) == (y == 1))[known].float().mean()
        assert agree > 0.99
        assert (y == 1).any()
        moved += not np.array_equal(y.numpy(), cornered(PATCH)[1])
    assert moved >= 10


def test_a_draw_is_a_function_of_its_address() -> None:
    one, two = (applied(AUGMENTATIONS["default"], 4) for _ in range(2))
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert not torch.equal(one[0], applied(AUGMENTATIONS["default"], 5)[0])


def test_axes_that_are_not_to_be_mirrored_are_not() -> None:
    settings = Augmentation(flip_axes=(0, 1), transpose=1.0)
    for step in range(20):
        turn = settings.draw(PATCH, (1, 1, 1), Address(0, step)).turn
        assert turn.permutation == (0, 1, 2)
        assert not turn.flips[2]


def test_quarter_turns_never_mirror() -> None:
    settings = Augmentation(quarter_turns=1.0)
    for step in range(20):
        turn = settings.draw(PATCH, (1, 1, 1), Address(0, step)).turn
        matrix = np.zeros((3, 3))
        for axis, (source, flip) in enumerate(zip(turn.permutation, turn.flips, strict=True)):
            matrix[axis, source] = -1 if flip else 1
        assert np.linalg.det(matrix) == 1


def test_thick_slices_are_rotated_in_their_plane_and_axes_not_exchanged() -> None:
    settings = Augmentation(affine=1.0, transpose=1.0, quarter_turns=1.0, flip_axes=(0, 1, 2), scale=(1.0, 1.0))
    for step in range(10):
        made = settings.draw(PATCH, (5.0, 1.0, 1.0), Address(0, step))
        assert made.turn.permutation[0] == 0
        assert made.matrix is not None
        np.testing.assert_allclose(made.matrix[0], [1, 0, 0], atol=1e-12)


def test_a_rotation_is_one_in_millimetres() -> None:
    spacing = np.array([2.0, 1.0, 1.0])
    made = Augmentation(affine=1.0, scale=(1.0, 1.0)).draw(PATCH, tuple(spacing), Address(0, 1))
    assert made.matrix is not None
    rotation = np.diag(spacing) @ made.matrix @ np.diag(1 / spacing)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)


def test_beyond_the_source_nothing_is_labelled() -> None:
    settings = Augmentation(affine=1.0, degrees=0.0, scale=(0.5, 0.5))
    made = settings.draw(PATCH, (1, 1, 1), Address(0))
    assert all(n >= 1.9 * p for n, p in zip(made.size, PATCH, strict=True))
    small = (np.ones((1, *PATCH), np.float32), np.zeros((1, *PATCH), np.uint8))
    x, y = made.apply(*small)
    assert (y[0, 0] == IGNORE).all()
    assert torch.allclose(x, torch.ones_like(x))


def test_wrong_settings_are_one_sentence() -> None:
    with pytest.raises(ConfigError, match="expected one of none, paper, default, got 'more'"):
        augmentation_preset("more")
    with pytest.raises(ConfigError, match="scale"):
        Augmentation.parse({"scale": (1.4, 0.7)})
    with pytest.raises(ConfigError, match="axes"):
        Augmentation.parse({"flip_axes": (0, 3)})
