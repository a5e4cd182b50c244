"""How long a network is likely to take over a scan: for the words on a button, not for a schedule."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.networks.card import ModelCard

__all__ = ["USUAL_SPEED", "likely_device", "rounded", "work_a_voxel"]

# of the published 3D U-Net: multiplications a voxel and parameters; other widths go with the square, as parameters do
MACS, PARAMETERS = 0.93e6, 19.07e6
USUAL_SPEED = {"cpu": 2.5e10, "gpu": 5e12}  # multiplications a second, until a first run tells


def likely_device(wanted: str = "auto") -> str:
    """Return ``cpu`` or ``gpu``, without loading torch for the answer."""
    if wanted != "auto":
        return "cpu" if wanted == "cpu" else "gpu"
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda"):
        return "gpu" if torch.cuda.is_available() else "cpu"
    return "gpu" if os.path.exists("/dev/nvidia0") else "cpu"


def work_a_voxel(card: ModelCard) -> float:
    """Return the multiplications that the network of ``card`` needs for one voxel of a window."""
    return MACS * card.network.parameters() / PARAMETERS


def rounded(seconds: float) -> float:
    """Return a guess without odd seconds: 10 s steps below a minute, half minutes above."""
    step = 10 if seconds < 60 else 30
    return max(step, round(seconds / step) * step)
