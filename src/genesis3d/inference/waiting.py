"""The question long work asks between two windows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.events import Control

__all__ = ["told_to_stop"]


def told_to_stop(control: Control) -> bool:
    """Whether to stop now; while the answer is ``"pause"`` this waits."""
    while (order := control()) == "pause":
        time.sleep(0.05)
    return order == "stop"
