"""The headless engine of napari-genesis: scans in, self-supervised 3D networks and maps out.

Nothing here knows Qt or napari.  Arrays are ``(C, D, H, W)``; spacings, origins and directions are indexed in
that same order, in millimetres (see ``docs/architecture.md``).
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-genesis")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
