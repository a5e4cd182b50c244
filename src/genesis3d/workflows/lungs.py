"""The lungs of a chest CT, or the body of any scan: where a map looks.

By rules (thresholds and distances), which is exact in lungs that hold air, or by the network that ships, which also
finds what is consolidated; docs/lungs.md says how good either is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from genesis3d.errors import ConfigError, DomainError
from genesis3d.events import Control, keep_running
from genesis3d.io.itk_filters.body import body_mask
from genesis3d.io.itk_filters.lung_doubts import LEFT, RIGHT, disagreement, lung_doubts
from genesis3d.io.itk_filters.lung_union import united
from genesis3d.io.itk_filters.lungs import LEAST, LungMask, finished, lung_labels, on_lung_grid
from genesis3d.io.itk_filters.tidying import filled, largest_parts
from genesis3d.networks import library

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.volume import Volume

    Labels = NDArray[np.uint8]

__all__ = ["METHODS", "MODEL", "LungMask", "Method", "find_lungs", "network_labels", "network_there"]

Method = Literal["auto", "classical", "network", "body"]
METHODS: tuple[Method, ...] = ("auto", "classical", "network", "body")
MODEL = "genesis-lungs"


@overload
def find_lungs(scan: Volume, method: Method = "auto") -> LungMask: ...


@overload
def find_lungs(scan: Volume, method: Method, control: Control) -> LungMask | None: ...


def find_lungs(scan: Volume, method: Method = "auto", control: Control = keep_running) -> LungMask | None:
    """Return the lungs of a chest CT on its canonical grid, 1 left and 2 right; None when stopped.

    Parameters
    ----------
    scan : as read or canonical
    method : classical (rules), network (the model that ships), auto (rules, and what the network finds dense beside
        them; rules alone where no network is there), or body: the whole patient, CT or not, as label 3
    control : asked between two windows of the network

    Raises
    ------
    DomainError
        When the scan is no CT in HU (but for ``body``), or no lung is found.
    ConfigError
        For another method.
    ModelError
        When the network is asked for and is not there.
    """
    if method not in METHODS:
        raise ConfigError(f"lungs: expected {', '.join(METHODS)}, got {method!r}")
    scan = scan.canonical()
    if method == "body":
        return LungMask(body_mask(scan))
    coarse = _on_grid(scan)
    if method == "auto" and not network_there():
        method = "classical"
    by_rules = lung_labels(coarse) if method != "network" else None
    seen = _seen(coarse, control) if method != "classical" else None
    if method != "classical" and seen is None:
        return None
    return _result(scan, coarse, by_rules, seen)


def network_there() -> bool:
    """Whether the network is installed."""
    return _file().is_file()


def _on_grid(scan: Volume) -> Volume:
    try:
        return on_lung_grid(scan)
    except DomainError as error:
        raise DomainError(f"{error}; give a mask, or look in the whole body (body) or scan (none)") from error


def _result(scan: Volume, coarse: Volume, by_rules: Labels | None, seen: NDArray[Any] | None) -> LungMask:
    spacing, doubts = coarse.geometry.spacing, []
    labels = by_rules if seen is None else network_labels(seen)
    if seen is not None and by_rules is not None and labels is not None:
        doubts = disagreement(labels, by_rules)
        labels = united(by_rules, seen, spacing)
    if labels is None or int((labels > 0).sum()) * float(np.prod(spacing)) / 1000 < LEAST:
        raise DomainError(f"{scan.name}: expected a chest CT, found no lungs (nothing of {LEAST:g} mL)")
    return finished(labels, scan, [*lung_doubts(labels, spacing), *doubts])


def network_labels(probabilities: NDArray[Any]) -> Labels:
    """Return the lungs by the network alone: the largest part of the likeliest class on each side, holes filled."""
    labels = probabilities.argmax(axis=0).astype(np.uint8)
    return filled(largest_parts(labels, (LEFT, RIGHT)), (LEFT, RIGHT))


def _seen(coarse: Volume, control: Control) -> NDArray[Any] | None:
    """Return the network's probabilities (3, D, H, W) on the grid of ``coarse``; None when stopped."""
    from genesis3d.workflows.segment_one import segment_volume
    from genesis3d.workflows.segment_settings import SegmentSettings

    settings = SegmentSettings(quality="fast", probabilities=True)
    work = segment_volume(coarse, _network(_file()), settings, control=control)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return np.asarray(end.value.probabilities.data) if end.value.complete else None


def _file() -> Path:
    return library.SHIPPED / f"{MODEL}{library.SUFFIX}"


@lru_cache(maxsize=1)
def _network(path: Path) -> LoadedModel:
    from genesis3d.networks.model_file import read_model

    return read_model(path)
