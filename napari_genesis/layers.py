"""Volume <-> napari layer: the only geometry bridge.

A layer shows the canonical volume: axes S, P, L, ``scale`` its spacing and ``translate`` its origin in millimetres.
napari cannot slice an oblique grid, so the small rest of the rotation stays out of the picture: it stands as
``direction`` about ``origin`` in ``layer.metadata["genesis"]`` and is put back for positions under the cursor and when
the layer is read back or saved.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import GeometryError, ScanError
from genesis3d.volume import Geometry, Orientation, Volume
from napari_genesis.kinds import Kind, layer_kind
from napari_genesis.windows import default_limits

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari.viewer import Viewer
    from numpy.typing import NDArray

__all__ = ["AXES", "UNITS", "add_volume", "array_turn", "check_layer", "layer_data", "layer_kind", "oblique_conflict",
           "patient_point", "say_oblique", "view_point", "volume_from_layer"]  # fmt: skip

AXES = ("S", "P", "L")
UNITS = ("mm", "mm", "mm")

_OBLIQUE_DEGREES = 0.5
_said_oblique: set[str] = set()


def layer_data(volume: Volume, kind: Kind | None = None) -> tuple[NDArray[Any], dict[str, Any], Kind]:
    """Return a volume as napari layer data: ``(array, keyword arguments, "image" | "labels")``.

    The array is a view of the canonical volume's data: (D, H, W), or (C, D, H, W) with ``channel_axis=0``.
    ``kind`` None means: labels if it looks like labels (:func:`layer_kind`).
    """
    return _as_layer(volume.canonical(), kind)


def _as_layer(volume: Volume, kind: Kind | None) -> tuple[NDArray[Any], dict[str, Any], Kind]:
    kind = kind or layer_kind(volume)
    options: dict[str, Any] = {
        "name": volume.name,
        "scale": volume.geometry.spacing,
        "translate": volume.geometry.origin,
        "units": UNITS,
        "axis_labels": AXES,
        "metadata": {"genesis": _record(volume)},
    }
    array = volume.data[0]
    if kind == "labels":
        return (array.view(np.uint8) if array.dtype == bool else array), options, kind
    options["multiscale"] = False
    if volume.channels > 1:
        return volume.data, options | {"channel_axis": 0}, kind
    return array, options | {"rgb": False, "colormap": "gray", "contrast_limits": default_limits(volume)}, kind


def volume_from_layer(layer: Layer) -> Volume:
    """Return an image or labels layer as canonical volume (1, D, H, W) on its true geometry, sharing its data.

    ``as_source()`` of the result lies on the scan's own grid.  A layer that did not come from this plugin is taken
    to have axes S, P, L in its own array order, in its own units, or millimetres where it has none; ``notes`` say so.

    Raises
    ------
    ScanError
        For layers that are no scalar 3D image or labels: RGB, 2-D, 4-D, multiscale, other types.
    GeometryError
        For a shear.
    """
    check_layer(layer)
    data = layer.data if isinstance(layer.data, np.ndarray) else np.asarray(layer.data)
    geometry = _array_geometry(layer)
    record = layer.metadata.get("genesis")
    if record is None:
        return Volume(data[None], geometry, name=layer.name, notes=_assumptions(layer)).canonical()
    known = {key: record.get(key) for key in ("modality", "unit", "source", "series")}
    volume = Volume(data[None], geometry, name=layer.name, notes=tuple(record.get("notes", ())), **known)
    if not geometry.canonical_orientation().is_identity:
        return volume.canonical()
    turn = record["orientation"]
    return replace(volume, orientation=Orientation(tuple(turn["permutation"]), tuple(turn["flips"])))


def add_volume(
    viewer: Viewer, volume: Volume, like: Layer | None = None, *, kind: Kind | None = None, **options: Any
) -> Layer:
    """Add a volume to ``viewer`` and return its layer (of several channels the first).

    ``like`` is the layer the volume was made from, whole or a box of its grid: the new layer lies exactly on it, with
    its units, axis labels and true geometry.  ``options`` go to napari and win.  Without ``like``, a scan tilted
    otherwise than those already shown is warned about, once.

    Raises
    ------
    GeometryError
        If the volume's axes are not those of ``like``.
    """
    if like is None:
        array, keywords, kind = layer_data(volume, kind)
        say_oblique(volume, viewer)
    else:
        base = _array_geometry(like)
        turned = not base.canonical_orientation().is_identity
        volume = volume.as_source() if turned else volume.canonical()
        array, keywords, kind = _as_layer(volume, kind)
        keywords |= _placed_like(volume, base, like)
    add = viewer.add_labels if kind == "labels" else viewer.add_image
    layers = add(array, **(keywords | options))
    return layers[0] if isinstance(layers, list) else layers


def array_turn(layer: Layer) -> Orientation:
    """Return how a layer's array is turned to be the canonical one: nothing, for what this plugin opened."""
    return _array_geometry(layer).canonical_orientation()


def patient_point(layer: Layer, view: Any) -> NDArray[np.float64]:
    """Return the patient position (S, P, L) in mm of a position in napari's world (last axis: S, P, L of the view)."""
    linear, centre = _tilt(layer)
    return np.asarray(centre + (np.asarray(view, dtype=np.float64) * _factors(layer) - centre) @ linear.T)


def view_point(layer: Layer, patient: Any) -> NDArray[np.float64]:
    """Return the position in napari's world of a patient position (S, P, L) in mm: undoes :func:`patient_point`."""
    linear, centre = _tilt(layer)
    shown = centre + np.linalg.solve(linear, (np.asarray(patient, dtype=np.float64) - centre).T).T
    return np.asarray(shown / _factors(layer))


def oblique_conflict(viewer: Viewer, volume: Volume | None = None) -> str | None:
    """Return one sentence if scans shown (and ``volume``, if given) are tilted differently by over 0.5 degrees.

    Their slices then show different planes of the body, so their overlay is wrong; None if there is no such pair.
    """
    shown = [(layer.name, np.asarray(layer.metadata["genesis"]["direction"]))
             for layer in viewer.layers if "genesis" in layer.metadata]  # fmt: skip
    if volume is not None:
        shown.append((volume.name, np.asarray(volume.canonical().geometry.direction)))
    for index, (name, direction) in enumerate(shown):
        for other, other_direction in shown[:index]:
            degrees = _angle(direction, other_direction)
            if degrees > _OBLIQUE_DEGREES:
                return (
                    f"{name} and {other} are tilted against each other by {degrees:.1f} degrees: each is shown along "
                    "its own axes, so the same slice shows different planes of the body"
                )
    return None


def say_oblique(volume: Volume, viewer: Viewer | None = None) -> None:
    """Warn in napari, once a sentence, of :func:`oblique_conflict` before ``volume`` is added to (the open) viewer."""
    from napari import current_viewer
    from napari.utils.notifications import show_warning

    viewer = viewer or current_viewer()
    sentence = oblique_conflict(viewer, volume) if viewer is not None else None
    if sentence is not None and sentence not in _said_oblique:
        _said_oblique.add(sentence)
        show_warning(sentence)


def _angle(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    cosine = (np.trace(first.T @ second) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


def _record(volume: Volume) -> dict[str, Any]:
    source = volume.as_source().geometry
    turn = volume.orientation
    return {
        "origin": list(volume.geometry.origin),
        "direction": [list(row) for row in volume.geometry.direction],
        "orientation": {"permutation": list(turn.permutation), "flips": list(turn.flips)},
        "geometry": {
            "shape": list(source.shape),
            "spacing": list(source.spacing),
            "origin": list(source.origin),
            "direction": [list(row) for row in source.direction],
        },
        "modality": volume.modality,
        "unit": volume.unit,
        "series": volume.series,
        "source": volume.source,
        "notes": list(volume.notes),
    }


def check_layer(layer: Layer) -> None:
    """Raise ScanError, one sentence, for a layer that is no scalar 3D image or labels; its voxels are not read."""
    kind = type(layer).__name__
    if kind not in ("Image", "Labels"):
        raise ScanError(f"layer {layer.name!r}: expected a 3D image or labels layer, got {kind.lower()}")
    if layer.multiscale:
        raise ScanError(f"layer {layer.name!r}: expected one 3D array, got a multiscale pyramid")
    if getattr(layer, "rgb", False):
        raise ScanError(
            f"layer {layer.name!r}: expected one value a voxel, got an RGB picture; split its channels first"
        )
    if layer.ndim != 3:
        hint = "; split it by channel or time first" if layer.ndim > 3 else ""
        raise ScanError(f"layer {layer.name!r}: expected a 3D volume, got {layer.ndim} dimensions{hint}")


def _millimetres(unit: Any) -> float | None:
    """Millimetres in one ``unit`` of napari (a pint unit); None for pixels and other units that are no length."""
    if not unit.is_compatible_with("millimeter"):
        return None
    return float((1 * unit).to("millimeter").magnitude)


def _assumptions(layer: Layer) -> tuple[str, ...]:
    notes = ["array axes taken as S, P, L (feet to head, front to back, right to left): the layer does not say"]
    if any(_millimetres(unit) is None for unit in layer.units):
        notes.append("scale taken as millimetres: the layer has no length unit")
    return tuple(notes)


def _array_geometry(layer: Layer) -> Geometry:
    """The true grid of a layer's array, as it lies in memory."""
    shape = tuple(int(n) for n in layer.data.shape)
    factors = _factors(layer)
    scale, translate = np.asarray(layer.scale) * factors, np.asarray(layer.translate) * factors
    physical = np.asarray(layer.affine.affine_matrix, dtype=np.float64)
    turn, shear = np.asarray(layer.rotate, dtype=np.float64), np.asarray(layer.shear, dtype=np.float64)
    if shear.any() and not np.allclose(shear, np.eye(3)):
        raise GeometryError(f"layer {layer.name!r}: expected a grid without shear, got a sheared layer")
    outer = physical[:3, :3] * factors[:, None] / factors
    corner = outer @ translate + physical[:3, 3] * factors
    true, centre = _tilt(layer)
    return _geometry(shape, true @ outer @ turn, scale, centre + true @ (corner - centre), layer.name)


def _geometry(shape: Any, linear: NDArray[np.float64], scale: NDArray[np.float64], origin: Any, name: str) -> Geometry:
    lengths = np.linalg.norm(linear, axis=0)
    exact = np.isclose(lengths, 1.0, rtol=0, atol=1e-6)  # a rotation's columns: the scale is the spacing, to the bit
    lengths = np.where(exact, 1.0, lengths)
    direction = linear / lengths * np.sign(scale)
    try:
        return Geometry(shape, tuple(float(s) for s in np.abs(scale) * lengths), tuple(float(o) for o in origin),
                        tuple(tuple(float(v) for v in row) for row in direction))  # fmt: skip
    except GeometryError as error:
        raise GeometryError(f"layer {name!r}: {error}") from error


def _factors(layer: Layer) -> NDArray[np.float64]:
    return np.array([_millimetres(unit) or 1.0 for unit in layer.units])


def _tilt(layer: Layer) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rotation that napari cannot show, and its centre (mm): patient = centre + rotation (view - centre)."""
    record = layer.metadata.get("genesis")
    if record is None:
        return np.eye(3), np.zeros(3)
    return np.asarray(record["direction"], dtype=np.float64), np.asarray(record["origin"], dtype=np.float64)


def _placed_like(volume: Volume, base: Geometry, like: Layer) -> dict[str, Any]:
    """Keyword arguments that lay a volume of the grid ``base`` exactly on the layer ``like``."""
    if not np.allclose(volume.geometry.direction, base.direction, atol=1e-6):
        raise GeometryError(f"{volume.name}: expected the axes of layer {like.name!r}, got others")
    ratio = np.divide(volume.geometry.spacing, base.spacing)
    ratio = np.where(np.isclose(ratio, 1.0, rtol=0, atol=1e-9), 1.0, ratio)
    corner = base.to_index(volume.geometry.origin)
    corner = np.where(np.isclose(corner, np.round(corner), rtol=0, atol=1e-6), np.round(corner), corner)
    turn, scale = np.asarray(like.rotate), np.asarray(like.scale)
    return {
        "scale": scale * ratio,
        "translate": np.asarray(like.translate) + turn @ (scale * corner),
        "rotate": turn,
        "affine": np.asarray(like.affine.affine_matrix),
        "units": tuple(like.units),
        "axis_labels": tuple(like.axis_labels),
        "metadata": {"genesis": _derived_record(volume, like)},
    }


def _derived_record(volume: Volume, like: Layer) -> dict[str, Any]:
    """The record of a volume shown on ``like``: what it is from itself, how it lies in the view from ``like``."""
    known = like.metadata.get("genesis")
    lies = known or {"origin": [0.0, 0.0, 0.0], "direction": np.eye(3).tolist()}
    return _record(volume) | {key: copy.deepcopy(lies[key]) for key in ("origin", "direction")}
