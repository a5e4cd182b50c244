"""One scan and its labels as what a training takes: class indices on the scan's grid, 255 where nobody labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.channels import LEAST_OVERLAP, on_one_grid, overlap
from genesis3d.data.class_table import values_in
from genesis3d.data.painted import only_painted_slices, painting_axis
from genesis3d.errors import ScanError
from genesis3d.intensity import Intensity, Scale, common_intensity, default_intensity
from genesis3d.labels import BACKGROUND, IGNORE, LabelClass, whole_values

if TYPE_CHECKING:
    from genesis3d.data.cases import Case
    from genesis3d.data.class_table import ClassTable
    from genesis3d.data.targets import TargetData
    from genesis3d.data.targets_found import TargetCase
    from genesis3d.volume import Volume

__all__ = ["Labelled", "labelled", "read_target"]

SAME_MM = 0.01  # grids closer than this are one: files keep positions in single precision


@dataclass(frozen=True, eq=False)
class Labelled:
    """A scan (canonical, (C, D, H, W)) and its labels ((1, D, H, W) uint8, indices of a :class:`ClassTable`)."""

    volume: Volume
    scale: Scale
    intensity: Intensity
    labels: Volume
    notes: tuple[str, ...] = ()
    case: Case | None = None
    patient: str = ""

    @property
    def marks(self) -> set[int]:
        """The class indices that occur."""
        return set(values_in(self.labels.data[0]))


def read_target(target: TargetCase, modality: str | None = None) -> tuple[list[Volume], Volume, tuple[LabelClass, ...]]:
    """Return the scan of ``target``, one canonical volume a channel, its labels, and the classes their file names.

    ``modality`` is what the data set says of scans that do not say it themselves.  Raises ScanError.
    """
    from genesis3d.io import read_segmentation, read_volume

    if target.components > 1:
        path = str(target.scans[0].path)
        volumes = [read_volume(path, channel=c).canonical() for c in range(target.components)]
    else:
        volumes = [scan.load() for scan in target.scans]
    if modality is not None:
        volumes = [_of_modality(volume, modality) for volume in volumes]
    labels, classes = read_segmentation(target.labels, volumes[0])
    return volumes, labels, classes


def labelled(
    volumes: Sequence[Volume],
    labels: Volume,
    said: Sequence[LabelClass],
    table: ClassTable,
    data: TargetData,
    *,
    name: str,
    axis: int | None = None,
) -> Labelled:
    """Put a scan (canonical, one volume a channel) and its labels (values, any type, any grid) together.

    Parameters
    ----------
    said : classes that the labels' file names
    table : values to indices, over all cases; grows
    axis : across whose slices was painted; None: found

    Raises
    ------
    ScanError
        When the labels are no labels, lie elsewhere than the scan, or mark nothing where only marks count.
    """
    if labels.channels != 1:
        raise ScanError(f"expected one label a voxel, got {labels.channels} values")
    notes = [f"{name}: {note}" for volume in volumes for note in volume.notes]
    values = labels.canonical().with_data(whole_values(labels.canonical().data, "its labels"))
    _require_overlap(volumes[0], values)
    indices = _indices(values, said, table, data, axis, name, notes)
    volumes, moved = on_one_grid(volumes)
    notes += moved
    grid = volumes[0].geometry
    if not indices.geometry.matches(grid, SAME_MM):
        from genesis3d.io.itk_filters.relabel import labels_onto

        indices = labels_onto(indices, grid, IGNORE)
        notes.append(f"{name}: its labels lie on another grid and were put onto that of the scan (nearest voxel)")
    volume, scale, intensity = _scaled(volumes, data.intensity)
    if data.spacing is not None:
        volume, indices = _respaced(volume, indices, data.spacing)
    indices = replace(indices, geometry=volume.geometry, name=name, notes=())
    return Labelled(replace(volume, name=name), scale, intensity, indices, tuple(notes))


def _of_modality(volume: Volume, modality: str) -> Volume:
    unit = "HU" if modality == "CT" else None
    return replace(volume, modality=modality, unit=unit) if volume.modality != modality else volume


def _require_overlap(volume: Volume, labels: Volume) -> None:
    if labels.geometry.matches(volume.geometry, SAME_MM):
        return
    share = overlap(volume.geometry, labels.geometry)
    if share < LEAST_OVERLAP:
        raise ScanError(
            f"expected its labels to lie over the scan ({volume.geometry.describe()}), got a grid of "
            f"{labels.geometry.describe()} that covers {100 * share:.0f} % of it"
        )


def _indices(
    values: Volume,
    said: Sequence[LabelClass],
    table: ClassTable,
    data: TargetData,
    axis: int | None,
    name: str,
    notes: list[str],
) -> Volume:
    """Return class indices on the labels' own grid, after what is not labelled has become 255."""
    array = values.data[0]
    moved, told = table.add(values_in(array), said, name)
    notes += told
    indices = table.lookup(moved, IGNORE if data.unlabelled == "ignore" else BACKGROUND)[array]
    painted = array != 0
    if table.ignore is not None:
        painted &= array != table.ignore
    if not painted.any():
        if data.unlabelled != "background":
            raise ScanError("expected at least one labelled voxel, got none")
        notes.append(f"{name}: no voxel is labelled; all of it counts as background")
    elif data.unlabelled == "slices":
        across = painting_axis(painted, values.geometry.spacing) if axis is None else axis
        indices = only_painted_slices(indices, painted, across)
    return values.with_data(indices)


def _scaled(volumes: Sequence[Volume], intensity: Intensity | None) -> tuple[Volume, Scale, Intensity]:
    """Return the channels as one volume with its map: one keeps its values, several are mapped to [0, 1] each."""
    used = [intensity or default_intensity(volume) for volume in volumes]
    scales = [one.fit(volume) for one, volume in zip(used, volumes, strict=True)]
    if len(volumes) == 1:
        data = volumes[0].data
        # what is mapped to [0, 1] is single precision anyway
        kept = data.astype(np.float32) if data.dtype == np.float64 else data
        return volumes[0].with_data(kept), scales[0], used[0]
    units = [np.nan_to_num(s.to_unit(v.data[0]), nan=0.0) for s, v in zip(scales, volumes, strict=True)]
    return volumes[0].with_data(np.stack(units)), Scale(0.0, 1.0), common_intensity(used)


def _respaced(volume: Volume, indices: Volume, spacing: tuple[float, float, float]) -> tuple[Volume, Volume]:
    from genesis3d.io.itk_filters.relabel import resampled_labels
    from genesis3d.io.itk_filters.resample import resampled

    if np.allclose(spacing, volume.geometry.spacing, rtol=1e-3, atol=0):
        return volume, indices
    channels = [resampled(volume.with_data(channel), spacing) for channel in volume.data]
    resized = channels[0].with_data(np.concatenate([channel.data for channel in channels]))
    return resized, resampled_labels(indices, spacing, IGNORE)
