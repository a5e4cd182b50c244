from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from genesis3d.data.cases import Case, load_cases
from genesis3d.errors import ConfigError
from genesis3d.training.holdout import hold_out
from genesis3d.training.settings import ValidationSettings

PATCH = (8, 16, 16)


def test_whole_scans_are_held_out_the_same_ones_for_a_seed(balls: list[Case]) -> None:
    loaded = load_cases(balls)
    split = hold_out(loaded, ValidationSettings(), 5, PATCH)
    assert len(split.held_out.names) == 1
    assert sorted(split.held_out.names + split.training.names) == ["ball-0", "ball-1", "ball-2"]
    assert hold_out(loaded, ValidationSettings(), 5, PATCH).held_out.names == split.held_out.names
    drawn = {hold_out(loaded, ValidationSettings(), seed, PATCH).held_out.names[0] for seed in range(20)}
    assert drawn == {"ball-0", "ball-1", "ball-2"}
    assert split.how.startswith("1 of 3 scans: ball-")


def test_by_number_and_by_name(balls: list[Case]) -> None:
    loaded = load_cases(balls)
    assert len(hold_out(loaded, ValidationSettings(cases=2), 0, PATCH).held_out.names) == 2
    named = hold_out(loaded, ValidationSettings(names=("ball-2",)), 0, PATCH)
    assert named.held_out.names == ["ball-2"]
    assert named.training.keys == [balls[0].key, balls[1].key]
    with pytest.raises(ConfigError, match=r"expected one of ball-0, ball-1, ball-2, got 'cube'"):
        hold_out(loaded, ValidationSettings(names=("cube",)), 0, PATCH)
    with pytest.raises(ConfigError, match="fewer scans held out than there are"):
        hold_out(loaded, ValidationSettings(cases=3), 0, PATCH)


def test_of_a_single_scan_a_slab_that_training_never_sees(balls: list[Case]) -> None:
    loaded = load_cases(balls[:1])
    split = hold_out(loaded, ValidationSettings(hold_out=0.2), 0, PATCH)
    rest, slab = split.training.volumes[0], split.held_out.volumes[0]
    assert rest.geometry.shape == (16, 32, 32)
    assert slab.geometry.shape == (8, 32, 32)
    assert split.held_out.offset == (16, 0, 0)
    assert np.array_equal(np.concatenate([rest.data, slab.data], axis=1), loaded.volumes[0].data)
    assert np.shares_memory(slab.data, loaded.volumes[0].data)
    assert split.how == "the last 8 of 24 voxels along D of ball-0"


def test_what_is_too_small_to_split_is_said(balls: list[Case], tmp_path: Path) -> None:
    loaded = load_cases(balls[:1])
    split = hold_out(loaded, ValidationSettings(), 0, (16, 32, 32))
    assert split.training.volumes[0] is split.held_out.volumes[0]
    assert "nothing is held out" in split.warning
    assert "nothing is held out" in hold_out(load_cases(balls), ValidationSettings(hold_out=0), 0, PATCH).warning
