"""layers.py: geometry and voxels survive the way through a napari layer, for any grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.layers import Image, Labels, Points
from scipy.spatial.transform import Rotation

from genesis3d.errors import GeometryError, ScanError
from genesis3d.volume import Geometry, Volume
from napari_genesis import layers as bridge
from napari_genesis.kinds import layer_kind
from napari_genesis.layers import (
    add_volume,
    layer_data,
    oblique_conflict,
    patient_point,
    view_point,
    volume_from_layer,
)


def rows(matrix: Any) -> Any:
    return tuple(tuple(float(v) for v in row) for row in np.asarray(matrix))


def volume(shape=(4, 5, 6), rotation=None, name="scan", **kwargs: Any) -> Volume:
    data = np.arange(np.prod(shape), dtype=np.int16).reshape(1, *shape)
    direction = rows(np.eye(3) if rotation is None else rotation)
    geometry = Geometry(shape, (2.5, 0.7, 0.8), (-120.25, 33.5, 7.125), direction)
    return Volume(data, geometry, name=name, **kwargs)


def layer_of(scan: Volume) -> Any:
    array, options, kind = layer_data(scan)
    return (Labels if kind == "labels" else Image)(array, **options)


turns = st.tuples(
    st.integers(0, 2**32 - 1),
    st.booleans(),
    st.permutations(range(3)),
    st.floats(0, 44),
    st.tuples(*[st.booleans()] * 3),
)


@settings(max_examples=200, deadline=None)
@given(turns)
def test_any_oblique_scan_comes_back_from_its_layer(turn: Any) -> None:
    seed, wild, permutation, degrees, flips = turn
    rng = np.random.default_rng(seed)
    axis = rng.normal(size=3)
    tilt = Rotation.from_rotvec(np.radians(180 if wild else degrees) * rng.random() * axis / np.linalg.norm(axis))
    direction = (tilt.as_matrix() * np.where(flips, -1, 1))[:, permutation]
    shape = tuple(int(n) for n in rng.integers(1, 7, 3))
    scan = Volume(
        rng.integers(-1000, 1000, (1, *shape)).astype(np.int16),
        Geometry(shape, tuple(rng.uniform(0.3, 5, 3)), tuple(rng.uniform(-500, 500, 3)), rows(direction)),
        modality="CT",
        unit="HU",
        series="1.2.3",
    )
    layer = layer_of(scan)
    back = volume_from_layer(layer)
    assert np.shares_memory(back.data, scan.data)
    assert back.geometry.canonical_orientation().is_identity
    source = back.as_source()
    assert source.geometry.shape == shape
    np.testing.assert_allclose(source.geometry.affine, scan.geometry.affine, atol=1e-9)
    np.testing.assert_array_equal(source.data, scan.data)
    assert (source.modality, source.unit, source.series) == ("CT", "HU", "1.2.3")
    index = np.array([shape]) / 2
    np.testing.assert_allclose(
        patient_point(layer, layer.data_to_world(back.geometry.to_index(scan.geometry.to_world(index))[0])),
        scan.geometry.to_world(index)[0],
        atol=1e-9,
    )


def test_the_layer_stands_in_patient_millimetres_and_is_a_view() -> None:
    scan = volume(rotation=np.diag([-1.0, 1.0, 1.0]), modality="CT", unit="HU", notes=("padded",))
    array, options, kind = layer_data(scan)
    layer = Image(array, **options)
    assert kind == "image"
    assert np.shares_memory(array, scan.data)
    np.testing.assert_array_equal(layer.scale, scan.geometry.spacing)
    np.testing.assert_array_equal(layer.translate, scan.canonical().geometry.origin)
    assert tuple(str(u) for u in layer.units) == ("millimeter",) * 3
    assert layer.axis_labels == ("S", "P", "L")
    assert layer.contrast_limits == [-160, 240]
    record = layer.metadata["genesis"]
    assert record["notes"] == ["padded"]
    assert record["geometry"]["origin"] == list(scan.geometry.origin)


def test_channels_become_layers(viewer: Any) -> None:
    scan = volume()
    scan = Volume(np.concatenate([scan.data, scan.data + 1]), scan.geometry, name="two")
    first = add_volume(viewer, scan)
    assert len(viewer.layers) == 2
    assert first is viewer.layers[0]
    np.testing.assert_array_equal(volume_from_layer(viewer.layers[1]).data[0], scan.data[1])


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_a_plain_layer_counts_scale_rotation_and_affine() -> None:
    turn, affine = Rotation.from_euler("z", 12, degrees=True), np.eye(4)
    affine[:3, :3], affine[:3, 3] = Rotation.from_euler("x", 30, degrees=True).as_matrix(), (5, 6, 7)
    layer = Image(np.zeros((3, 4, 5)), scale=(2, 1, 1), rotate=turn.as_matrix(), translate=(1, 2, 3), affine=affine)
    scan = volume_from_layer(layer)
    for index in ([0, 0, 0], [2, 3, 4], [1, 0, 2]):
        np.testing.assert_allclose(scan.as_source().geometry.to_world(index), layer.data_to_world(index), atol=1e-9)
    assert any("millimetres" in note for note in scan.notes)


def test_a_plain_layer_in_micrometres_and_upside_down() -> None:
    layer = Image(np.arange(24.0).reshape(2, 3, 4), scale=(-1000, 500, 500), units=("um",) * 3)
    scan = volume_from_layer(layer)
    np.testing.assert_allclose(scan.geometry.spacing, (1, 0.5, 0.5))
    np.testing.assert_array_equal(scan.data[0], layer.data[::-1])
    np.testing.assert_array_equal(scan.as_source().data[0], layer.data)
    assert not any("millimetres" in note for note in scan.notes)


def test_a_cropped_and_moved_layer_keeps_its_place_in_the_patient() -> None:
    scan = volume((8, 8, 8), Rotation.from_euler("y", 20, degrees=True).as_matrix())
    layer = layer_of(scan)
    cropped = Image(
        layer.data[2:6, 1:5, 3:7],
        scale=layer.scale,
        translate=layer.data_to_world((2, 1, 3)),
        units=layer.units,
        metadata=layer.metadata,
    )
    np.testing.assert_allclose(
        volume_from_layer(cropped).geometry.affine, scan.crop((2, 1, 3), (4, 4, 4)).geometry.affine, atol=1e-9
    )


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
@pytest.mark.parametrize("rotate", [None, Rotation.from_euler("z", 90, degrees=True).as_matrix()])
@pytest.mark.parametrize("known", [True, False])
def test_derived_layers_lie_on_their_source(viewer: Any, known: bool, rotate: Any) -> None:
    scan = volume((6, 7, 8), Rotation.from_euler("x", 8, degrees=True).as_matrix(), modality="CT", unit="HU")
    array, options, _ = layer_data(scan)
    source = viewer.add_image(array, **(options if known else {"scale": (2, 1, 1), "rotate": rotate}))
    whole = volume_from_layer(source)
    twin = add_volume(viewer, whole.with_data(whole.data * 2, name="twice"), like=source)
    part = add_volume(
        viewer, whole.crop((1, 2, 3), (3, 3, 3)).with_data(np.ones((3, 3, 3), bool)), source, kind="labels"
    )
    assert np.array_equal(twin.data, source.data * 2)
    for layer in (twin, part):
        assert layer.units == source.units
        assert layer.axis_labels == source.axis_labels
        np.testing.assert_allclose(layer.rotate, source.rotate)
    np.testing.assert_array_equal(twin.translate, source.translate)
    corner = part.extent.world.mean(axis=0)
    middle = whole.geometry.to_world((2, 3, 4))
    np.testing.assert_allclose(patient_point(part, corner), middle, atol=1e-6)
    np.testing.assert_allclose(view_point(part, middle), corner, atol=1e-6)
    np.testing.assert_allclose(volume_from_layer(twin).geometry.affine, whole.geometry.affine, atol=1e-9)
    again = add_volume(viewer, volume_from_layer(twin), like=twin)
    np.testing.assert_allclose(again.translate, source.translate)
    assert np.array_equal(volume_from_layer(again).as_source().data, volume_from_layer(twin).as_source().data)


def test_a_volume_of_other_axes_is_not_laid_on_a_layer(viewer: Any) -> None:
    source = add_volume(viewer, volume())
    tilted = volume(rotation=Rotation.from_euler("x", 8, degrees=True).as_matrix())
    with pytest.raises(GeometryError, match="expected the axes of layer"):
        add_volume(viewer, tilted, like=source)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (Image(np.zeros((5, 6))), "2 dimensions"),
        (Image(np.zeros((2, 3, 5, 6))), "split it by channel"),
        (Image(np.zeros((4, 5, 6, 3), np.uint8), rgb=True), "RGB"),
        (Image([np.zeros((8, 8, 8)), np.zeros((4, 4, 4))], multiscale=True), "multiscale"),
        (Points(np.zeros((1, 3))), "got points"),
    ],
)
def test_layers_that_are_no_scan_are_refused_in_a_sentence(layer: Any, words: str) -> None:
    with pytest.raises(ScanError, match=words):
        volume_from_layer(layer)


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing")
def test_shear_is_refused() -> None:
    affine = np.eye(4)
    affine[0, 1] = 0.3
    for layer in (Image(np.zeros((3, 4, 5)), affine=affine), Image(np.zeros((3, 4, 5)), shear=[0.2, 0, 0])):
        with pytest.raises(GeometryError, match="shear"):
            volume_from_layer(layer)


def test_labels_are_told_by_name_and_values() -> None:
    few = volume((2, 2, 2), name="case_lung_mask")
    assert layer_kind(few) == "labels"
    assert layer_data(few)[2] == "labels"
    assert layer_kind(volume((2, 2, 2), name="thorax")) == "image"
    assert layer_kind(few.with_data(few.data - 1000)) == "image"
    assert layer_kind(few.with_data(few.data.astype(np.float32))) == "image"
    assert layer_kind(volume((2, 2, 2), name="case-1", source="/scans/labels/case-1.nii.gz")) == "labels"
    assert layer_kind(volume((8, 8, 8), name="segmented_mr")) == "image"
    lesions = volume((4, 4, 4), name="lesions")
    assert layer_kind(lesions.with_data((lesions.data > 9).astype(np.uint8))) == "labels"
    assert layer_kind(lesions.with_data(lesions.data.astype(np.uint8))) == "image"
    assert layer_kind(lesions.with_data(np.zeros((4, 4, 4), np.uint8))) == "image"
    mask = few.with_data(few.data > 3)
    assert layer_data(mask)[0].dtype == np.uint8


def test_scans_without_contrast_or_finite_voxels_still_show() -> None:
    scan = volume()
    for data in (np.zeros(scan.data.shape), np.full(scan.data.shape, np.nan), np.zeros(scan.data.shape, bool)):
        low, high = layer_data(scan.with_data(data))[1]["contrast_limits"]
        assert low < high


def test_lungs_open_in_the_lung_window() -> None:
    scan = volume((16, 16, 16), modality="CT", unit="HU")
    assert layer_data(scan.with_data(np.full((16, 16, 16), -800)))[1]["contrast_limits"] == (-1350, 150)


def test_two_tilts_in_one_viewer_are_said_once(viewer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    monkeypatch.setattr(bridge, "_said_oblique", set())
    first = add_volume(viewer, volume(name="straight"))
    add_volume(viewer, volume(rotation=Rotation.from_euler("x", 0.3, degrees=True).as_matrix(), name="nearly"))
    add_volume(viewer, volume_from_layer(first), like=first)
    assert oblique_conflict(viewer) is None
    tilted = volume(rotation=Rotation.from_euler("x", 12, degrees=True).as_matrix(), name="tilted")
    for _ in range(2):
        add_volume(viewer, tilted)
    assert len(said) == 1
    assert "tilted and straight" in said[0]
    assert "12.0 degrees" in said[0]
    assert oblique_conflict(viewer) is not None
