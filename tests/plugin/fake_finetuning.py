"""A child process that behaves as a fine-tuning, without torch: ``python fake_finetuning.py RUN [--resume]``."""

from __future__ import annotations

import sys
import time

import numpy as np

from genesis3d.events import Finished, Sampled, Started, Stepped, Validated
from genesis3d.io import read_volume
from genesis3d.training.live import _read
from genesis3d.training.rundir import RunDir


def predicted(asked: tuple[int, int, int], shape: tuple[int, ...]) -> tuple[np.ndarray, list[int]]:
    """Return two boxes on the slice asked for, and where it begins."""
    _case, axis, index = asked
    start, size = [0, 0, 0], list(shape)
    start[axis], size[axis] = index, 1
    found = np.zeros(size, np.uint16)
    found[:, 3:9, 3:9] = 1
    found[:, 9:12, 3:9] = 2
    return found, start


def main() -> None:
    run = RunDir(sys.argv[1])
    run.forget_old_order()
    config = run.config()
    labels = read_volume(config["data"]["labels"][0]).canonical().data[0]
    first = run.status().get("step", 0) if "--resume" in sys.argv else 0
    total = first + (config["steps"] or 2000)
    for folder in (run.checkpoints, run.path / "live"):
        folder.mkdir(exist_ok=True)
    run.resume_path.write_bytes(b"state")
    run.set_status("running")
    run.append(Started(what="finetune", total=total, device="cpu", precision="32"))
    last = None
    for step in range(first + 1, total + 1):
        run.append(Stepped(step=step, total=total, metrics={"loss": 1 / step}, rate=20.0, seconds_left=9.0))
        if step % 5 == 0:
            figures = {"loss": 1.1 / step, "dice": 0.5, "dice_bone": 0.4, "dice_fat": 0.6}
            run.append(Validated(step=step, metrics=figures, best=True))
        asked = _read(run.path / "live/request.json", [labels.shape])
        if asked is not None and (asked != last or step % 10 == 0):
            last = asked
            found, start = predicted(asked, labels.shape)
            path = run.path / "live/prediction.npz"
            np.savez(path.with_suffix(".part.npz"), labels=found, start=start, step=step)
            path.with_suffix(".part.npz").replace(path)
            run.append(Sampled(step=step, path="live/prediction.npz"))
        if run.control() == "stop":
            run.set_status("stopped", step=step)
            run.append(Finished(cancelled=True, result={"step": step}))
            return
        time.sleep(0.02)
    run.set_status("finished", step=total)
    run.append(Finished(result={"step": total}))


if __name__ == "__main__":
    main()
