"""What the preview shows, as values: no window, no viewer."""

from __future__ import annotations

import numpy as np
import pytest

from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.errors import ConfigError
from genesis3d.intensity import CtIntensity
from genesis3d.rng import Address
from genesis3d.training.pairs import PairMaker
from genesis3d.transforms import Chain, Flip, NonLinear, Step, chain_preset
from genesis3d.volume import Geometry, Volume
from napari_genesis.widgets.preview import model

SHAPE = (24, 40, 48)


@pytest.fixture(scope="module")
def ct() -> Volume:
    rng = np.random.default_rng(3)
    data = rng.integers(-1200, 900, SHAPE).astype(np.int16)
    geometry = Geometry(SHAPE, (2.5, 0.75, 0.75), (-100.0, 12.0, 30.0))
    return Volume(data[None], geometry, "CT", "HU", name="ct", source="scans/ct.nii.gz")


def frame(volume: Volume, **changes: object) -> model.Frame:
    values: dict = {"start": (4, 5, 6), "size": (16, 20, 24), "chain": chain_preset("official"), "seed": 3}
    return model.Frame(volume, CtIntensity().fit(volume), **(values | changes))


def test_identity_shows_the_scan_clipped_to_its_window(ct: Volume) -> None:
    shown = model.resolve(frame(ct, chain=chain_preset("identity")))
    expected = np.clip(ct.data[0, 4:20, 5:25, 6:30].astype(np.float32), -1000, 1000)
    assert shown.original.shape == (16, 20, 24)
    np.testing.assert_allclose(shown.original, expected, atol=1e-3)
    assert not shown.difference.any()
    assert shown.outcome == "identity"
    assert shown.geometry.origin == (-90.0, 15.75, 34.5)
    assert shown.unit == "HU"


def test_frames_give_the_trainers_pairs_bit_for_bit(ct: Volume) -> None:
    """A trainer whose only possible place is the box makes the same voxels at the same seed, step and slot."""
    chain = chain_preset("default")
    scale = CtIntensity().fit(ct)
    trainer = PairMaker(Sampler(SamplingConfig(patch=SHAPE, rule="anywhere"), [ct], [scale]), chain, seed=11, batch=4)
    pairs = trainer.pairs(7)
    for slot in range(4):
        whole = frame(ct, start=(0, 0, 0), size=SHAPE, chain=chain, seed=11, step=7, slot=slot)
        shown = model.resolve(whole)
        assert shown.pairs.input[0].equal(pairs.input[slot])
        assert shown.pairs.target[0].equal(pairs.target[slot])
        assert shown.pairs.outcomes[0] == pairs.outcomes[slot]


def test_training_frames_are_the_samplers_own(ct: Volume) -> None:
    scale = CtIntensity().fit(ct)
    sampler = Sampler(SamplingConfig(patch=(16, 16, 16)), [ct], [scale])
    trainer = PairMaker(sampler, chain_preset("gentle"), seed=5, batch=3)
    shown = model.resolve_training(trainer, trainer.chain, 5, 2, 1)
    assert shown.pairs.input[0].equal(trainer.pairs(2).input[1])
    assert shown.pairs.locations[0] == trainer.pairs(2).locations[1]
    d, h, w = shown.pairs.locations[0].start
    assert shown.geometry.origin == pytest.approx(ct.geometry.to_world((d, h, w)))


def test_flips_act_on_both_and_are_said(ct: Volume) -> None:
    chain = Chain(steps=(Step(transform=Flip(p=1.0, repeats=1, axes=("W",))),))
    shown = model.resolve(frame(ct, chain=chain))
    np.testing.assert_array_equal(shown.original, shown.transformed)
    assert shown.outcome == "flip W + identity"


def test_the_scan_is_never_copied_whole(ct: Volume) -> None:
    """Only the box is read: a scan that refuses to be read elsewhere is fine."""

    class Guarded(np.ndarray):
        def __getitem__(self, key):  # type: ignore[no-untyped-def]
            result = super().__getitem__(key)
            assert np.size(result) <= 16 * 20 * 24, "more than the box was read"
            return np.asarray(result)

    guarded = Volume(ct.data.view(Guarded), ct.geometry, "CT", "HU")
    assert model.resolve(frame(guarded)).original.shape == (16, 20, 24)


def test_a_box_larger_than_the_scan_is_padded(ct: Volume) -> None:
    start = model.clip_start((0, 0, 0), (32, 20, 24), SHAPE)
    assert start == (-4, 0, 0)
    shown = model.resolve(frame(ct, start=start, size=(32, 20, 24), chain=chain_preset("identity")))
    np.testing.assert_array_equal(shown.original[0], shown.original[4])


@pytest.mark.parametrize(
    ("start", "expected"), [((-3, 2, 99), (0, 2, 24)), ((4.6, 0, 0), (5, 0, 0)), ((8, 20, 24), (8, 20, 24))]
)
def test_starts_are_kept_inside(start: tuple, expected: tuple) -> None:
    assert model.clip_start(start, (16, 20, 24), SHAPE) == expected


def test_the_middle() -> None:
    assert model.centred((16, 20, 24), SHAPE) == (4, 10, 12)


def test_a_random_place_is_inside_and_by_address(ct: Volume) -> None:
    scale = CtIntensity().fit(ct)
    start = model.random_start((8, 8, 8), ct, scale, Address(4))
    assert start == model.random_start((8, 8, 8), ct, scale, Address(4))
    assert all(0 <= s <= n - 8 for s, n in zip(start, SHAPE, strict=True))


def test_a_setting_that_does_not_fit_the_box_is_one_sentence(ct: Volume) -> None:
    with pytest.raises(ConfigError, match="local shuffling: expected windows within"):
        model.resolve(frame(ct, size=(4, 4, 4), chain=chain_preset("shuffling")))


def test_drawn_curves_are_found_by_step(ct: Volume) -> None:
    points = (0.1, 0.9, 0.2, 0.8)
    steps = (Step(transform=Flip()), Step(transform=NonLinear(control_points=points, direction="decreasing"), p=0.0))
    chain = Chain(steps=steps)
    shown = model.resolve(frame(ct, chain=chain))
    ((index, (curve, applied)),) = model.drawn_curves(chain, shown.pairs.params).items()
    assert index == 1
    assert tuple(curve["control"]) == points
    assert curve["decreasing"]
    assert not applied


def test_a_saved_chain_gives_the_same_voxels(ct: Volume, tmp_path) -> None:  # type: ignore[no-untyped-def]
    chain = Chain(steps=(Step(transform=NonLinear(control_points=(0.1, 0.7, 0.4, 0.2)), p=0.8),))
    path = tmp_path / "chain.yaml"
    path.write_text(chain.to_yaml())
    read = model.read_chain(path)
    assert read == chain
    first, second = model.resolve(frame(ct, chain=chain)), model.resolve(frame(ct, chain=read))
    assert first.pairs.input.equal(second.pairs.input)


def test_chains_are_read_from_configurations_too(tmp_path) -> None:  # type: ignore[no-untyped-def]
    config = tmp_path / "config.json"
    config.write_text('{"schema_version": 1, "chain": "gentle", "cases": []}')
    assert model.read_chain(config) == chain_preset("gentle")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "steps: 4", "steps: [{transform: {name: unheard}}]"])
def test_files_that_are_no_chain_are_named(text: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        model.read_chain(path)


def test_the_snippet_makes_the_same_voxels(ct: Volume, tmp_path, capsys) -> None:  # type: ignore[no-untyped-def]
    from genesis3d.io import read_volume, write_volume

    path = tmp_path / "ct.nii.gz"
    write_volume(ct, path)
    volume = read_volume(path).canonical()
    shown = model.resolve(frame(volume, chain=chain_preset("paper"), seed=9, step=4, slot=2))
    names: dict = {}
    exec(model.python_snippet(frame(volume, chain=chain_preset("paper"), seed=9, step=4, slot=2)), names)
    assert names["input"].equal(shown.pairs.input)
    assert names["target"].equal(shown.pairs.target)
    assert capsys.readouterr().out.strip() == shown.outcome


def test_sizes_for_people() -> None:
    assert model.size_text((32, 64, 96)) == "96 x 64 x 32"
