"""What a network begins with when it begins with nothing: the initialisations that pre-training is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

__all__ = ["Initialisation", "initialise"]

Initialisation = Literal["default", "msra", "xavier", "uniform"]

# Keras' "random uniform", which the paper's comparison is run with (Zhou et al., MIA 2021, section 4).
_LIMIT = 0.05


def initialise(module: nn.Module, how: Initialisation, seed: int) -> None:
    """Set the weights of all convolutions and linear layers of ``module`` anew, from ``seed``; the rest stays.

    Parameters
    ----------
    module : any network; global generators are not touched
    how : ``default``, torch's own (uniform within 1 / sqrt(fan in), biases too); ``msra``, normal with variance 2 / fan
        in (He et al., ICCV 2015, equation 10); ``xavier``, uniform with variance 2 / (fan in + fan out) (Glorot and
        Bengio, AISTATS 2010, equation 16); ``uniform`` in [-0.05, 0.05].  But for ``default``, biases become 0.
    """
    import torch
    from torch import nn

    from genesis3d.rng import Address

    key = (Address(seed) / "initialisation").key() % 2**63
    layers = [m for m in module.modules() if isinstance(m, nn.Linear | nn.Conv3d | nn.ConvTranspose3d)]
    if how == "default":
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(key)
            for layer in layers:
                layer.reset_parameters()
        return
    generator = torch.Generator().manual_seed(key)
    with torch.no_grad():
        for layer in layers:
            layer.weight.copy_(_drawn(layer, how, generator))
            if layer.bias is not None:
                layer.bias.zero_()


def _drawn(layer: nn.Module, how: Initialisation, generator: Generator) -> Tensor:
    """Return weights for ``layer``, drawn on the CPU."""
    import torch
    from torch import nn

    fan_in, fan_out = _fans(layer)
    weight = torch.empty(layer.weight.shape)  # type: ignore[arg-type]  # the caller's layers have weights
    if how == "msra":
        return nn.init.normal_(weight, std=(2 / fan_in) ** 0.5, generator=generator)
    limit = _LIMIT if how == "uniform" else (6 / (fan_in + fan_out)) ** 0.5
    return nn.init.uniform_(weight, -limit, limit, generator=generator)


def _fans(layer: nn.Module) -> tuple[float, float]:
    """Return how many inputs an output of ``layer`` sums, and how many outputs an input reaches."""
    from torch import nn

    rows, columns, *kernel = layer.weight.shape  # type: ignore[misc]  # the caller's layers have weights
    taps = 1.0
    for size in kernel:
        taps *= size
    if isinstance(layer, nn.ConvTranspose3d):  # its weight is (in, out, ...), and strides part the taps among outputs
        for stride in layer.stride:
            taps /= stride
        return rows * taps, columns * taps
    return columns * taps, rows * taps
