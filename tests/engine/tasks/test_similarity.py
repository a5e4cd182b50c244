"""Similarity against formulas written out voxel by voxel, and against values known in closed form."""

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError
from genesis3d.tasks.similarity import MAX_PSNR, psnr, ssim


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    x = rng.random(shape)
    y = np.clip(0.7 * x + 0.2 + 0.1 * rng.standard_normal(shape), 0, 1)
    return torch.from_numpy(x).float(), torch.from_numpy(y).float()


def by_hand(x: np.ndarray, y: np.ndarray, weights: np.ndarray) -> float:
    """Equation 13 of Wang 2004 in every whole window of one channel, with plain loops in float64."""
    found = []
    places = np.lib.stride_tricks.sliding_window_view
    for a, b in zip(
        places(x, weights.shape).reshape(-1, *weights.shape),
        places(y, weights.shape).reshape(-1, *weights.shape),
        strict=True,
    ):
        ma, mb = (weights * a).sum(), (weights * b).sum()
        va, vb = (weights * (a - ma) ** 2).sum(), (weights * (b - mb) ** 2).sum()
        cov = (weights * (a - ma) * (b - mb)).sum()
        found.append((2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4)))
    return float(np.mean(found))


def weights_of(window: str, sides: tuple[int, ...]) -> np.ndarray:
    axes = [np.arange(n) - n // 2 for n in sides]
    squared = sum(np.square(axis).astype(float) for axis in np.meshgrid(*axes, indexing="ij"))
    weights = np.exp(-squared / (2 * 1.5**2)) if window == "gaussian" else np.ones(sides)
    return weights / weights.sum()


@pytest.mark.parametrize(
    ("window", "size", "sides"),
    [
        ("gaussian", None, (7, 11, 11)),
        ("uniform", None, (7, 7, 7)),
        ("gaussian", 5, (5, 5, 5)),
        ("uniform", 9, (7, 9, 9)),
    ],
)
def test_ssim_is_equation_13_averaged_over_windows_and_channels(window: str, size: int | None, sides: tuple) -> None:
    x, y = pair((2, 2, 8, 13, 12))
    weights = weights_of(window, sides)
    expected = [
        np.mean([by_hand(x[i, c].double().numpy(), y[i, c].double().numpy(), weights) for c in range(2)])
        for i in range(2)
    ]
    got = ssim(x, y, window=window, size=size)
    assert got.shape == (2,)
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-5)


def test_ssim_of_two_constants_is_the_luminance_term() -> None:
    x, y = torch.full((1, 1, 12, 12, 12), 0.25), torch.full((1, 1, 12, 12, 12), 0.75)
    assert float(ssim(x, y)) == pytest.approx((2 * 0.25 * 0.75 + 1e-4) / (0.25**2 + 0.75**2 + 1e-4), abs=1e-4)


def test_equal_sub_volumes_and_order_do_not_matter() -> None:
    x, y = pair((2, 1, 12, 14, 16))
    torch.testing.assert_close(ssim(x, x), torch.ones(2))
    torch.testing.assert_close(psnr(x, x), torch.full((2,), MAX_PSNR))
    torch.testing.assert_close(ssim(x, y), ssim(y, x))
    assert float(ssim(1 - x, x)[0]) < 0  # what is bright where the other is dark


def test_psnr_is_that_of_the_mean_squared_error_of_each_case() -> None:
    x, y = pair((3, 1, 6, 7, 8))
    mse = ((x - y).double() ** 2).mean(dim=(1, 2, 3, 4))
    np.testing.assert_allclose(psnr(x, y).numpy(), -10 * np.log10(mse.numpy()), rtol=1e-5)
    assert float(psnr(torch.zeros(1, 1, 2, 2, 2), torch.full((1, 1, 2, 2, 2), 0.1))) == pytest.approx(20.0, abs=1e-4)


def test_a_case_counts_alone_as_in_a_batch() -> None:
    x, y = pair((4, 1, 12, 12, 12))
    torch.testing.assert_close(ssim(x, y)[2:3], ssim(x[2:3], y[2:3]))
    torch.testing.assert_close(psnr(x, y)[2:3], psnr(x[2:3], y[2:3]))


def test_the_gradient_of_ssim_is_finite_right_and_there_at_equality() -> None:
    x, y = pair((1, 1, 6, 6, 6))
    moving = y.clone().requires_grad_()
    ssim(x, moving).sum().backward()
    assert bool(moving.grad.isfinite().all())
    assert float(moving.grad.abs().max()) > 0
    step = 1e-2 * torch.sign(moving.grad)
    rise = float((ssim(x, y + step) - ssim(x, y - step)).sum()) / 2
    assert rise == pytest.approx(float((moving.grad * step).sum()), rel=0.02)
    same = x.clone().requires_grad_()
    (ssim(x, same).sum() + psnr(x, same).sum()).backward()
    assert bool(same.grad.isfinite().all())


def test_half_precision_around_it_costs_no_accuracy() -> None:
    x, y = pair((1, 1, 12, 12, 12))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = ssim(x, y)
    torch.testing.assert_close(inside, ssim(x, y))
    assert inside.dtype == torch.float32


def test_what_cannot_be_compared_is_refused_with_both_shapes() -> None:
    x = torch.zeros(1, 1, 8, 8, 8)
    with pytest.raises(ConfigError, match=r"\(1, 1, 8, 8, 8\) and \(1, 1, 8, 8, 9\)"):
        psnr(x, torch.zeros(1, 1, 8, 8, 9))
    with pytest.raises(ConfigError, match="one shape"):
        ssim(x[0], x[0])
    with pytest.raises(ConfigError, match="odd number of voxels, got 6"):
        ssim(x, x, size=6)
