"""The intensity curve: oracle, monotony, both directions, fixed control points."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import NonLinear, Params, curve, plain_path, select

SHAPE = (1, 4, 50, 50)
RAMP = torch.linspace(0, 1, 10_000).reshape(1, *SHAPE)
unit = st.floats(0, 1, width=32)


def _params(control: tuple[float, ...], decreasing: bool) -> Params:
    return {"control": np.array([control]), "decreasing": np.array([decreasing])}


def test_it_follows_the_published_look_up(reference: ModuleType) -> None:
    errors = []
    for slot in range(60):
        params = NonLinear().draw(SHAPE, [Address(3, 0, slot)])
        expected = reference.curved(RAMP.numpy().ravel(), params["control"][0], params["decreasing"][0])
        errors.append(np.abs(NonLinear().apply(RAMP, params).numpy().ravel() - expected))
    assert np.max(errors) < 2e-4
    assert np.median(np.max(errors, axis=1)) < 1e-5


@settings(max_examples=150, deadline=None)
@example(control=(1.0, 0.0, 1.0, 0.0), decreasing=False)
@example(control=(0.0, 1.0, 0.0, 1.0), decreasing=True)
@given(control=st.tuples(unit, unit, unit, unit), decreasing=st.booleans())
def test_every_curve_is_monotone_between_its_ends_on_both_paths(
    control: tuple[float, float, float, float], decreasing: bool
) -> None:
    params = _params(control, decreasing)
    out = NonLinear().apply(RAMP, params)
    with plain_path():
        assert torch.equal(NonLinear().apply(RAMP, params), out)
    values = out.flatten()
    if decreasing:
        values = values.flip(0)
    # a piece may end a rounding above the next one's start
    assert float(values.diff().min()) >= -1e-6
    assert float(values[0]) == 0
    assert float(values[-1]) == 1


def test_the_falling_branch_is_the_bezier_curve_from_0_1_to_1_0() -> None:
    x1, y1, x2, y2 = 0.2, 0.9, 0.7, 0.35
    t = np.linspace(0, 1, 20_001)
    basis = np.stack([(1 - t) ** 3, 3 * (1 - t) ** 2 * t, 3 * (1 - t) * t**2, t**3])
    x = np.array([0, x1, x2, 1]) @ basis
    y = np.array([1, y2, y1, 0]) @ basis
    out = NonLinear().apply(RAMP, _params((x1, y1, x2, y2), True)).numpy().ravel()
    assert np.abs(out - np.interp(RAMP.numpy().ravel(), x, y)).max() < 1e-5
    rising = NonLinear().apply(RAMP, _params((x1, y1, x2, y2), False)).numpy().ravel()
    assert np.abs(out - (1 - rising)).max() > 0.05, "it is not one minus the rising curve"


@pytest.mark.parametrize("decreasing", [False, True])
def test_the_plotted_curve_is_the_applied_one(decreasing: bool) -> None:
    params = _params((0.1, 0.8, 0.6, 0.7), decreasing)
    x, y = curve(select(params, 0), 2001)
    assert x[0] == 0
    assert x[-1] == 1
    out = NonLinear().apply(RAMP, params).numpy().ravel()
    assert np.abs(out - np.interp(RAMP.numpy().ravel(), x, y)).max() < 1e-5


def test_directions_lines_and_fixed_points() -> None:
    addresses = [Address(0, 0, i) for i in range(2000)]
    drawn = NonLinear().draw(SHAPE, addresses)
    assert drawn["decreasing"].mean() == pytest.approx(0.5, abs=0.04)
    assert drawn["control"].mean() == pytest.approx(0.5, abs=0.02)
    assert NonLinear(p_decreasing=0.2).draw(SHAPE, addresses)["decreasing"].mean() == pytest.approx(0.2, abs=0.03)
    assert not NonLinear(direction="increasing").draw(SHAPE, addresses)["decreasing"].any()
    assert NonLinear(direction="decreasing").draw(SHAPE, addresses)["decreasing"].all()
    lines = NonLinear(p_linear=0.3).draw(SHAPE, addresses)["control"]
    assert np.mean((lines == [0, 0, 1, 1]).all(axis=1)) == pytest.approx(0.3, abs=0.04)
    fixed = NonLinear(control_points=(0.1, 0.2, 0.3, 0.4), p_linear=1).draw(SHAPE, addresses[:3])["control"]
    assert fixed.tolist() == [[0.1, 0.2, 0.3, 0.4]] * 3


def test_a_line_is_the_identity_or_its_mirror() -> None:
    rising = NonLinear().apply(RAMP, _params((0, 0, 1, 1), False))
    falling = NonLinear().apply(RAMP, _params((0, 0, 1, 1), True))
    assert torch.allclose(rising, RAMP, atol=1e-6)
    assert torch.allclose(falling, 1 - RAMP, atol=1e-6)


def test_other_settings_leave_the_draw_as_it_was() -> None:
    one = NonLinear().sample(SHAPE, Address(5))
    other = NonLinear(p_decreasing=1.0).sample(SHAPE, Address(5))
    assert np.array_equal(one["control"], other["control"])


def test_control_points_outside_the_unit_square_are_refused() -> None:
    with pytest.raises(ConfigError, match="control_points"):
        NonLinear.parse({"control_points": [0, 0, 1.2, 1]})
