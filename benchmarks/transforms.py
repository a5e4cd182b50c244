"""What a transformed sub-volume costs: 64 x 64 x 32 voxels, one CPU thread, drawing included, mean over addresses.

CPU rows count the thread's own processor time, so that other work on the machine is not charged to them.

python -m benchmarks.transforms
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from benchmarks.common import Row, parser, write
from genesis3d.rng import Address
from genesis3d.transforms import Transform, chain_preset

SHAPE = (1, 32, 64, 64)
REFERENCE = Path(__file__).parent.parent / "tests" / "engine" / "transforms" / "reference.py"


def reference() -> ModuleType:
    spec = importlib.util.spec_from_file_location("transform_reference", REFERENCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def mean_ms(
    work: Callable[[int], object], repeats: int, warm: int, clock: Callable[[], float] = time.thread_time
) -> float:
    """Mean milliseconds of ``work(k)`` over ``repeats`` values of k."""
    for k in range(warm):
        work(k)
    start = clock()
    for k in range(repeats):
        work(1000 + k)
    return 1000 * (clock() - start) / repeats


def ours(transform: Transform, device: str = "cpu", batch: int = 1, drawn: bool = True) -> Callable[[int], object]:
    x = torch.rand((batch, *SHAPE), generator=torch.Generator().manual_seed(0)).to(device)
    fixed = transform.draw(SHAPE, [Address(0, 0, slot) for slot in range(batch)])

    def work(k: int) -> object:
        params = transform.draw(SHAPE, [Address(0, k, slot) for slot in range(batch)]) if drawn else fixed
        result = transform.pair(x, params)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    return work


def monai_chain() -> Callable[[int], object] | None:
    """The nearest pipeline of MONAI's own transformations, or None where it is not installed."""
    try:
        from monai import transforms as monai
    except ImportError:
        return None
    holes = {"holes": 1, "max_holes": 5, "prob": 1.0}
    inner = {"spatial_size": (5, 10, 10), "max_spatial_size": (10, 21, 21), "fill_value": (0.0, 1.0)}
    outer = {"spatial_size": (14, 28, 28), "max_spatial_size": (19, 37, 37), "fill_value": (0.0, 1.0)}
    painting = monai.OneOf(
        [
            monai.RandCoarseDropout(dropout_holes=True, **holes, **inner),
            monai.RandCoarseDropout(dropout_holes=False, **holes, **outer),
            monai.Identity(),
        ],
        weights=(0.18, 0.72, 0.1),
    )
    chain = monai.Compose(
        [
            monai.RandAxisFlip(prob=0.4),
            monai.RandCoarseShuffle(holes=10_000, spatial_size=(1, 1, 1), max_spatial_size=(3, 6, 6), prob=0.5),
            monai.RandHistogramShift(num_control_points=4, prob=0.9),
            painting,
        ]
    )
    x = torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))

    def work(k: int) -> object:
        chain.set_random_state(k)
        return chain(x)

    return work


def gpu_rows() -> list[Row]:
    what = "official chain on a GPU, batch of 64, per sub-volume"
    if not torch.cuda.is_available():
        return [Row(what, None, "ms", "< 0.2 ms", None, "no GPU at hand")]
    official, clock = chain_preset("official"), time.perf_counter
    applied = mean_ms(ours(official, "cuda", 64, drawn=False), 20, 5, clock) / 64
    whole = mean_ms(ours(official, "cuda", 64), 20, 5, clock) / 64
    return [
        Row(what, applied, "ms", "< 0.2 ms", applied < 0.2, torch.cuda.get_device_name()),
        Row(f"{what}, drawing on the CPU included", whole, "ms"),
    ]


def comparisons(chain: float) -> list[Row]:
    plain, voxels = reference(), np.random.default_rng(0).random(SHAPE, dtype=np.float32)
    slow = mean_ms(lambda k: plain.published_chain(voxels, np.random.default_rng(k)), 40, 2)
    rows = [
        Row("the same by the plain reference (numpy loops)", slow, "ms"),
        Row("plain reference / official chain", slow / chain, "times"),
    ]
    other = monai_chain()
    if other is None:
        return [*rows, Row("nearest pipeline of MONAI", None, "ms", "", None, "MONAI is not installed")]
    nearest = mean_ms(other, 20, 2)
    note = "flip, coarse shuffle of 10,000 holes, histogram shift, coarse dropout, with the chain's probabilities"
    return [
        *rows,
        Row("nearest pipeline of MONAI", nearest, "ms", "", None, note),
        Row("MONAI / official chain", nearest / chain, "times"),
    ]


def main() -> None:
    options = parser(__doc__ or "", "transforms").parse_args()
    torch.set_num_threads(1)
    official = chain_preset("official")
    chain = mean_ms(ours(official), 400, 20)
    curve = mean_ms(ours(chain_preset("nonlinear")), 400, 20)
    rows = [
        Row("official chain, 10,000 windows", chain, "ms", "<= 8 ms, aim 3.5", chain <= 8),
        Row("of which drawing", mean_ms(lambda k: official.draw(SHAPE, [Address(0, k)]), 400, 20), "ms"),
        Row("non-linear alone", curve, "ms", "<= 1 ms", curve <= 1),
        Row("local shuffling alone", mean_ms(ours(chain_preset("shuffling")), 200, 10), "ms"),
        Row("in-painting alone", mean_ms(ours(chain_preset("inpainting")), 200, 10), "ms"),
        Row("out-painting alone", mean_ms(ours(chain_preset("outpainting")), 200, 10), "ms"),
        *comparisons(chain),
        *gpu_rows(),
    ]
    write(options.out, "Transformations (64 x 64 x 32, one thread)", "python -m benchmarks.transforms", rows)


if __name__ == "__main__":
    main()
