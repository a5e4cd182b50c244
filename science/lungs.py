"""Train genesis-lungs, which finds the lungs however ill, without a label: masks of healthy lungs, disease painted in.

python science/lungs.py DATA [--out FILE]

DATA holds open/chest_ct and open/dicom/lidc-0001.zip.  The classical mask of each scan is taken as true; the network
sees the scan with consolidation, effusion, ground glass and nets painted into the lungs, and is to return the mask.
Everything is set by science/genesis-lungs.yaml.  One thread, bfloat16.
"""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
from chest_ct import LICENCE, SOURCES
from common import ROOT, run_command, training_scans
from lung_disease import Array, scanned, with_disease
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from genesis3d.config import Config
from genesis3d.errors import ModelError
from genesis3d.intensity import CtIntensity, Scale
from genesis3d.io.itk_filters.lungs import LEFT, RIGHT, lung_mask
from genesis3d.io.itk_filters.morphology import distance_to
from genesis3d.io.itk_filters.resample import resampled, resampled_onto
from genesis3d.io.read import read_volume
from genesis3d.labels import LabelClass
from genesis3d.networks.base import NETWORKS, Network
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.training.averaging import Averaging
from genesis3d.training.half import autocast
from genesis3d.training.settings import AveragingSettings

if TYPE_CHECKING:
    from genesis3d.volume import Volume

NAME = "genesis-lungs"
CONFIG = ROOT / "science" / f"{NAME}.yaml"
MOST_BYTES = 2_500_000
STORED = (4.0, 2.0, 2.0)  # mm of the grid scans are kept on
OUTSIDE = -1024.0
SETTLING = 40  # batches that the statistics of the batch norms are measured on
CLASSES = (
    LabelClass(value=0, name="background"),
    LabelClass(value=LEFT, name="left lung", colour="#4fc3f7"),
    LabelClass(value=RIGHT, name="right lung", colour="#ffd54f"),
)
USED = tuple(one for one in SOURCES if one.name != "RIDER Pilot")  # its one scan is left out
DESCRIPTION = (
    "Finds the left and the right lung (the patient's) in chest CT, with what consolidation, effusion or ground glass "
    "is in them. A 3D U-Net of width 8 trained without a label of anybody's: on lung masks found by rules in scans "
    "where these do well, with disease painted into the lungs."
)
LIMITS = (
    "Eight public scans, their masks made by rules and looked at, the disease in them painted: it has seen no real "
    "consolidation or effusion, no child, no lung removed or collapsed, no prone patient. In two scans with much "
    "consolidation it kept 90 and 65 % of the lesions; beside healthy lungs it takes some liver, spleen and muscle for "
    "lung, and its border is coarse (docs/lungs.md). Chest CT in Hounsfield units only. Not for clinical use."
)


class Phase(Config):
    """A part of the training, with an average of the weights of its own."""

    steps: int = Field(ge=1)
    lr: float = Field(gt=0, description="learning rate it begins with; it falls to 0")
    fixed: bool = Field(description="batch norms with fixed statistics, as the network is used, or those of each batch")
    healthy: float = Field(ge=0, le=1, description="share of sub-volumes without painted disease")
    layers: int = Field(ge=1, description="most layers of disease in the others")


class Settings(Config):
    """The training."""

    leave_out: tuple[str, ...] = Field((), description="scans whose classical mask is not good")
    network: Annotated[Network, *NETWORKS.field()]
    intensity: CtIntensity
    spacing: tuple[float, float, float] = Field(description="mm of a voxel the network sees")
    patch: tuple[int, int, int]
    batch: int = Field(ge=1)
    phases: tuple[Phase, ...]
    warmup: int = Field(ge=0)
    decay: float = Field(ge=0, lt=1, description="of the average of the weights")
    mirrored: float = Field(ge=0, le=1, description="share that is mirrored, left and right changing their names")
    upended: float = Field(ge=0, le=1, description="share whose slices run the wrong way, as some files say they do")
    seed: int = 0


class Examples:
    """Sub-volumes of scans in memory: channels HU + 1024, left, right, depth in the lungs in mm, nearer lung."""

    def __init__(self, scans: list[Tensor], settings: Settings) -> None:
        self.scans, self.settings, self.phase = scans, settings, settings.phases[0]
        self.rng = np.random.default_rng(settings.seed)

    def batch(self) -> tuple[Tensor, Tensor]:
        """Return images (B, 1, D, H, W) in [0, 1] and classes (B, D, H, W)."""
        examples = [self.example() for _ in range(self.settings.batch)]
        images, labels = zip(*examples, strict=True)
        return torch.from_numpy(np.stack(images))[:, None], torch.from_numpy(np.stack(labels))

    def example(self) -> tuple[Array, np.ndarray]:
        """Return one image and its classes."""
        rng, settings = self.rng, self.settings
        raised, left, right, depth, near = self._turned(self.scans[rng.integers(len(self.scans))])
        labels = np.where(left > 0.5, LEFT, np.where(right > 0.5, RIGHT, 0))
        hu = raised + np.float32(OUTSIDE)
        if rng.random() >= self.phase.healthy:
            hu = with_disease(rng, hu, near.round(), np.where(labels > 0, np.maximum(depth, 0.1), depth),
                              settings.spacing, self.phase.layers)  # fmt: skip
        if rng.random() < settings.mirrored:
            hu, labels = hu[:, :, ::-1], np.array([0, RIGHT, LEFT])[labels[:, :, ::-1]]
        if rng.random() < settings.upended:
            hu, labels = hu[::-1], labels[::-1]
        scale = Scale(settings.intensity.low, settings.intensity.high)
        return scale.to_unit(scanned(rng, hu)), np.ascontiguousarray(labels)

    def _turned(self, scan: Tensor) -> Array:
        """Return a sub-volume (5, D, H, W) of ``scan``, turned, scaled and cut anywhere."""
        rng, settings = self.rng, self.settings
        size = np.array(scan.shape[1:]) * STORED
        view = np.array(settings.patch) * settings.spacing
        room = np.maximum(size - view, 0) / 2 + 15
        middle = rng.uniform(-room, room)
        turn = _rotation(rng.normal(0, np.radians((8, 4, 4)))) * rng.uniform(0.85, 1.2)
        turn = turn @ np.diag(rng.uniform(0.93, 1.07, 3))
        matrix = np.concatenate([turn * view[None] / size[:, None], (middle * 2 / size)[:, None]], axis=1)
        flipped = torch.from_numpy(matrix[::-1, [2, 1, 0, 3]].astype(np.float32))[None]  # torch counts x, y, z
        grid = functional.affine_grid(flipped, [1, 1, *settings.patch], align_corners=False)
        return np.asarray(functional.grid_sample(scan[None].float(), grid, align_corners=False)[0].numpy())


def _rotation(angles: np.ndarray) -> np.ndarray:
    """Return the rotation by ``angles`` (radians) about the axes D, H and W."""
    result = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (k for k in range(3) if k != axis)
        one = np.eye(3)
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        result = result @ one
    return result


def kept(path: Path) -> Tensor:
    """Return a scan as :class:`Examples` keeps it, its lungs found by rules."""
    volume = read_volume(path).canonical()
    found = lung_mask(volume)
    print(f"{volume.name}: {' '.join(found.warnings) or 'no doubts'}", flush=True)
    hu = resampled(volume.with_data(volume.data.clip(OUTSIDE, 1000).astype(np.float32)), STORED)
    left, right = (_share(found.mask, side, hu) for side in (LEFT, RIGHT))
    outside = [distance_to(one > 0.5, STORED) if (one > 0.5).any() else np.full_like(one, 1e3) for one in (left, right)]
    near = np.where(outside[0] <= outside[1], LEFT, RIGHT)
    channels = (hu.data[0] - OUTSIDE, left, right, -np.minimum(*outside).clip(-60, 60), near)
    return torch.from_numpy(np.stack(channels).astype(np.float16))


def _share(mask: Volume, side: int, onto: Volume) -> Array:
    return resampled_onto(mask.with_data((mask.data == side).astype(np.float32)), onto.geometry, 0.0).data[0]


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Return cross entropy and Dice of the two lungs."""
    logits = logits.float()
    there = functional.one_hot(labels, len(CLASSES)).movedim(-1, 1).float()
    found = torch.softmax(logits, dim=1)
    both = (found * there).sum((0, 2, 3, 4))[1:]
    dice = (2 * both + 100) / ((found + there).sum((0, 2, 3, 4))[1:] + 100)
    return functional.cross_entropy(logits, labels) + 1 - dice.mean()


def train(examples: Examples, settings: Settings, out: Path) -> None:
    """Train in phases and write the average of the weights."""
    network = settings.network.build(settings.seed).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]  # torch's stubs
    for index, phase in enumerate(settings.phases):
        examples.phase = phase
        if phase.fixed and not settings.phases[index - 1].fixed:
            network = settled(network, examples)
        network = trained(network.train(not phase.fixed), examples, settings)
    write(out, network, settings)


def trained(network: torch.nn.Module, examples: Examples, settings: Settings) -> torch.nn.Module:
    """Return the average of the weights over the phase of ``examples``; ``network`` stays in the mode it is in."""
    steps, lr = examples.phase.steps, examples.phase.lr
    network.requires_grad_(True)
    optimiser = torch.optim.AdamW(network.parameters(), lr, weight_decay=0.01)
    averaging = Averaging(AveragingSettings(decay=settings.decay), network)
    total = 0.0
    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(examples.batch)
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = lr * min(1, (step + 1) / settings.warmup) * (1 - step / steps) ** 0.9
            (images, labels), coming = coming.result(), ahead.submit(examples.batch)
            with autocast(torch.device("cpu"), True):
                logits = network(images.to(memory_format=torch.channels_last_3d))
            loss = loss_of(logits, labels)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]  # torch's stubs
            torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
            optimiser.step()
            averaging.update(network, step)
            total += float(loss.detach())
            if (step + 1) % 50 == 0:
                print(f"step {step + 1} of {steps}: loss {total / 50:.3f}", flush=True)
                total = 0.0
    return averaging.task


def settled(network: torch.nn.Module, examples: Examples) -> torch.nn.Module:
    """Return ``network`` with the statistics of its batch norms measured anew: those of training are of other weights.

    Averaging the weights leaves statistics behind that belong to the last of them (Izmailov et al.: Averaging weights
    leads to wider optima, UAI 2018).
    """
    norms = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm3d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # type: ignore[assignment]  # torch: the plain mean
    network.train()
    with torch.no_grad():
        for _ in range(SETTLING):
            network(examples.batch()[0])
    return network.eval()


def write(out: Path, network: torch.nn.Module, settings: Settings) -> None:
    """Write the model in half precision with its card."""
    card = ModelCard(
        title=NAME, description=DESCRIPTION, limits=LIMITS, trained_by="the napari-genesis developers",
        network=settings.network, task={"name": "segmentation"}, activation="softmax", classes=CLASSES,
        intensity=settings.intensity, modality="CT", patch=settings.patch, working_spacing=settings.spacing,
        training=settings.replaced(leave_out=()).to_dict(), attribution=USED, licence=LICENCE,
        step=sum(phase.steps for phase in settings.phases),
    )  # fmt: skip
    write_model(out, network, card, dtype="float16")
    if out.stat().st_size > MOST_BYTES:
        raise ModelError(f"{out.name}: expected at most {MOST_BYTES} bytes to ship, got {out.stat().st_size}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with open/ in it")
    parser.add_argument("--out", type=Path, default=ROOT / "src" / "genesis3d" / "models" / f"{NAME}.safetensors")
    given = parser.parse_args()
    torch.set_num_threads(1)
    settings = Settings.from_yaml(CONFIG)
    folder, series = (Path(path) for path in training_scans(given.data / "open"))
    paths = [path for path in [*sorted(folder.glob("*.nii.gz")), series]
             if path.name.partition(".")[0] not in settings.leave_out]  # fmt: skip
    train(Examples([kept(path) for path in paths], settings), settings, given.out)
    print(given.out)


if __name__ == "__main__":
    run_command(main)
