"""Which devices torch can use here: asked in a process of its own, so that the window does not wait for torch."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from genesis3d.events import Control

__all__ = ["CPU_ONLY", "Device", "known_devices", "probe"]

_QUESTION = """
import json, torch
found = [{"name": "cpu", "label": "CPU", "memory": 0}]
for i in range(torch.cuda.device_count()):
    p = torch.cuda.get_device_properties(i)
    found.append({"name": f"cuda:{i}", "label": p.name, "memory": p.total_memory})
if torch.backends.mps.is_available():
    found.append({"name": "mps", "label": "Apple GPU", "memory": 0})
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Device:
    """A device by torch's name, with a label for people and its memory in bytes (0: not known)."""

    name: str
    label: str
    memory: int = 0


CPU_ONLY = (Device("cpu", "CPU"),)
_KNOWN: list[Device] = []
_ASKING = threading.Lock()


def known_devices() -> list[Device]:
    """Return the devices found by :func:`probe` in this session, empty before."""
    return list(_KNOWN)


def probe(control: Control) -> Iterator[tuple[Device, ...]]:
    """Yield the devices, once; a torch that does not start means the CPU alone.  Docks that ask together ask once."""
    with _ASKING:
        if not _KNOWN:
            _KNOWN.extend(_asked())
    yield tuple(_KNOWN)


def _asked() -> tuple[Device, ...]:
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _QUESTION], capture_output=True, text=True, timeout=120, check=True
        )
        return tuple(Device(**item) for item in json.loads(answer.stdout.splitlines()[-1]))
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return CPU_ONLY
