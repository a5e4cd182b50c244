"""A training step of the full network on the CPU: precision and layout as the self-test chooses, against plain float32.

Both see the same pairs and take turns, so that other work on the machine hits both alike.

python -m benchmarks.train_step [--width 32] [--batch 2] [--steps 3]
"""

from __future__ import annotations

import os
import time

import torch

from benchmarks.common import Row, median, parser, write
from benchmarks.training import Ours, Plain, Setting, bf16_instructions, gradients, maker, phantom, relative, streamed
from genesis3d.networks.unet3d import UNet3d


def compared(setting: Setting, steps: int) -> tuple[list[Row], Ours]:
    """Rows of the two loops over the same pairs, and ours."""
    pairs = maker(setting, phantom(setting))
    batches = [pairs.pairs(step) for step in range(steps + 1)]
    ours, plain = Ours(setting, "cpu"), Plain(setting, torch.device("cpu"))
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    losses, apart = [], 0.0
    for k, batch in enumerate(batches):
        start = time.perf_counter()
        mine = ours.step(batch)
        middle = time.perf_counter()
        theirs = plain.step(batch.input, batch.target)
        end = time.perf_counter()
        if k == 0:  # the same weights, so the gradients compare; the first step warms up
            apart = relative(gradients(ours.stepper.task), gradients(plain.task))
            continue
        losses.append(abs(mine - theirs) / theirs)
        seconds["ours"].append(middle - start)
        seconds["plain"].append(end - middle)
    fast, slow = median(seconds["ours"]), median(seconds["plain"])
    half = bf16_instructions()
    target, limit = (">= 2 (bf16 instructions)", 2.0) if half else (">= 0.95 (no bf16 instructions)", 0.95)
    chosen = f"{ours.hardware.precision}, {'channels_last_3d' if ours.hardware.channels_last else 'contiguous'}"
    return [
        Row("step, plain float32 contiguous", slow, "s", note=f"batch {setting.batch}"),
        Row("step, ours", fast, "s", note=f"{chosen}: {ours.hardware.reason}"),
        Row("plain / ours", slow / fast, "times", target, slow / fast >= limit),
        Row("first gradient, relative difference", apart, "", "<= 0.15, that of bf16", apart <= 0.15),
        Row("loss of the following steps, relative difference", max(losses), "", "<= 0.02", max(losses) <= 0.02),
        Row("sub-volumes per second, ours", setting.batch / fast, "/s"),
    ], ours


def main() -> None:
    options = parser(__doc__ or "", "train_step")
    options.add_argument("--width", type=int, default=32)
    options.add_argument("--batch", type=int, default=2)
    options.add_argument("--steps", type=int, default=3)
    options.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    setting = Setting(UNet3d(width=chosen.width), batch=chosen.batch)
    rows, ours = compared(setting, chosen.steps)
    _, waiting = streamed(ours, maker(setting, phantom(setting)), chosen.steps)
    rows.append(Row("share of a step spent waiting for pairs", 100 * waiting, "%", "<= 2 %", waiting <= 0.02))
    name = f"Training step (width {chosen.width}, 64 x 64 x 32, {chosen.threads} threads)"
    write(chosen.out, name, "python -m benchmarks.train_step", rows)


if __name__ == "__main__":
    main()
