from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis3d.errors import GeometryError
from genesis3d.volume import Geometry, Orientation, Volume, obliquity_degrees


def random_geometry(seed: int) -> Geometry:
    rng = np.random.default_rng(seed)
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    shape = tuple(int(n) for n in rng.integers(1, 7, 3))
    return Geometry(
        shape,  # type: ignore[arg-type]
        tuple(rng.uniform(0.3, 5, 3)),  # type: ignore[arg-type]
        tuple(rng.uniform(-300, 300, 3)),  # type: ignore[arg-type]
        tuple(map(tuple, q)),  # type: ignore[arg-type]
    )


def random_volume(seed: int) -> Volume:
    geometry = random_geometry(seed)
    return Volume(np.random.default_rng(seed).normal(size=(2, *geometry.shape)), geometry)


seeds = st.integers(0, 2**32 - 1)


@given(seeds)
def test_canonical_keeps_every_voxel_at_its_place(seed: int) -> None:
    volume = random_volume(seed)
    turned = volume.canonical()
    assert (np.diag(np.asarray(turned.geometry.direction)) >= 0).all()
    index = np.argwhere(np.ones(turned.geometry.shape))
    back = np.rint(volume.geometry.to_index(turned.geometry.to_world(index))).astype(int)
    assert np.array_equal(volume.data[:, *back.T], turned.data[:, *index.T])
    assert np.shares_memory(turned.data, volume.data)


@given(seeds)
def test_as_source_undoes_canonical(seed: int) -> None:
    volume = random_volume(seed)
    back = volume.canonical().as_source()
    assert np.array_equal(back.data, volume.data)
    assert np.allclose(back.geometry.affine, volume.geometry.affine, atol=1e-9)
    assert volume.canonical().canonical() is not None


@given(seeds)
def test_index_and_world_are_inverse(seed: int) -> None:
    geometry = random_geometry(seed)
    points = np.random.default_rng(seed).normal(size=(9, 3)) * 50
    assert np.allclose(geometry.to_world(geometry.to_index(points)), points, atol=1e-8)


@given(seeds)
def test_orientation_inverse(seed: int) -> None:
    rng = np.random.default_rng(seed)
    turn = Orientation(tuple(int(p) for p in rng.permutation(3)), tuple(bool(b) for b in rng.integers(0, 2, 3)))  # type: ignore[arg-type]
    array = rng.normal(size=(2, 3, 4, 5))
    assert np.array_equal(turn.inverse().apply(turn.apply(array)), array)


@given(seeds)
@settings(max_examples=25)
def test_a_crop_keeps_its_place_and_its_way_home(seed: int) -> None:
    volume = Volume(np.arange(6 * 7 * 8).reshape(1, 6, 7, 8), random_geometry(seed).__class__(
        (6, 7, 8), *[getattr(random_geometry(seed), name) for name in ("spacing", "origin", "direction")]
    )).canonical()  # fmt: skip
    start, shape = (1, 1, 2), (2, 3, 2)
    crop = volume.crop(start, shape)
    assert np.allclose(crop.geometry.to_world((0, 0, 0)), volume.geometry.to_world(start))
    source = crop.as_source()
    point = source.geometry.to_world((0, 0, 0))
    assert source.data[0, 0, 0, 0] == volume.data[0][tuple(np.rint(volume.geometry.to_index(point)).astype(int))]


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"shape": (0, 1, 1)}, "shape"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "spacing"),
        ({"origin": (0.0, float("inf"), 0.0)}, "origin"),
        ({"direction": ((1.0, 0.2, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))}, "direction"),
    ],
)
def test_a_grid_that_is_none_is_refused(bad: dict[str, object], word: str) -> None:
    with pytest.raises(GeometryError, match=f"{word}: expected"):
        Geometry(**({"shape": (2, 2, 2)} | bad))  # type: ignore[arg-type]


def test_data_must_fit_the_grid() -> None:
    with pytest.raises(GeometryError, match="data: expected"):
        Volume(np.zeros((2, 2, 2)), Geometry((2, 2, 2)))
    with pytest.raises(GeometryError, match="box: expected"):
        Volume(np.zeros((1, 4, 4, 4)), Geometry((4, 4, 4))).crop((2, 0, 0), (3, 1, 1))


def test_matches_and_obliquity() -> None:
    a = Geometry((2, 3, 4), (1, 1, 1))
    assert a.matches(Geometry((2, 3, 4), (1, 1, 1), (0.0005, 0, 0)))
    assert not a.matches(Geometry((2, 3, 4), (1, 1, 1.01)))
    assert not a.matches(Geometry((2, 3, 5)))
    c, s = np.cos(np.radians(10)), np.sin(np.radians(10))
    tilted = Geometry((2, 2, 2), direction=((c, -s, 0.0), (s, c, 0.0), (0.0, 0.0, 1.0)))
    assert obliquity_degrees(a) == pytest.approx(0, abs=1e-6)
    assert obliquity_degrees(tilted) == pytest.approx(10)
    assert Geometry((133, 512, 512), (2.5, 0.7, 0.7)).describe() == "512 x 512 x 133 voxels of 0.70 x 0.70 x 2.50 mm"
