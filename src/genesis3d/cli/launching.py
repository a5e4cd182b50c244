"""One command, several processes on this machine: what torchrun does, without it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["PARENT", "launch", "orphaned"]

# Names, for a process started here, the one that started it.
PARENT = "GENESIS_LAUNCHER"
_POLL = 0.1
# What the others have to end by themselves after one has failed; their own watch is quicker.
_GRACE = 40.0


def launch(command: list[str], processes: int) -> int:
    """Run ``command`` in so many processes that find each other; return 0, or the status of the first that failed.

    SIGTERM and Ctrl+C ask all of them to stop and save.  When one fails the others are ended.
    """
    environments = _environments(processes)
    children = [subprocess.Popen(command, env=environment) for environment in environments]
    with _passed_on(children):
        return _wait(children)


def orphaned() -> bool:
    """Whether the process that launched this one is gone."""
    parent = os.environ.get(PARENT)
    return parent is not None and int(parent) != os.getppid()


def _environments(processes: int) -> list[Mapping[str, str]]:
    common = {
        **os.environ,
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),  # a lost peer is said in one sentence
        PARENT: str(os.getpid()),
    }
    if sys.platform.startswith(("linux", "darwin")):  # names of hosts and networks may change while training
        common.setdefault("GLOO_SOCKET_IFNAME", "lo" if sys.platform.startswith("linux") else "lo0")
    return [common | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(processes)]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    failed, since = 0, 0.0
    while None in [child.poll() for child in children]:
        time.sleep(_POLL)
        if not failed:
            failed, since = _first_failure(children), time.monotonic()
        elif time.monotonic() - since > _GRACE:
            for child in children:
                child.kill()
    status = failed or _first_failure(children)
    return status if status >= 0 else 1  # ended by a signal


def _first_failure(children: list[subprocess.Popen[bytes]]) -> int:
    return next((child.returncode for child in children if child.returncode), 0)


@contextmanager
def _passed_on(children: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Within it, SIGTERM and Ctrl+C ask the children to stop."""

    def pass_on(number: int, _frame: object) -> None:
        for child in children:
            if child.poll() is None:
                child.terminate()

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGUSR1") if hasattr(signal, name)]
    before = [(number, signal.signal(number, pass_on)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
