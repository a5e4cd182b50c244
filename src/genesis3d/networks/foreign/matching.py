"""Foreign weights into a network: matched by name and shape, counted, and refused when too few fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from genesis3d.errors import ModelError
from genesis3d.networks.base import Network
from genesis3d.networks.foreign.adapting import HEAD
from genesis3d.networks.foreign.hosting import Hosted
from genesis3d.networks.foreign.report import MatchReport

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["LEAST_SHARE", "fill", "match"]

LEAST_SHARE = 0.6
_COUNTER = "num_batches_tracked"


def match(hosted: Hosted, target: Network) -> tuple[dict[str, Tensor], MatchReport]:
    """Return the weights that fit ``target`` and the report on all of them.

    The share is that of the values in the part of ``target`` which the family provides (the encoder, say).

    Raises
    ------
    ModelError
        Below 60 %.
    """
    import torch

    with torch.device("meta"):
        wanted = target.build().state_dict()
    expected = {key: value for key, value in wanted.items() if _provided(key, hosted)}
    state = {key: torch.tensor(0) for key in expected if key.endswith(_COUNTER)} | hosted.state
    fits = {
        key: state[key]
        for key, value in expected.items()
        if key in state
        and state[key].shape == value.shape
        and state[key].is_floating_point() == value.is_floating_point()
    }
    values = sum(value.numel() for value in expected.values())
    share = sum(value.numel() for value in fits.values()) / max(1, values)
    report = MatchReport(
        family=hosted.family.title,
        matched=len(fits),
        expected=len(expected),
        share=share,
        missing=tuple(key for key in expected if key not in state),
        unused=tuple(sorted(state.keys() - expected.keys())),
        mismatched=tuple(
            f"{key} {tuple(state[key].shape)} for {tuple(value.shape)}"
            for key, value in expected.items()
            if key in state and key not in fits
        ),
        notes=hosted.notes,
    )
    if share < LEAST_SHARE:
        wrong = [*report.mismatched, *report.missing]
        raise ModelError(
            f"{hosted.path}: expected at least {LEAST_SHARE:.0%} of the values of {report.family} to fit a "
            f"{target.name}, got {share:.0%}; the first that does not: {wrong[0]}"
        )
    return fits, report


def _provided(key: str, hosted: Hosted) -> bool:
    if hosted.family.part == "encoder":
        return key.startswith(("down_tr", "encoder."))
    reset = f"{HEAD}weight" not in hosted.state
    return not (reset and key.startswith(HEAD))


def fill(target: Network, fits: dict[str, Tensor], seed: int = 0) -> nn.Module:
    """Return ``target`` built from ``seed``, in eval mode, with ``fits`` in their places."""
    module = target.build(seed)
    module.load_state_dict(fits, strict=False)
    return module.eval()
