"""The lungs of a chest CT, or the body of any scan: where a map looks.

By rules (thresholds and distances), which is exact in lungs that hold air, or by the network that ships, which also
finds what is consolidated; docs/lungs.md says how good either is.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from genesis3d.errors import ConfigError, DomainError
from genesis3d.events import Control, keep_running
from genesis3d.io.itk_filters.body import body_mask
from genesis3d.io.itk_filters.lung_doubts import LEFT, RIGHT, disagreement, lung_doubts
from genesis3d.io.itk_filters.lungs import LEAST, LungMask, finished, lung_labels, on_lung_grid
from genesis3d.io.itk_filters.tidying import filled, largest_parts
from genesis3d.networks import library

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.volume import Volume

    Labels = NDArray[np.uint8]

__all__ = ["METHODS", "MODEL", "LungMask", "Method", "find_lungs", "network_labels", "network_there", "united"]

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
    method : classical (rules), network (the model that ships), auto (both together, rules alone where no network is
        there), or body: the whole patient, CT or not, as label 3
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
    by_network = network_labels(coarse, control) if method != "classical" else None
    if method != "classical" and by_network is None:
        return None
    return _result(scan, coarse, by_rules, by_network)


def network_there() -> bool:
    """Whether the network is installed."""
    return _file().is_file()


def _on_grid(scan: Volume) -> Volume:
    try:
        return on_lung_grid(scan)
    except DomainError as error:
        raise DomainError(f"{error}; give a mask, or look in the whole body (body) or scan (none)") from error


def _result(scan: Volume, coarse: Volume, by_rules: Labels | None, by_network: Labels | None) -> LungMask:
    found = [labels for labels in (by_network, by_rules) if labels is not None]
    labels = found[0] if len(found) == 1 else united(found[0], found[1])
    spacing = coarse.geometry.spacing
    if int((labels > 0).sum()) * float(np.prod(spacing)) / 1000 < LEAST:
        raise DomainError(f"{scan.name}: expected a chest CT, found no lungs (nothing of {LEAST:g} mL)")
    doubts = disagreement(found[0], found[1]) if len(found) == 2 else []
    return finished(labels, scan, [*lung_doubts(labels, spacing), *doubts])


def united(network: Labels, classical: Labels) -> Labels:
    """Return the lungs that the network or the rules found (labels on one grid), each side in one part."""
    both = np.where(network > 0, network, classical)
    return filled(largest_parts(both, (LEFT, RIGHT)), (LEFT, RIGHT))


def network_labels(coarse: Volume, control: Control) -> Labels | None:
    """Return the network's lungs on the grid of ``coarse``, the largest part of each, holes filled; None if stopped."""
    from genesis3d.workflows.segment_one import segment_volume
    from genesis3d.workflows.segment_settings import SegmentSettings

    work = segment_volume(coarse, _network(_file()), SegmentSettings(quality="fast", largest=True, fill=True),
                          control=control)  # fmt: skip
    while True:
        try:
            next(work)
        except StopIteration as end:
            return np.asarray(end.value.labels.data[0], np.uint8) if end.value.complete else None


def _file() -> Path:
    return library.SHIPPED / f"{MODEL}{library.SUFFIX}"


@lru_cache(maxsize=1)
def _network(path: Path) -> LoadedModel:
    from genesis3d.networks.model_file import read_model

    return read_model(path)
