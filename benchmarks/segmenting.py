"""What the benchmarks of segmentation share: a scan with its structures, a network that knows them, MONAI's inferer."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from genesis3d.intensity import CtIntensity
from genesis3d.labels import LabelClass
from genesis3d.networks.model_file import LoadedModel, ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

PATCH = (32, 64, 64)
CLASSES = tuple(LabelClass(value=i, name=name) for i, name in enumerate(("background", "lung", "bone", "body")))


def phantom(shape: tuple[int, int, int]) -> tuple[Volume, NDArray[np.uint8]]:
    """Return a chest of ``shape`` in HU with noise, and its structures as indices of :data:`CLASSES`."""
    d, h, w = (np.arange(n, dtype=np.float32) / n - 0.5 for n in shape)
    d, h = d[:, None, None], h[:, None]
    labels = np.zeros(shape, np.uint8)
    labels[:, (h / 0.37) ** 2 + (w / 0.46) ** 2 <= 1] = 3
    for centre in (-0.21, 0.21):
        labels[(d / 0.45) ** 2 + (h / 0.25) ** 2 + ((w - centre) / 0.17) ** 2 <= 1] = 1
    labels[:, ((h - 0.29) / 0.05) ** 2 + (w / 0.05) ** 2 <= 1] = 2
    hu = np.array([-1000, -850, 400, 40], np.int16)[labels]
    hu += np.random.default_rng(0).normal(0, 25, shape).astype(np.int16)
    spacing = (2.5 * 133 / shape[0], 0.7 * 512 / shape[1], 0.7 * 512 / shape[2])
    return Volume(hu[None], Geometry(shape, spacing), "CT", "HU", "phantom"), labels


def taught(path: Path, width: int, classes: int, steps: int) -> Path:
    """Write a network that was shown sub-volumes of a small phantom for ``steps`` steps, so that it is sure of most."""
    volume, labels = phantom((64, 128, 128))
    unit, target = to_unit(volume), np.minimum(labels, classes - 1)
    network = UNet3d(width=width, out_channels=classes)
    module = network.build(0).train()
    optimiser = torch.optim.Adam(module.parameters(), 3e-3)
    rng = np.random.default_rng(0)
    for _ in range(steps):
        start = [int(rng.integers(0, n - p + 1)) for n, p in zip(labels.shape, PATCH, strict=True)]
        box = tuple(slice(s, s + p) for s, p in zip(start, PATCH, strict=True))
        optimiser.zero_grad()
        logits = module(torch.from_numpy(unit[box])[None, None])
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(target[box].astype(np.int64))[None]).backward()
        optimiser.step()
    card = ModelCard(title=f"benchmark, width {width}", network=network, task={"name": "segmentation"}, patch=PATCH,
                     activation="softmax", classes=CLASSES[:classes], intensity=CtIntensity())  # fmt: skip
    write_model(path, module.eval(), card)
    return path


def to_unit(volume: Volume) -> NDArray[np.float32]:
    """Return the scan (D, H, W) in [0, 1]."""
    return CtIntensity().fit(volume).to_unit(volume.data)[0]


def monai_scores(
    model: LoadedModel, unit: NDArray[np.float32], roi: tuple[int, int, int], overlap: float
) -> torch.Tensor:
    """Return the scores (K, D, H, W) of MONAI's inferer in float32, Gaussian weights, one window at a time."""
    from monai.inferers import sliding_window_inference

    with torch.inference_mode():
        x = torch.from_numpy(unit)[None, None]
        scores = sliding_window_inference(x, roi, 1, model.module, overlap, "gaussian", padding_mode="replicate")
    assert isinstance(scores, torch.Tensor)
    return scores[0]


def drained(work: Any, look: Callable[[Any], None] = lambda event: None) -> Any:
    """Run a workflow in memory to its end and return its result."""
    while True:
        try:
            look(next(work))
        except StopIteration as end:
            return end.value


def seconds(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return how long ``work`` took, and its result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def mean_dice(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return the mean Dice of the values that occur in either but 0."""
    values = sorted(set(np.unique(a)) | set(np.unique(b)) - {0})
    dice = [2 * np.sum((a == v) & (b == v)) / (np.sum(a == v) + np.sum(b == v)) for v in values if v]
    return float(np.mean(dice)) if dice else float("nan")
