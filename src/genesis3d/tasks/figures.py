"""How good a restoration is, beside what costs nothing: the figures every run's report carries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["average_precision", "case_figures", "median3", "restoration_figures"]


def median3(x: Tensor) -> Tensor:
    """Return the 3x3x3 median of ``x`` (B, C, D, H, W), its border repeated; one sub-volume at a time in memory."""
    import torch
    from torch.nn import functional

    padded = functional.pad(x, (1,) * 6, mode="replicate")
    result = torch.empty_like(x)
    for case, out in zip(padded, result, strict=True):
        windows = case.unfold(1, 3, 1).unfold(2, 3, 1).unfold(3, 3, 1)
        out.copy_(windows.reshape(*out.shape, 27).median(dim=-1).values)
    return result


def restoration_figures(input: Tensor, target: Tensor, output: Tensor | None = None) -> dict[str, float]:
    """Return mean squared errors against ``target``, all (B, C, D, H, W) in [0, 1].

    ``mse_input``: the transformed input as it is; ``mse_constant``: the best constant per sub-volume and channel, its
    own mean; ``mse_median``: a 3x3x3 median of the input; and, with an ``output``, ``mse_network`` and ``ratio``, the
    network's error over the best constant's (below 1 is better than a constant).
    """
    import torch

    def mse(x: Tensor) -> float:
        return float((x.float() - target.float()).square().mean(dtype=torch.float64))

    with torch.no_grad():
        figures = {
            "mse_input": mse(input),
            "mse_constant": mse(target.float().mean(dim=(2, 3, 4), keepdim=True)),
            "mse_median": mse(median3(input.float())),
        }
        if output is not None:
            figures["mse_network"] = mse(output)
            figures["ratio"] = figures["mse_network"] / max(figures["mse_constant"], 1e-12)
    return figures


def case_figures(output: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Return figures of every case, each (B,) float32, of ``output`` against ``target``, (B, C, D, H, W) in [0, 1].

    ``mse``; ``constant``, the mean squared error of the best constant per channel; ``psnr`` in dB; ``ssim``.
    """
    import torch

    from genesis3d.tasks.similarity import psnr, ssim

    with torch.no_grad():
        output, target = output.float(), target.float()
        mean = target.mean(dim=(2, 3, 4), keepdim=True)
        return {
            "mse": (output - target).square().mean(dim=(1, 2, 3, 4)),
            "constant": (mean - target).square().mean(dim=(1, 2, 3, 4)),
            "psnr": psnr(output, target),
            "ssim": ssim(output, target),
        }


def average_precision(scores: Tensor, truth: Tensor) -> float:
    """Return the mean, over what is true, of the precision among all that scores as high; 0 where nothing is true.

    ``scores`` and ``truth`` (bool) are of one shape; voxels of equal score count together.
    """
    import torch

    with torch.no_grad():
        order = scores.flatten().argsort(descending=True)
        ranked, hits = scores.flatten()[order], truth.flatten()[order].double().cumsum(0)
        last = torch.ones_like(ranked, dtype=torch.bool)
        last[:-1] = ranked[1:] != ranked[:-1]
        hits, seen = hits[last], torch.nonzero(last).flatten() + 1
        if not len(hits) or not hits[-1] > 0:
            return 0.0
        gained = torch.diff(hits, prepend=hits.new_zeros(1))
        return float((gained * hits / seen).sum() / hits[-1])
