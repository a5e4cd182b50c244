"""Segmentation of a whole CT on the CPU: ours against MONAI's inferer in float32, same network, weights and overlap.

python -m benchmarks.segment_speed [--shape 133 512 512] [--width 8] [--classes 4] [--model MODEL --scan SCAN]

Without --model a network is taught for --steps steps on a phantom, so that it is sure of its classes as a trained one
is; a Dice between random answers would say nothing.  MONAI is run twice: with our windows, and with windows of the
sub-volume the network was trained on, as is usual.  Ours includes everything from the scan in HU to labels.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import Row, parser, write
from benchmarks.segmenting import PATCH, drained, mean_dice, monai_scores, phantom, seconds, taught, to_unit
from genesis3d.inference import predictor
from genesis3d.networks.model_file import LoadedModel, read_model
from genesis3d.volume import Volume
from genesis3d.workflows.segment import Canvas, SegmentSettings, segment_volume

OVERLAP = 0.25


class Clock(Canvas):
    """A canvas that knows when it was first painted."""

    first: float | None = None

    def paint(self, box: Any, values: Any) -> None:
        super().paint(box, values)
        self.first = self.first or time.perf_counter()


def ours(volume: Volume, model: LoadedModel, *, skip_air: bool) -> tuple[float, Any, list[int]]:
    """Return seconds, result and window of a whole segmentation."""
    window: list[int] = []

    def look(event: Any) -> None:
        if event.kind == "started":
            window[:] = event.detail["window"]

    settings = SegmentSettings(overlap=OVERLAP, device="cpu", skip_air=skip_air)
    took, result = seconds(lambda: drained(segment_volume(volume, model, settings), look))
    return took, result, window


def first_pixels(volume: Volume, path: Path) -> float:
    """Return the seconds from the call, nothing loaded but torch, to the first labels where the user looks."""
    predictor._WARM.clear()
    canvas = Clock(np.zeros(volume.geometry.shape, np.uint16))
    began = time.perf_counter()
    model = predictor.warm(path, "cpu").model
    d, h, w = (n // 2 for n in volume.geometry.shape)
    work = segment_volume(volume, model, SegmentSettings(overlap=OVERLAP, device="cpu"), focus=(d, h, w), canvas=canvas)
    drained(work, lambda event: work.close() if canvas.first else None)
    assert canvas.first is not None
    return canvas.first - began


def measure(volume: Volume, path: Path) -> list[Row]:
    first = first_pixels(volume, path)
    model = read_model(path)
    cold, result, window = ours(volume, model, skip_air=False)
    warm, _, _ = ours(volume, model, skip_air=False)
    airless, trimmed, _ = ours(volume, model, skip_air=True)
    unit = to_unit(volume)
    roi = (window[0], window[1], window[2])
    with torch.inference_mode():
        model.module(torch.from_numpy(unit[:32, :64, :64].copy())[None, None])
    same, scores = seconds(lambda: monai_scores(model, unit, roi, OVERLAP))
    theirs = scores.argmax(0).to(torch.uint8).numpy()
    del scores
    usual, _ = seconds(lambda: monai_scores(model, unit, model.card.patch or PATCH, OVERLAP))
    dice, dice_airless = mean_dice(result.labels.data[0], theirs), mean_dice(trimmed.labels.data[0], theirs)
    size = " x ".join(str(n) for n in reversed(volume.geometry.shape))
    note = f"{size} voxels, {torch.get_num_threads()} thread(s), {result.precision}, window {' x '.join(map(str, roi))}"
    return [
        Row("MONAI float32, our windows / ours", same / warm, "times", ">= 2.5", same / warm >= 2.5, note),
        Row("MONAI float32, windows of the training / ours", usual / warm, "times", ">= 2.5", usual / warm >= 2.5),
        Row("MONAI float32, our windows / ours with air skipped", same / airless, "times", ">= 2.5",
            same / airless >= 2.5),
        Row("Dice between both", dice, "", ">= 0.998", dice >= 0.998),
        Row("Dice between both, air skipped", dice_airless, "", ">= 0.998", dice_airless >= 0.998),
        Row("ours", warm, "s", note=f"{cold:.1f} s the first time, with the trial of precision"),
        Row("ours, air skipped", airless, "s"),
        Row("MONAI float32, our windows", same, "s"),
        Row("MONAI float32, windows of the training", usual, "s"),
        Row("first labels where the user looks, model not loaded", first, "s", "<= 2 s", first <= 2),
    ]  # fmt: skip


def main() -> None:
    options = parser(__doc__ or "", "segment_speed")
    options.add_argument("--shape", type=int, nargs=3, default=(133, 512, 512), help="D H W of the phantom")
    options.add_argument("--width", type=int, default=8, help="of the network that is taught")
    options.add_argument("--classes", type=int, default=4, help="of the network that is taught, 2 to 4")
    options.add_argument("--steps", type=int, default=120, help="of its teaching")
    options.add_argument("--model", type=Path, help="a segmentation model in place of it")
    options.add_argument("--scan", type=Path, help="a scan in place of the phantom")
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        path = asked.model or taught(Path(temporary) / "m.safetensors", asked.width, asked.classes, asked.steps)
        if asked.scan:
            from genesis3d.io import read_volume

            volume = read_volume(asked.scan).canonical()
        else:
            volume, _ = phantom(tuple(asked.shape))
        rows = measure(volume, path)
    write(asked.out, "Speed of a segmentation", "python -m benchmarks.segment_speed", rows)


if __name__ == "__main__":
    main()
