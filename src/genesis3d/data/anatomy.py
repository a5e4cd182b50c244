"""The parts of the thorax phantom, as soft-edged shapes in millimetres on a grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.trees import grow

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.rng import Address

    Field = NDArray[np.floating[Any]]

__all__ = ["Grid", "Thorax"]

Triple = tuple[int, int, int]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Grid:
    """Voxels around the origin of millimetre axes (s, p, l): up, to the back, to the patient's left."""

    shape: Triple
    spacing: Vector

    @cached_property
    def axes(self) -> tuple[Field, Field, Field]:
        """Coordinates in mm that broadcast: (D, 1, 1), (1, H, 1), (1, 1, W)."""
        s, p, left = (
            ((np.arange(n) - (n - 1) / 2) * size).astype(np.float32)
            for n, size in zip(self.shape, self.spacing, strict=True)
        )
        return s[:, None, None], p[None, :, None], left[None, None, :]

    @property
    def edge(self) -> float:
        """Width in mm over which a border changes: a voxel, on average."""
        return float(np.mean(self.spacing))

    def soft(self, depth: Field) -> Field:
        """Return the weight in [0, 1] of a shape from the depth in mm below its surface."""
        return np.asarray(np.clip(depth / np.float32(self.edge) + np.float32(0.5), 0.0, 1.0))

    def ellipsoid(self, centre: Vector, radii: Vector) -> Field:
        """Return the depth in mm (about) inside an ellipsoid; negative outside."""
        terms = [((x - c) / r) ** 2 for x, c, r in zip(self.axes, centre, radii, strict=True)]
        rho = np.sqrt(terms[0] + terms[1] + terms[2])
        return np.asarray((1 - rho) * min(radii), dtype=np.float32)

    def stroke(
        self, values: Field, a: NDArray[np.floating], b: NDArray[np.floating], radius: float, value: float
    ) -> None:
        """Blend ``value`` into ``values`` along the rod from ``a`` to ``b`` (mm), in place, in its own box alone."""
        box, weight = self.rod(a, b, radius)
        values[box] += weight * (np.float32(value) - values[box])

    def rod(
        self, a: NDArray[np.floating], b: NDArray[np.floating], radius: float
    ) -> tuple[tuple[slice, slice, slice], Field]:
        """Return the box of a rod from ``a`` to ``b`` (mm) and the weights in it; thin rods fill voxels partly."""
        reach = radius + self.edge
        box, local = [], []
        for axis in range(3):
            n, size = self.shape[axis], self.spacing[axis]
            low, high = min(a[axis], b[axis]) - reach, max(a[axis], b[axis]) + reach
            first = int(np.clip(np.floor(low / size + (n - 1) / 2), 0, n))
            last = int(np.clip(np.ceil(high / size + (n - 1) / 2) + 1, first, n))
            box.append(slice(first, last))
            index = [slice(None) if k == axis else 0 for k in range(3)]
            shape = [-1 if k == axis else 1 for k in range(3)]
            local.append(self.axes[axis][tuple(index)][first:last].reshape(shape) - np.float32(a[axis]))
        along = np.asarray(b - a, dtype=np.float32)
        length = max(float(along @ along), 1e-6)
        t = np.clip((local[0] * along[0] + local[1] * along[1] + local[2] * along[2]) / length, 0.0, 1.0)
        distance = np.sqrt(sum((x - t * v) ** 2 for x, v in zip(local, along, strict=True)))
        thin = min(1.0, 2 * radius / self.edge)
        return (box[0], box[1], box[2]), np.float32(thin) * self.soft(np.float32(radius) - distance)


class Thorax:
    """The thorax on a ``grid``; ``address`` draws its trees, texture and noise."""

    def __init__(self, grid: Grid, address: Address) -> None:
        self.grid, self.address = grid, address
        s, p, left = grid.axes
        taper = np.sqrt(np.clip(1 - (np.maximum(s - 10, 0) / 128) ** 2, 0.05, 1))
        self.cage = _superellipse((p + 3) / (88 * taper), left / (132 * taper), 2.2)  # 1 on the inside of the ribs
        narrow = 1 - 0.14 * np.clip((s - 60) / 75, 0, 1) ** 2
        self.skin = _superellipse((p - 8) / (116 * narrow), left / (166 * narrow), 2.4)
        self.lungs = self._lungs()

    def hounsfield(self, opacity: bool) -> tuple[Field, NDArray[np.bool_]]:
        """Return the scan in HU, and where opacity is more than half (nowhere without ``opacity``)."""
        hu = np.full(self.grid.shape, -1000.0, dtype=np.float32)
        self._soft_tissue(hu)
        self._organs(hu)
        lung = self.grid.soft(self.lungs)
        weight = self._opacity(lung) if opacity else np.zeros((1, 1, 1), dtype=np.float32)
        _blend(hu, self._parenchyma() + 330 * weight, lung)
        self._trees(hu)
        self._bones(hu)
        hu += self._noise()
        affected = np.broadcast_to((weight > 0.5) & (lung > 0.5), hu.shape)
        return hu, affected

    def _soft_tissue(self, hu: Field) -> None:
        depth = (1 - self.skin) * 130
        _blend(hu, -100.0, self.grid.soft(depth))
        _blend(hu, 48.0, self.grid.soft(depth - 11))
        cavity = (0.99 - self.cage) * 105
        _blend(hu, -75.0, self.grid.soft(cavity))
        s = self.grid.axes[0]
        _blend(hu, 52.0, self.grid.soft(np.minimum(cavity - 2, self._diaphragm() - s)))

    def _diaphragm(self) -> Field:
        """Height s in mm of the diaphragm, (1, H, W): a dome on either side, the right one higher, deep behind."""
        _, p, left = self.grid.axes
        right = -42 - 58 * (((left + 68) / 82) ** 2 + ((p + 12) / 105) ** 2)
        other = -52 - 56 * (((left - 72) / 80) ** 2 + ((p + 12) / 105) ** 2)
        return np.maximum(right, other) - 14 * np.clip(p / 60, 0, 1.4) ** 2

    def _lungs(self) -> Field:
        """Depth in mm inside the lungs."""
        s, p, left = self.grid.axes
        middle = np.maximum(self.grid.ellipsoid((-44, -34, 20), (56, 48, 64)), self._spine() + 9)
        vessels = 1 - np.sqrt(((p + 2) / 48) ** 2 + ((left - 2) / 36) ** 2)
        middle = np.maximum(middle, np.minimum(vessels * 36, 92 - s))
        neck = 1 - np.sqrt(((p - 12) / 62) ** 2 + (left / 27) ** 2)
        middle = np.maximum(middle, neck * 27)
        middle = np.maximum(middle, 5 - np.abs(left - 2))
        depth = np.minimum((0.965 - self.cage) * 105, s - self._diaphragm() - 3)
        apex = ((np.maximum(s, 40) - 40) / 76) ** 2 + ((np.abs(left) - 52) / 86) ** 2 + ((p - 8) / 104) ** 2
        return np.asarray(np.minimum(np.minimum(depth, (1 - np.sqrt(apex)) * 76), -middle))

    def _organs(self, hu: Field) -> None:
        g = self.grid
        _blend(hu, 44.0, g.soft(g.ellipsoid((-44, -34, 20), (50, 42, 57))))
        _blend(hu, 25.0, g.soft(g.ellipsoid((-48, -36, 26), (28, 22, 32))))
        _blend(hu, -920.0, g.soft(g.ellipsoid((-104, -42, 68), (15, 20, 24))))
        arch = [(-20, -14, -6), (52, -18, -8), (66, -6, 2), (70, 18, 14), (60, 42, 22), (40, 52, 24), (-140, 52, 20)]
        tubes = [(arch, 13.0), ([(140, 40, 4), (-60, 38, 6)], 8.0), ([(110, -10, -26), (-10, -8, -28)], 8.5)]
        tubes += [([(-5, -34, 14), (22, -20, 16), (24, 0, 26)], 13.0), ([(22, -6, 14), (20, 4, -24)], 11.0)]
        for points, radius in tubes:
            for a, b in pairwise(points):
                g.stroke(hu, np.array(a, float), np.array(b, float), radius, 46.0)

    def _parenchyma(self) -> Field:
        """Lung tissue in HU: denser towards the back, where the patient lies, with a coarse texture."""
        return np.asarray(-868 + 0.35 * self.grid.axes[1] + 14 * self._field("texture", 9.0))

    def _opacity(self, lung: Field) -> Field:
        """Weight of ground glass in [0, 1]: 22 % of the lung above one half, posterior, basal and peripheral first."""
        s, p, _ = self.grid.axes
        field = (
            self._field("opacity", 26.0)
            + 0.3 * self._field("patches", 11.0)
            + 0.011 * p
            - 0.004 * s
            + 0.55 * np.clip((self.cage - 0.55) / 0.4, 0, 1)
        )
        inside = lung > 0.5
        threshold = float(np.quantile(field[inside], 0.78)) if inside.any() else 0.0
        return np.asarray(np.clip((field - threshold) / 0.5 + 0.5, 0, 1))

    def _trees(self, hu: Field) -> None:
        """Arteries, veins and airways of both lungs, from hilum to pleura, then the trachea and main bronchi."""
        g, carina = self.grid, np.array([36.0, 22.0, 0.0])
        shown = min(1.0, (2.2 / g.edge) ** 1.5)  # coarse voxels show fewer twigs
        for side, hilum in (("right", np.array([16.0, 12.0, -38.0])), ("left", np.array([18.0, 14.0, 42.0]))):
            inside = np.argwhere(self.lungs[::2, ::2, ::2] > 3) * 2
            world = (inside - (np.array(g.shape) - 1) / 2) * np.array(g.spacing)
            mine = world[(world[:, 2] < 2) if side == "right" else (world[:, 2] >= 2)]
            for kind, leaves, tip, offset in (("artery", 420, 0.62, 0.0), ("vein", 300, 0.6, -14.0)):
                stage = (self.address / side / kind).generator()
                for a, b, radius in grow(hilum + [offset, offset / 2, 0], mine, int(leaves * shown) + 1, tip, stage):
                    g.stroke(hu, a, b, radius, 42.0)
            bronchus = hilum + [4.0, 8.0, 0.0]
            twigs = grow(bronchus, mine, 22, 0.95, (self.address / side / "airway").generator(), radius_max=5.5)
            for wall in (True, False):
                for a, b, radius in [(carina, bronchus, 6.0), *twigs]:
                    g.stroke(hu, a, b, radius + 1.2 * wall, -250.0 if wall and radius < 3 else 10.0 if wall else -985.0)
        for radius, value in ((10.0, 30.0), (8.2, -995.0)):
            g.stroke(hu, np.array([160.0, 20.0, 0.0]), carina, radius, value)

    def _spine(self) -> Field:
        """Depth in mm inside the vertebral bodies, (1, H, W)."""
        _, p, left = self.grid.axes
        return np.asarray((1 - np.sqrt(((p - 70) / 16.5) ** 2 + (left / 20) ** 2)) * 17)

    def _bones(self, hu: Field) -> None:
        g = self.grid
        s, p, left = g.axes
        soft = g.soft
        level = np.abs(np.mod(s, 27) - 13.5)
        spine = self._spine() + 1.2 * np.clip((level - 6) / 7, -1, 1)
        _blend(hu, np.where(level > 11.2, 90.0, 190.0), soft(spine + 0 * s))
        _blend(hu, 520.0, soft(2.0 - np.abs(spine - 1.0)) * (level < 12.2) * 0.8)
        canal = np.sqrt((p - 96) ** 2 + left**2)
        _blend(hu, 420.0, soft(np.minimum(3.2 - np.abs(canal - 11.5), 11.5 - level)))
        _blend(hu, 25.0, soft(8.5 - canal) + 0 * s)
        spinous = np.minimum(3.2 - np.abs(left), 9 - np.abs(p - 113))
        _blend(hu, 380.0, soft(np.minimum(spinous, 7.5 - level)))
        shell = (self.cage - 1.035) * 105
        along = np.mod(s - 0.52 * p + 6 * (np.abs(left) / 132), 25) - 12.5
        rib = 1 - np.sqrt((along / 6.2) ** 2 + (shell / 4.4) ** 2)
        front = np.clip((-p - 78) / 6, 0, 1)
        rib_hu = (620 - 330 * np.clip(rib, 0, 1)) * (1 - front) + 110 * front
        _blend(hu, rib_hu, soft(rib * 4.8) * (self.skin < 0.985))
        sternum = np.minimum(17 - np.abs(left), 5 - np.abs(p + 93 + 0.06 * s))
        _blend(hu, 260.0, soft(np.minimum(np.minimum(sternum, s + 60), 90 - s)))
        blade = np.abs(p - 92 + 0.42 * (np.abs(left) - 80)) / 3.6
        rho = np.sqrt(((s - 52) / 62) ** 2 + ((np.abs(left) - 98 - 0.12 * (s - 52)) / 32) ** 2)
        _blend(hu, 380.0, soft(np.minimum((1 - blade) * 3.6, (1 - rho) * 30)) * (self.skin < 0.97))

    def _field(self, stage: str, scale: float) -> Field:
        """Smooth random field of mean 0 and standard deviation 1; ``scale`` in mm."""
        from scipy.ndimage import gaussian_filter, zoom

        step = [max(1, int(scale / size)) for size in self.grid.spacing]
        coarse = [-(-n // k) + 1 for n, k in zip(self.grid.shape, step, strict=True)]
        values = gaussian_filter((self.address / stage).generator().standard_normal(coarse, dtype=np.float32), 0.8)
        values = (values - values.mean()) / max(float(values.std()), 1e-6)
        factors = [n / c for n, c in zip(self.grid.shape, coarse, strict=True)]
        return np.asarray(zoom(values, factors, order=1, output=np.float32, grid_mode=False))

    def _noise(self) -> Field:
        """Scanner noise in HU, sd about 14, slightly correlated between neighbours."""
        from scipy.ndimage import gaussian_filter

        white = (self.address / "noise").generator().standard_normal(self.grid.shape, dtype=np.float32)
        return np.asarray(gaussian_filter(white, (0.3, 0.55, 0.55), truncate=3.0) * 26, dtype=np.float32)


def _superellipse(a: Field, b: Field, power: float) -> Field:
    return (np.abs(a) ** power + np.abs(b) ** power) ** np.float32(1 / power)


def _blend(values: Field, new: Field | float, weight: Field) -> None:
    values += weight * (new - values)
