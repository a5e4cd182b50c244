"""In- and out-painting: oracle, the measured hidden shares, fills and the area limit."""

from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms import Inpainting, Outpainting, Params, plain_path
from genesis3d.transforms.boxes import covered, union

OFFICIAL = (1, 32, 64, 64)
both = pytest.mark.parametrize("kind", [Inpainting, Outpainting])


def _draw(transform: Inpainting | Outpainting, n: int, shape: tuple[int, int, int, int] = OFFICIAL) -> Params:
    return transform.draw(shape, [Address(11, 0, i) for i in range(n)])


@both
def test_it_is_the_plain_loop_over_voxels(reference: ModuleType, kind: type) -> None:
    shape = (2, 14, 15, 16)
    x = torch.rand((2, *shape), generator=torch.Generator().manual_seed(0))
    params = _draw(kind(), 2, shape)
    out = kind().apply(x, params)
    for i in range(2):
        start, stop, key = params["start"][i], params["stop"][i], int(params["key"][i])
        assert np.array_equal(out[i].numpy(), reference.painted(x[i].numpy(), start, stop, key, kind.inside))


def test_in_painting_hides_as_much_as_the_published_code() -> None:
    hidden = Inpainting().masked_fraction(_draw(Inpainting(), 2000))
    assert hidden.mean() == pytest.approx(0.055, abs=0.003)
    low, high = np.percentile(hidden, [5, 95])
    assert low == pytest.approx(0, abs=0.01)
    assert high == pytest.approx(0.082, abs=0.004)
    assert hidden.max() < 0.12


def test_out_painting_hides_as_much_as_the_published_code() -> None:
    hidden = Outpainting().masked_fraction(_draw(Outpainting(), 2000))
    assert hidden.mean() == pytest.approx(0.68, abs=0.01)
    low, high = np.percentile(hidden, [5, 95])
    assert low == pytest.approx(0.61, abs=0.015)
    assert high == pytest.approx(0.82, abs=0.02)
    assert 0.5 < hidden.min() < 0.58
    assert 0.85 < hidden.max() < 0.94


def test_boxes_have_the_published_numbers_sizes_and_margins() -> None:
    inner, outer = _draw(Inpainting(), 3000), _draw(Outpainting(), 3000)
    count = (inner["stop"][..., 0] > 0).sum(axis=1)
    assert np.mean(count == 0) == pytest.approx(0.05, abs=0.015)
    assert np.mean(count == 5) == pytest.approx(0.774, abs=0.03)
    assert (outer["stop"][:, 0] > 0).all(), "one box is always left to see"
    for params, limits in ((inner, ([5, 10, 10], [10, 21, 21])), (outer, ([14, 28, 28], [18, 37, 37]))):
        there = params["stop"][..., 0] > 0
        extent = (params["stop"] - params["start"])[there]
        assert extent.min(axis=0).tolist() == limits[0]
        assert (extent.max(axis=0) <= np.add(limits[1], [1, 0, 0])).all()
        assert params["start"][there].min() == 3
        assert (np.asarray(OFFICIAL[1:]) - params["stop"][there]).min() == 3


@both
def test_noise_is_uniform_and_the_rest_untouched(kind: type) -> None:
    x = torch.full((1, *OFFICIAL), 0.25)
    params = _draw(kind(), 1)
    out = kind().apply(x, params)
    mask = union(params["start"][0], params["stop"][0], OFFICIAL[1:])
    hidden = torch.from_numpy(mask if kind.inside else ~mask)
    noise = out[0, 0][hidden]
    assert float(noise.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(noise.var()) == pytest.approx(1 / 12, abs=0.005)
    assert bool((out[0, 0][~hidden] == 0.25).all())


@both
def test_noise_of_channels(kind: type) -> None:
    shape = (2, 16, 16, 16)
    x = torch.zeros((1, *shape))
    out = kind().apply(x, _draw(kind(), 1, shape))[0]
    assert torch.equal(out[0], out[1]) == kind.inside, "one noise for all channels inside, one each outside"


@both
@pytest.mark.parametrize("fill", ["constant", "mean"])
def test_other_fills(kind: type, fill: str) -> None:
    shape = (2, 16, 18, 20)
    x = torch.rand((3, *shape), generator=torch.Generator().manual_seed(2))
    transform = kind(fill=fill)
    params = _draw(transform, 3, shape)
    out = transform.apply(x, params)
    with plain_path():
        assert torch.equal(transform.apply(x, params), out)
    for i in range(3):
        mask = union(params["start"][i], params["stop"][i], shape[1:])
        hidden = torch.from_numpy(mask if kind.inside else ~mask)
        assert bool(hidden.any())
        for c in range(2):
            values = out[i, c][hidden].unique()
            expected = float(params["value"][i]) if fill == "constant" else float(x[i, c].mean())
            assert len(values) == 1
            assert float(values[0]) == pytest.approx(expected, abs=1e-6)


@both
@pytest.mark.parametrize("limit", [0.04, 0.25, 0.5])
def test_the_hidden_share_can_be_limited(kind: type, limit: float) -> None:
    free = kind(boxes=10).masked_fraction(_draw(kind(boxes=10), 200))
    transform = kind(boxes=10, max_masked_fraction=limit)
    params = _draw(transform, 200)
    hidden = transform.masked_fraction(params)
    assert hidden.max() <= limit
    over = free > limit
    assert np.array_equal(hidden[~over], free[~over]), "what keeps the limit stays as it was"
    if over.any():
        assert np.mean(hidden[over]) > 0.7 * limit, "what exceeds it comes close to it"
    assert params["start"].min() >= 0
    assert (params["stop"].max(axis=(0, 1)) <= OFFICIAL[1:]).all()


def test_the_share_is_the_mask_counted() -> None:
    for params, transform in ((_draw(kind(boxes=8), 40), kind(boxes=8)) for kind in (Inpainting, Outpainting)):
        for i, share in enumerate(transform.masked_fraction(params)):
            mask = union(params["start"][i], params["stop"][i], OFFICIAL[1:])
            assert share == pytest.approx(mask.mean() if transform.inside else 1 - mask.mean(), abs=1e-12)
    nothing = np.zeros((3, 3), np.int32)
    assert covered(nothing, nothing, (4, 4, 4)) == 0


def test_edited_boxes_are_what_is_painted() -> None:
    x = torch.zeros(1, 1, 8, 8, 8)
    params = _draw(Inpainting(margin=0), 1, (1, 8, 8, 8))
    params["start"][:] = params["stop"][:] = 0
    params["start"][0, 2], params["stop"][0, 2] = (1, 2, 3), (4, 5, 8)
    transform = Inpainting(fill="constant")
    params["value"][:] = 0.75
    out = transform.apply(x, params)[0, 0]
    assert bool((out[1:4, 2:5, 3:8] == 0.75).all())
    assert int((out > 0).sum()) == 3 * 3 * 5
    assert transform.outcome(params, 0) == "in-painting (9 % hidden)"


@both
def test_sizes_that_do_not_fit_are_refused(kind: type) -> None:
    with pytest.raises(ConfigError, match="along D"):
        kind().sample((1, 6, 64, 64), Address(0))
    with pytest.raises(ConfigError, match="smallest <= largest"):
        kind.parse({"smallest": 0.9})
    with pytest.raises(ConfigError, match="boxes drawn for"):
        kind().apply(torch.zeros(1, 1, 16, 16, 16), _draw(kind(), 1))
