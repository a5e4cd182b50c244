"""The errors a user can meet: each message is one sentence saying what was expected, what came, and where."""

from __future__ import annotations

__all__ = ["ConfigError", "DomainError", "GenesisError", "GeometryError", "ModelError", "RunError", "ScanError"]


class GenesisError(Exception):
    """Anything this project refuses on purpose; ``str(error)`` is fit to be shown to a user."""


class ConfigError(GenesisError, ValueError):
    """A configuration, option or argument is not what it must be."""


class ScanError(GenesisError, ValueError):
    """A file or folder cannot be opened as a scan; the message names it and the cause."""


class GeometryError(GenesisError, ValueError):
    """Two volumes do not share a grid, or a geometry is not a rigid grid in space."""


class DomainError(GenesisError, ValueError):
    """Intensities lie outside the domain a transform or a network works on (normally [0, 1])."""


class ModelError(GenesisError, ValueError):
    """A model file or a run cannot be used as asked."""


class RunError(GenesisError, RuntimeError):
    """A run directory cannot be started, resumed or followed."""
