"""The picture of the four patterns of synthetic opacities, several here and lung-wide below.

python science/opacity_picture.py SCAN OUT.png [--at D,H,W] [--seed N]

SCAN is a chest CT, --at the voxel in the middle of what is shown.  What is drawn is the transformation `opacity` with
one pattern alone, on a sub-volume of 24 slices and 180 mm; its middle slice is shown in a lung window.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from common import run_command

from genesis3d.io.read import read_volume
from genesis3d.rng import Address
from genesis3d.transforms import Opacity
from genesis3d.transforms.opacity import PATTERNS
from genesis3d.volume import Volume

SLICES, SIDE = 24, 180.0  # mm
WINDOW = (-1000.0, 200.0)  # HU at 0 and 1
DRAWS = 5  # of which the one that changes most of the slice is shown, for an opacity may lie in other slices
SHOWN = (-1150.0, 250.0)  # HU from black to white
NAMES = tuple(pattern.replace(" ", "_") for pattern in PATTERNS)


def part(scan: Volume, at: tuple[int, int, int]) -> np.ndarray:
    """Return the HU (D, H, W) about the voxel ``at``."""
    size = [SLICES, *(round(SIDE / mm) for mm in scan.geometry.spacing[1:])]
    start = [min(max(0, a - s // 2), n - s) for a, s, n in zip(at, size, scan.data.shape[1:], strict=True)]
    box = tuple(slice(first, first + s) for first, s in zip(start, size, strict=True))
    return np.asarray(scan.data[0][box], np.float32)


def drawn(hu: np.ndarray, settings: Opacity, seed: int) -> tuple[np.ndarray, float]:
    """Return the middle slice in HU, and how much of the sub-volume changed there."""
    low, high = WINDOW
    x = torch.from_numpy(((hu - low) / (high - low)).clip(0, 1))[None, None]
    params = settings.draw((1, *hu.shape), [Address(seed)])
    change = (settings.apply(x, params) - x)[0, 0, SLICES // 2].numpy() * (high - low)
    return hu[SLICES // 2] + change, float((change > 60).mean())


def picture(scan: Volume, at: tuple[int, int, int], seed: int, out: Path) -> None:
    """Write the picture: the scan and four patterns, focal above and lung-wide below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    hu, spacing = part(scan, at), scan.geometry.spacing
    figure = Figure(figsize=(12.5, 5.3), dpi=100, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 5)
    for row, (wide, extent) in enumerate((("", (0.3, 1.0)), ("lung-wide ", (0.6, 0.8)))):
        _show(axes[row, 0], hu[SLICES // 2], "the scan")
        for column, (name, text) in enumerate(zip(NAMES, PATTERNS, strict=True), 1):
            weights = dict.fromkeys(NAMES, 0.0) | {name: 1.0}
            settings = Opacity(
                **weights, wide=float(bool(wide)), extent=extent, spacing=spacing, low=WINDOW[0], high=WINDOW[1],
                most=1 if wide else 6, radius_mm=(12.0, 30.0), nodule_mm=(2.0, 5.0),
            )  # fmt: skip
            tried = [drawn(hu, settings, seed * 100 + k) for k in range(1 if wide else DRAWS)]
            _show(axes[row, column], max(tried, key=lambda each: each[1])[0], wide + text)
    figure.tight_layout(pad=0.5, h_pad=1.2)
    figure.savefig(out)


def _show(axes: object, image: np.ndarray, text: str) -> None:
    axes.imshow(image, cmap="gray", vmin=SHOWN[0], vmax=SHOWN[1])  # type: ignore[attr-defined]
    axes.set_title(text, fontsize=10)  # type: ignore[attr-defined]
    axes.set_axis_off()  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--at", default="")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    scan = read_volume(given.scan).canonical()
    d, h, w = (int(n) for n in given.at.split(",")) if given.at else (n // 2 for n in scan.data.shape[1:])
    picture(scan, (d, h, w), given.seed, given.out)


if __name__ == "__main__":
    run_command(main)
