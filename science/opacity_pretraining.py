"""A pre-training for few labelled scans of lungs: opacities that were put in are found and taken out again.

python science/opacity_pretraining.py DATA OUT.safetensors

DATA holds open/chest_ct and open/dicom/lidc-0001.zip.  Scans are resampled to 6 mm slices and three in-plane spacings
about 2 mm.  Two outputs: the restored sub-volume, and where an opacity was put.  What is written is the second as a
segmentation of two classes, so that a fine-tuning may keep its head.  One thread, bfloat16.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from chest_targets import cut
from common import run_command, training_scans
from opacities import Array, depth_in, unit, with_opacities, with_texture
from torch import Tensor
from torch.nn import functional

from genesis3d.errors import DomainError
from genesis3d.intensity import Window
from genesis3d.io.itk_filters.lungs import lung_mask
from genesis3d.io.read import read_volume
from genesis3d.labels import LabelClass
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.training.averaging import Averaging
from genesis3d.training.half import autocast
from genesis3d.training.settings import AveragingSettings

if TYPE_CHECKING:
    from genesis3d.volume import Volume

SPACING = (6.0, 2.0, 2.0)
INPLANE = ((1.8, 0.0), (2.0, 2.0), (2.2, 4.0))  # mm of a voxel, mm by which slices are shifted
PATCH, BATCH, STEPS, RATE, WARMUP = (16, 64, 64), 4, 2000, 2e-3, 60
LEAST_LUNG = 0.045  # of a sub-volume
CLEAN, UNEVEN = 0.25, 0.15  # shares of sub-volumes: untouched, uneven density; else opacities
REST, CHANGED = 0.15, 3.0  # weights of the loss: outside the lungs; more where it was changed
NETWORK = UNet3d(width=8, decoder="nearest", norm="batch", flat=1, out_channels=2)
CLASSES = (LabelClass(value=0, name="background"), LabelClass(value=1, name="lesion"))


class Scans:
    """Sub-volumes of scans in memory: image in [0, 1], lungs (0 or 1), and depth in the lungs in mm."""

    def __init__(self, paths: list[Path], seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.scans: list[tuple[Tensor, Tensor, Tensor]] = []
        for path in paths:
            volume = read_volume(path).canonical()
            try:
                lungs = lung_mask(volume).mask
            except DomainError as error:
                print(f"left out: {error}")
                continue
            self.scans += [_coarse(cut(volume, lungs), cut(lungs, lungs), *how) for how in INPLANE]

    def place(self) -> list[Array]:
        """Return image, lungs and depth of a sub-volume that holds enough lung."""
        while True:
            scan = self.scans[self.rng.integers(len(self.scans))]
            need = [max(0, p - n) for p, n in zip(PATCH, scan[0].shape, strict=True)]
            pads = [side for n in reversed(need) for side in (n // 2, n - n // 2)]
            padded = [functional.pad(one.float(), pads) for one in scan]
            room = [n - p for p, n in zip(PATCH, padded[0].shape, strict=True)]
            start = [int(self.rng.integers(0, n + 1)) for n in room]
            box = tuple(slice(s, s + p) for s, p in zip(start, PATCH, strict=True))
            if float(padded[1][box].mean()) > LEAST_LUNG:
                return [one[box].numpy() for one in padded]

    def example(self) -> list[Array]:
        """Return input, target, lungs and what was changed, each of the size of a sub-volume.

        All show the lungs alone, as the scans of science/chest_targets.py do: batch norms that see both kinds fit none.
        """
        rng = self.rng
        x, lungs, depth = self._scanned(*self.place())
        x = x * lungs
        kind, weight = rng.random(), np.zeros_like(x)
        if kind < CLEAN:
            return [x, x, lungs, weight]
        if kind < CLEAN + UNEVEN:
            return [with_texture(rng, x, lungs, SPACING), x, lungs, weight]
        changed, weight = with_opacities(rng, x, lungs, depth, SPACING)
        if rng.random() < 0.25:
            changed = with_texture(rng, changed, lungs, SPACING)
        return [changed, x, lungs, weight]

    def _scanned(self, x: Array, lungs: Array, depth: Array) -> tuple[Array, Array, Array]:
        """Return the sub-volume as another scanner might have it: gain, offset, mirrored, blurred, noisy."""
        rng = self.rng
        x = np.clip((x - 0.125) * rng.uniform(0.92, 1.08) + 0.125 + rng.normal(0, 25 / 1200), 0, 1)
        for axis in range(3):
            if rng.random() < 0.5:
                x, lungs, depth = (np.flip(one, axis) for one in (x, lungs, depth))
        if rng.random() < 0.3:
            plain = torch.from_numpy(np.ascontiguousarray(x))[None, None]
            x = functional.avg_pool3d(plain, (1, 3, 3), 1, (0, 1, 1))[0, 0].numpy()
        if rng.random() < 0.5:
            x = np.clip(x + rng.standard_normal(x.shape).astype(np.float32) * rng.uniform(5, 35) / 1200, 0, 1)
        return tuple(np.ascontiguousarray(one, np.float32) for one in (x, lungs, depth))  # type: ignore[return-value]

    def batch(self) -> list[Tensor]:
        """Return input, target, lungs and changed, each (B, 1, D, H, W)."""
        examples = [self.example() for _ in range(BATCH)]
        return [torch.from_numpy(np.stack(part, dtype=np.float32))[:, None] for part in zip(*examples, strict=True)]


def _coarse(scan: Volume, lungs: Volume, inplane: float, phase: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return image, lungs and depth with 6 mm slices, averaged over boxes where that is coarser."""
    spacing = scan.geometry.spacing
    first = int(phase / spacing[0])

    def boxes(data: Array) -> Tensor:
        x = torch.from_numpy(np.ascontiguousarray(data[first:]))[None, None]
        new = zip(x.shape[2:], spacing, (SPACING[0], inplane, inplane), strict=True)
        size = [max(1, round(n * s / t)) for n, s, t in new]
        if all(m <= n for m, n in zip(size, x.shape[2:], strict=True)):
            return functional.adaptive_avg_pool3d(x, size)[0, 0]
        return functional.interpolate(x, size=size, mode="trilinear")[0, 0]

    inside = boxes((lungs.data[0] > 0).astype(np.float32)) > 0.5
    return boxes(unit(scan.data[0])), inside, torch.from_numpy(depth_in(inside.numpy(), SPACING))


def loss_of(output: Tensor, parts: list[Tensor]) -> Tensor:
    """Return ten times the weighted mean absolute error of the restored image, and what finding the opacity costs.

    ``output`` (B, 2, D, H, W) is a change to the input and the opacity's logit.  An opacity is looked for where its
    weight exceeds 0.5 and it changed the intensity by more than 0.05, by cross entropy and Dice inside the lungs.
    """
    given, target, lungs, changed = parts
    change, logit = output.float().chunk(2, dim=1)
    weight = (REST + lungs) * (1 + CHANGED * changed)
    restoring = 10 * ((given + change - target).abs() * weight).sum() / weight.sum()
    there = ((changed > 0.5) & (given - target > 0.05)).float()
    entropy = functional.binary_cross_entropy_with_logits(logit, there, REST + lungs, reduction="sum")
    found = torch.sigmoid(logit) * lungs
    dice = (2 * (found * there).sum() + 1) / (found.sum() + there.sum() + 1)
    return restoring + entropy / (REST + lungs).sum() + 0.5 * (1 - dice)


def pretrained(scans: Scans, steps: int) -> torch.nn.Module:
    """Return the network with the average of its weights."""
    network = NETWORK.build(0).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs
    optimiser = torch.optim.AdamW(network.parameters(), RATE, weight_decay=0.01)
    averaging = Averaging(AveragingSettings(decay=0.985), network)
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(scans.batch)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / WARMUP) * (1 - step / steps) ** 0.9
            parts, coming = coming.result(), ahead.submit(scans.batch)
            with autocast(torch.device("cpu"), True):
                output = network(parts[0].to(memory_format=torch.channels_last_3d))
            loss = loss_of(output, parts)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            averaging.update(network, step)
            if (step + 1) % 50 == 0:
                print(f"step {step + 1} of {steps}: loss {float(loss.detach()):.3f}", flush=True)
    return averaging.task


def as_segmentation(network: torch.nn.Module) -> torch.nn.Module:
    """Return ``network`` with logits of two classes, whose softmax is the sigmoid of the opacity's logit."""
    head = network.get_submodule("out_tr.final_conv")
    with torch.no_grad():
        for weight in head.parameters():
            weight[0].zero_()
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    folder, series = (Path(path) for path in training_scans(given.data / "open"))
    scans = Scans([*sorted(folder.glob("*.nii.gz")), series])
    card = ModelCard(
        title="chest-opacities", network=NETWORK, activation="softmax", classes=CLASSES,
        intensity=Window(low=-1000, high=200), task={"name": "segmentation"}, modality="CT", patch=PATCH,
        spacing=SPACING, step=given.steps, limits="made for a study of few labels; not for clinical use",
    )  # fmt: skip
    write_model(given.out, as_segmentation(pretrained(scans, given.steps)), card)


if __name__ == "__main__":
    run_command(main)
