"""The hash is one function in numpy, torch and compiled code, and heavy libraries stay out of the configurations."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genesis3d.rng import Address, hash64, uniform01
from genesis3d.transforms import hashing, kernels

KEYS = [0, 1, 2**63 - 1, 2**63, 2**64 - 1, Address(7).key()]


def _index(start: int, n: int = 500) -> np.ndarray:
    return (np.arange(n, dtype=np.uint64) + np.uint64(start)).astype(np.uint64)


@numba.vectorize(["uint64(uint64, uint64)"])
def _compiled_hash(key, index):  # type: ignore[no-untyped-def]
    return kernels._hash(key, index)


@settings(max_examples=50, deadline=None)
@given(key=st.integers(0, 2**64 - 1), start=st.integers(0, 2**62))
def test_numpy_torch_and_compiled_code_agree(key: int, start: int) -> None:
    index = _index(start)
    expected = hash64(key, index)
    assert np.array_equal(_compiled_hash(np.uint64(key), index), expected)
    tensor = hashing.hash64(hashing.key_tensor(np.array(key, np.uint64), "cpu"), torch.from_numpy(index.view(np.int64)))
    assert np.array_equal(tensor.numpy().view(np.uint64), expected)


@pytest.mark.parametrize("key", KEYS)
def test_uniform_numbers_agree_and_are_uniform(key: int) -> None:
    index = _index(0, 50_000)
    expected = uniform01(key, index)
    tensor = hashing.uniform01(hashing.key_tensor(np.array(key, np.uint64), "cpu"), torch.arange(50_000))
    assert np.array_equal(tensor.numpy(), expected)
    painted = np.zeros((1, 50_000), np.float32)
    kernels.paint(np.ones(50_000, bool), np.uint64(key), False, painted)
    assert np.array_equal(painted[0], expected)
    assert abs(float(expected.mean()) - 0.5) < 0.01
    assert abs(float(expected.var()) - 1 / 12) < 0.002


def test_bounded_integers_take_the_upper_or_lower_word() -> None:
    bits = torch.from_numpy(hash64(5, _index(0)).view(np.int64))
    plain = hash64(5, _index(0)).tolist()
    assert hashing.below(bits, 7, upper=True).tolist() == [(b >> 32) * 7 >> 32 for b in plain]
    assert hashing.below(bits, 7, upper=False).tolist() == [(b & 0xFFFFFFFF) * 7 >> 32 for b in plain]


def test_a_cache_that_cannot_be_used_is_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit

    def no_cache(*args: Any, **options: Any) -> Any:
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return real(*args, **options)

    monkeypatch.setattr(numba, "njit", no_cache)

    @kernels._kernel("int64(int64)")
    def double(x):  # type: ignore[no-untyped-def]
        return 2 * x

    assert double(21) == 42


def test_configurations_import_neither_torch_nor_numba() -> None:
    code = "import sys, genesis3d.transforms as t; t.TRANSFORMS.names(); print({'torch', 'numba'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
