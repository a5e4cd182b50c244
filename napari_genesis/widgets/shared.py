"""Where the plugin keeps its things, and what docks tell each other without knowing each other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from weakref import WeakMethod

import yaml

from genesis3d.files import home, write_atomic

__all__ = ["Store", "current_chain", "current_pretrain_config", "home", "offer", "offer_chain", "offer_pretrain_config",
           "offered", "runs_folder"]  # fmt: skip


def runs_folder() -> Path:
    """Return the folder in which each training is a folder of its own."""
    return home() / "runs"


class Store:
    """Remembered settings of one dock: plain values in a YAML file, written in one piece."""

    def __init__(self, name: str) -> None:
        self._path = home() / "settings" / f"{name}.yaml"

    def load(self) -> dict[str, Any]:
        """Return what is remembered; an unreadable file counts as nothing."""
        try:
            values = yaml.safe_load(self._path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError):
            return {}
        return values if isinstance(values, dict) else {}

    def get(self, key: str, default: Any = None) -> Any:
        """Return the value remembered for ``key``."""
        return self.load().get(key, default)

    def put(self, key: str, value: Any) -> None:
        """Remember a plain ``value``; a full or read-only disk is no reason to disturb the user."""
        values = self.load()
        if key in values and values[key] == value:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self._path, yaml.safe_dump(values | {key: value}).encode(), durable=False)
        except OSError:
            return

    def clear(self) -> None:
        """Forget everything."""
        self._path.unlink(missing_ok=True)


_offers: dict[str, WeakMethod[Callable[[], Any]]] = {}


def offer(what: str, method: Callable[[], Any]) -> None:
    """Make a dock's bound ``method`` the source of ``what``, for as long as the dock lives."""
    _offers[what] = WeakMethod(method)


def offered(what: str) -> Any | None:
    """Return what the dock that offers ``what`` has at present, or None when no such dock is open."""
    method = _offers[what]() if what in _offers else None
    if method is None or getattr(method.__self__, "closed", False):  # type: ignore[attr-defined]
        return None
    return method()


def offer_pretrain_config(method: Callable[[], Any]) -> None:
    """Make a dock's bound ``method`` the source of the current pre-training configuration."""
    offer("pre-training configuration", method)


def current_pretrain_config() -> Any | None:
    """Return the Pre-train dock's configuration, or None when that dock is not open.

    Raises
    ------
    GenesisError
        When the dock is open and its settings are not yet a valid configuration.
    """
    return offered("pre-training configuration")


def offer_chain(method: Callable[[], Any]) -> None:
    """Make a dock's bound ``method`` the source of the chain being tuned."""
    offer("chain", method)


def current_chain() -> Any | None:
    """Return the chain of the Preview dock, or None when that dock is not open."""
    return offered("chain")
