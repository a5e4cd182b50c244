"""The contract of every registered transformation and every preset of the chain."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis3d.errors import ConfigError, DomainError
from genesis3d.rng import Address
from genesis3d.transforms import CHAIN_PRESETS, TRANSFORMS, Chain, Step, Transform, plain_path, select

SHAPE = (2, 16, 20, 24)
SUBJECTS: dict[str, Transform] = {
    **{name: TRANSFORMS.get(name)() for name in TRANSFORMS.names()},
    **{f"preset {name}": chain for name, chain in CHAIN_PRESETS.items()},
}
every = pytest.mark.parametrize("transform", SUBJECTS.values(), ids=SUBJECTS.keys())


def _batch(cases: int, seed: int = 0, shape: tuple[int, int, int, int] = SHAPE) -> torch.Tensor:
    return torch.rand((cases, *shape), generator=torch.Generator().manual_seed(seed))


def _addresses(cases: int, seed: int = 7) -> list[Address]:
    return [Address(seed, 3, slot) for slot in range(cases)]


@every
def test_a_case_alone_equals_the_case_in_a_batch(transform: Transform) -> None:
    x, addresses = _batch(6), _addresses(6)
    together = transform.apply(x, transform.draw(SHAPE, addresses))
    for i, address in enumerate(addresses):
        alone = transform.apply(x[i : i + 1], transform.draw(SHAPE, [address]))
        assert torch.equal(alone[0], together[i])


@every
def test_the_same_address_gives_the_same_result(transform: Transform) -> None:
    first, second = (transform.draw(SHAPE, _addresses(3)) for _ in range(2))
    assert first.keys() == second.keys()
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert torch.equal(transform.apply(_batch(3), first), transform.apply(_batch(3), second))


@every
def test_parameters_are_plain_arrays_with_a_leading_batch_axis(transform: Transform) -> None:
    params = transform.draw(SHAPE, _addresses(4))
    assert all(type(array) is np.ndarray and array.dtype != object and len(array) == 4 for array in params.values())
    one = transform.sample(SHAPE, _addresses(4)[2])
    assert all(np.array_equal(one[key], array) for key, array in select(params, 2).items())


@every
def test_input_and_global_generators_are_left_alone(transform: Transform) -> None:
    x = _batch(4)
    before = x.clone()
    states = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    params = transform.draw(SHAPE, _addresses(4))
    kept = {key: array.copy() for key, array in params.items()}
    transform.pair(x, params)
    assert torch.equal(x, before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert all(np.array_equal(params[key], kept[key]) for key in kept)


@every
def test_shape_dtype_device_and_domain_are_kept(transform: Transform) -> None:
    x = _batch(5)
    out, target = transform.pair(x, transform.draw(SHAPE, _addresses(5)))
    for result in (out, target):
        assert result.shape == x.shape
        assert result.dtype == x.dtype
        assert result.device == x.device
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    empty = transform.apply(x[:0], {})
    assert empty.shape == (0, *SHAPE)


@every
def test_probability_zero_and_a_disabled_step_are_the_identity(transform: Transform) -> None:
    for step in (Step(transform=transform, p=0), Step(transform=transform, enabled=False)):
        chain = Chain(steps=(step,))
        params = chain.draw(SHAPE, _addresses(3))
        x = _batch(3)
        assert torch.equal(chain.apply(x, params), x)
        assert [chain.outcome(params, i) for i in range(3)] == ["identity"] * 3


@every
def test_the_compiled_path_gives_the_bits_of_the_torch_path(transform: Transform) -> None:
    x, params = _batch(8), transform.draw(SHAPE, _addresses(8))
    fast = transform.pair(x, params)
    with plain_path():
        plain = transform.pair(x, params)
    assert torch.equal(fast[0], plain[0])
    assert torch.equal(fast[1], plain[1])


@every
def test_the_torch_path_never_leaves_the_device(transform: Transform) -> None:
    # torch's meta device computes shapes and devices only, and refuses to mix with tensors of the CPU
    x = torch.empty((6, *SHAPE), device="meta")
    params = transform.draw(SHAPE, _addresses(6))
    out, target = transform._pair(x, x, params)
    assert out.device.type == target.device.type == "meta"
    assert out.shape == target.shape == x.shape


@every
def test_a_view_of_other_strides_gives_the_same_voxels(transform: Transform) -> None:
    params = transform.draw(SHAPE, _addresses(2))
    x = _batch(2)
    view = x.permute(0, 4, 3, 2, 1).contiguous().permute(0, 4, 3, 2, 1)
    assert not view.is_contiguous()
    assert torch.equal(transform.apply(view, params), transform.apply(x, params))


@every
def test_the_configuration_makes_the_round_trip(transform: Transform, tmp_path: Path) -> None:
    file = tmp_path / "transform.yaml"
    file.write_text(transform.to_yaml(), encoding="utf-8")
    assert type(transform).from_yaml(file) == transform
    assert TRANSFORMS.parse(transform.to_dict()) == transform


@every
@pytest.mark.parametrize("bad", [-0.01, 1.01, float("nan"), float("inf")])
def test_intensities_outside_the_domain_are_refused(transform: Transform, bad: float) -> None:
    x = _batch(2)
    x[1, 0, 3, 4, 5] = bad
    with pytest.raises(DomainError, match=r"expected intensities in \[0, 1\]"):
        transform.apply(x, transform.draw(SHAPE, _addresses(2)))


@every
def test_what_is_no_such_tensor_is_refused(transform: Transform) -> None:
    params = transform.draw(SHAPE, _addresses(2))
    with pytest.raises(ConfigError, match="float32"):
        transform.apply(_batch(2).double(), params)
    with pytest.raises(ConfigError, match="float32"):
        transform.apply(_batch(2)[0], params)
    if params:
        with pytest.raises(ConfigError, match="for 3 cases"):
            transform.apply(_batch(3), params)


@every
def test_every_field_is_described(transform: Transform) -> None:
    assert transform.label
    assert all(field.description for field in type(transform).model_fields.values())


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**63),
    dims=st.tuples(st.integers(16, 24), st.integers(16, 24), st.integers(16, 24)),
    channels=st.integers(1, 3),
    name=st.sampled_from(sorted(CHAIN_PRESETS)),
)
def test_any_seed_and_size_keep_the_contract(seed: int, dims: tuple[int, int, int], channels: int, name: str) -> None:
    shape, chain = (channels, *dims), CHAIN_PRESETS[name]
    x = _batch(2, seed % 2**31, shape)
    params = chain.draw(shape, [Address(seed, 0, slot) for slot in range(2)])
    out, target = chain.pair(x, params)
    alone = chain.pair(x[1:], select(params, np.array([1])))
    assert torch.equal(alone[0][0], out[1])
    assert torch.equal(alone[1][0], target[1])
    assert float(out.min()) >= 0
    assert float(out.max()) <= 1
    assert torch.allclose(target.sum((1, 2, 3, 4)), x.sum((1, 2, 3, 4)))
