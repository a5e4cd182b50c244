"""Everything a segmentation decides before its first window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.inference.fitting import fitted_window, window_voxels
from genesis3d.inference.predictor import warm
from genesis3d.inference.regrid import Regrid
from genesis3d.inference.windows import Plan, plan_windows
from genesis3d.workflows.segment_checks import (
    check_model,
    check_scan,
    checked_region,
    classes_of,
    mirrored_axes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.inference.classes import ClassPredictor
    from genesis3d.intensity import Scale
    from genesis3d.labels import LabelClass
    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.segment_settings import SegmentSettings

    Triple = tuple[int, int, int]

__all__ = ["Ready", "prepared"]

PATCH = (32, 64, 64)
SMALLEST = 0.02  # share of the largest part of a body from which on another part is one too
AIR_HU = -900.0
AIR = 0.02  # of [0, 1], in scans without HU


@dataclass(frozen=True, eq=False)
class Ready:
    """What is decided.

    Attributes
    ----------
    volume, work : the canonical scan, and the same as the network takes it
    regrid : the way from the grid of ``work`` back to the scan's; None where they are one
    region, inside : voxels to segment on the scan's grid and on that of ``work``; None: all
    """

    volume: Volume
    work: Volume
    regrid: Regrid | None
    region: NDArray[np.bool_] | None
    inside: NDArray[np.bool_] | None
    scale: Scale
    plan: Plan
    predictor: ClassPredictor
    classes: tuple[LabelClass, ...]
    mirrored: tuple[int, ...]
    batch: int
    air: float | None
    warnings: tuple[str, ...]

    def unit(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Map to [0, 1], voxels without a value to 0."""
        return np.nan_to_num(self.scale.to_unit(values), copy=False, nan=0.0)

    def place(self, voxel: Triple) -> Triple:
        """Return the voxel of ``work`` where ``voxel`` of the scan lies, inside it."""
        return self._clipped(voxel) if self.regrid is None else self.regrid.voxel(voxel)

    def _clipped(self, voxel: Triple) -> Triple:
        d, h, w = (min(max(0, int(v)), n - 1) for v, n in zip(voxel, self.work.geometry.shape, strict=True))
        return d, h, w


def prepared(
    volume: Volume, model: LoadedModel, settings: SegmentSettings, region: NDArray[np.bool_] | None = None
) -> Ready:
    """Check model, scan and region (D, H, W), and decide grid, windows and device.

    Raises
    ------
    ModelError, DomainError, GeometryError, ConfigError
        One sentence on what does not go together.
    """
    card = model.card
    check_model(card)
    volume = volume.canonical()
    warnings = check_scan(volume, card)
    if region is not None:
        checked_region(region, volume)
    if settings.threads is not None:
        _limit_threads(settings.threads)
    predictor = warm(model, settings.device, settings.precision)
    work = _on_working_grid(volume, card)
    regrid = None if work is volume else Regrid(volume.geometry, work.geometry)
    inside = region
    if region is not None and regrid is not None:
        inside = Regrid(work.geometry, volume.geometry).nearest(region)
    classes, means = classes_of(card), settings.means()
    mirrored = mirrored_axes(means.mirror, classes)
    if len(mirrored) < len(means.mirror.replace("none", "")):
        warnings.append("The classes tell left from right: no mirror images are taken along that axis.")
    scale = card.intensity.fit(volume)
    plan = _plan(work, card, settings, means.overlap, inside)
    batch = settings.batch or (2 if card.network.independent and predictor.device.type != "cpu" else 1)
    air = _air(work, scale) if settings.skip_air else None
    return Ready(volume, work, regrid, region, inside, scale, plan, predictor, classes, mirrored, batch, air,
                 tuple(warnings))  # fmt: skip


def _on_working_grid(volume: Volume, card: ModelCard) -> Volume:
    if card.working_spacing is None:
        return volume
    from genesis3d.io.itk_filters.resample import resampled

    known = np.nan_to_num(volume.data, nan=float(np.nanmin(volume.data)))
    return resampled(volume if volume.data.dtype.kind != "f" else volume.with_data(known), card.working_spacing)


def _plan(
    work: Volume, card: ModelCard, settings: SegmentSettings, overlap: float, inside: NDArray[np.bool_] | None
) -> Plan:
    shape, network = work.geometry.shape, card.network
    box = _body(work) if settings.skip_air and inside is None and work.unit == "HU" else None
    extent = [high - low for low, high in box] if box else list(shape)
    patch = card.patch or PATCH
    if settings.window is not None:
        size = settings.window
    elif _same_in_any_window(network):
        size = fitted_window(extent, patch, overlap, network.stride, window_voxels(network))
    else:
        size = patch
    network.check((network.in_channels, *size))
    return plan_windows(shape, size, overlap, inside, box=box)


def _same_in_any_window(network: Any) -> bool:
    """Whether a network has no statistics over its window, so that a larger one only shows it more around a voxel."""
    return getattr(network, "norm", "") in ("batch", "none")


def _body(work: Volume) -> list[tuple[int, int]]:
    from genesis3d.io.itk_filters.body import body_box

    start, size = body_box(work, share=SMALLEST)
    return [(s, s + n) for s, n in zip(start, size, strict=True)]


def _air(work: Volume, scale: Scale) -> float | None:
    """Return the largest value in [0, 1] that is nothing but air; None where the scale does not reach down to it."""
    if work.unit != "HU":
        return AIR
    return float(scale.to_unit(np.array(AIR_HU))) if scale.low < AIR_HU else None


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
