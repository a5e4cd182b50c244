"""bfloat16 where a training uses it: around the network, never around weights, losses or figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

__all__ = ["autocast"]


def autocast(device: torch.device, half: bool) -> torch.autocast:
    """Return a context in which convolutions on ``device`` compute in bfloat16 if ``half``."""
    import torch

    return torch.autocast(device.type, torch.bfloat16, enabled=half)
