"""Training on a GPU: ours against a loop that makes its pairs in the training thread with the plain reference.

Without a GPU every row says "not measured".  ``--device cpu`` with small sizes runs all of it, to see that it works.

python -m benchmarks.gpu [--width 32] [--batch 32] [--steps 40]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from benchmarks.common import Row, median, parser, write
from benchmarks.training import Ours, Plain, Setting, maker, phantom, plain_pairs, streamed, timed
from benchmarks.transforms import reference
from genesis3d.data.phantoms import thorax
from genesis3d.data.store import open_store
from genesis3d.io import write_volume
from genesis3d.networks.unet3d import UNet3d
from genesis3d.training.pairs import PairMaker
from genesis3d.workflows.prepare import PrepareConfig, prepare

COMMAND = "python -m benchmarks.gpu"
ROWS = (
    ("ours, sub-volumes per second", "/s", ""),
    ("plain loop, sub-volumes per second", "/s", ""),
    ("ours / plain loop", "times", ">= 5"),
    ("GPU busy with the network, of the time of a step", "%", ">= 90 %"),
    ("waiting for pairs, scans in memory", "%", "<= 2 %"),
    ("waiting for pairs, scans in a store", "%", "<= 2 %"),
    ("the store's training / the memory's", "times", ">= 0.95"),
)


def not_measured() -> list[Row]:
    return [Row(what, None, unit, target, None, f"no GPU at hand; {COMMAND}") for what, unit, target in ROWS]


def from_store(setting: Setting, device: torch.device | None, folder: Path, scans: int) -> PairMaker:
    """Pairs read from a store on disk, box by box."""
    for seed in range(scans):
        write_volume(thorax(setting.shape, seed=seed), folder / f"thorax-{seed}.nii.gz")
    files = tuple(str(path) for path in sorted(folder.glob("*.nii.gz")))
    out = str(folder / "store.zarr")
    for event in prepare(PrepareConfig(cases=files, out=out, jobs=1)):
        if event.kind == "failed":
            raise SystemExit(event.message)
    return maker(setting, open_store(out).loaded(), device)


def measured(setting: Setting, device: str, steps: int, plain_steps: int, scans: int) -> list[Row]:
    ours = Ours(setting, device)
    where = ours.device if ours.device.type == "cuda" else None
    loaded = phantom(setting, scans)
    pairs = maker(setting, loaded, where)
    each, waiting = streamed(ours, pairs, steps)
    ready = [pairs.pairs(step) for step in range(4)]
    network = median(timed(lambda k: ours.step(ready[k % 4]), max(3, steps // 2), warm=2))
    plain, published = Plain(setting, ours.device), reference().published_chain
    on_cpu = maker(setting, loaded)
    slow = median(timed(lambda k: plain.step(*plain_pairs(on_cpu, published, k)), plain_steps))
    with tempfile.TemporaryDirectory() as folder:
        stored = from_store(setting, where, Path(folder), scans)
        store_each, store_waiting = streamed(ours, stored, steps)
    values = [
        setting.batch / each, setting.batch / slow, slow / each, 100 * min(1.0, network / each), 100 * waiting,
        100 * store_waiting, each / store_each,
    ]  # fmt: skip
    limits = [None, None, 5.0, 90.0, -2.0, -2.0, 0.95]
    name = torch.cuda.get_device_name() if where is not None else "processor"
    note = f"{name}, width {setting.network.width}, batch {setting.batch}, {ours.hardware.precision}"
    rows = []
    for (what, unit, target), value, limit in zip(ROWS, values, limits, strict=True):
        met = None if limit is None else value >= limit if limit > 0 else value <= -limit
        rows.append(Row(what, value, unit, target, met, note if limit is None else ""))
    return rows


def options() -> argparse.ArgumentParser:
    known = parser(__doc__ or "", "gpu")
    known.add_argument("--device", default="cuda")
    known.add_argument("--width", type=int, default=32)
    known.add_argument("--batch", type=int, default=32)
    known.add_argument("--steps", type=int, default=40)
    known.add_argument("--plain-steps", type=int, default=5)
    known.add_argument("--scans", type=int, default=4)
    known.add_argument("--patch", type=int, nargs=3, default=(32, 64, 64))
    known.add_argument("--shape", type=int, nargs=3, default=(160, 256, 256), help="of a phantom scan")
    return known


def main() -> None:
    chosen = options().parse_args()
    if chosen.device.startswith("cuda") and not torch.cuda.is_available():
        rows = not_measured()
    else:
        torch.backends.cudnn.benchmark = True
        setting = Setting(UNet3d(width=chosen.width), tuple(chosen.patch), chosen.batch, tuple(chosen.shape))
        start = time.perf_counter()
        rows = measured(setting, chosen.device, chosen.steps, chosen.plain_steps, chosen.scans)
        print(f"measured in {time.perf_counter() - start:.0f} s")
    write(chosen.out, "Training on a GPU (64 x 64 x 32)", COMMAND, rows)


if __name__ == "__main__":
    main()
