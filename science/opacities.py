"""Opacities that are put into healthy lungs, with what a pre-training on them needs: load it as a plugin.

genesis3d pretrain --config science/chest-opacity.yaml --plugin science/opacities.py ...

An opacity is a union of rotated ellipsoids with an uneven border, more often near the pleura, that blends the lung
towards soft tissue: faintly (ground glass) or fully (consolidation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from genesis3d.rng import Address
from genesis3d.tasks.base import TASKS, Task
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform

if TYPE_CHECKING:
    import torch
    from torch import nn

    from genesis3d.networks import Network

Array = NDArray[np.float32]
Vector = tuple[float, float, float]

PLEURA = 8.0  # mm over which the chance of a centre falls with depth under the pleura
RADII = (5.0, 38.0)  # mm
NOTICED = 0.03  # change of intensity, in [0, 1], that counts as one
SPAN = 1200.0  # HU from 0 to 1
LUNG = 0.125  # -850 HU in [0, 1]
AIR, DENSE = 0.01, 0.5  # lung is between these in [-1000, 200] HU: not the flattened air around the body, not tissue


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector, size: float) -> Array:
    """Return noise of about unit variance that changes over ``size`` mm, float32 of ``shape``."""
    import torch
    from torch.nn import functional

    knots = [max(2, round(n * s / size) + 1) for n, s in zip(shape, spacing, strict=True)]
    coarse = torch.from_numpy(rng.standard_normal(knots).astype(np.float32))[None, None]
    fine = functional.interpolate(coarse, size=tuple(shape), mode="trilinear", align_corners=True)
    return np.asarray(fine[0, 0].numpy() * np.float32(1.6))


def lungs_of(x: Array) -> NDArray[np.bool_]:
    """Return where ``x`` (D, H, W), HU of [-1000, 200] as [0, 1], is lung: dark, in the plane of the slices."""
    from scipy.ndimage import uniform_filter

    dark = (x > AIR) & (x < DENSE)
    return np.asarray(uniform_filter(dark.astype(np.float32), size=(1, 3, 3)) > 0.5)


def depth_in(lungs: NDArray[np.bool_], spacing: Vector) -> Array:
    """Return the distance in mm of each voxel from where ``lungs`` end; 0 outside."""
    from scipy.ndimage import distance_transform_edt

    return np.asarray(distance_transform_edt(lungs, sampling=spacing), dtype=np.float32)


def opacity_shape(rng: np.random.Generator, lungs: NDArray[np.bool_], depth: Array, spacing: Vector) -> Array:
    """Return the weight in [0, 1] of one opacity; zero if there is no lung."""
    shape = lungs.shape
    chance = np.cumsum((lungs * (np.exp(-depth / PLEURA) if rng.random() < 0.55 else 1.0)).ravel())
    if chance[-1] <= 0:
        return np.zeros(shape, np.float32)
    index = np.unravel_index(np.searchsorted(chance, rng.random() * chance[-1]), shape)
    centre, radius = np.array(index) * spacing, float(np.exp(rng.uniform(*np.log(RADII))))
    inside = np.full(shape, -np.inf, np.float32)
    for _ in range(rng.integers(1, 5)):
        moved = centre + rng.normal(0, 0.6 * radius, 3) * (rng.random() > 0.3)
        radii = radius * np.exp(rng.uniform(-0.7, 0.5, 3))
        inside = np.maximum(inside, _ellipsoid(rng, shape, spacing, moved, radii))
    inside += smooth_field(rng, shape, spacing, rng.uniform(8, 24)) * radius * rng.uniform(0.1, 0.35)
    edge = rng.uniform(2, 6) * (2 if rng.random() < 0.25 else 1)
    return np.asarray(np.clip(inside / edge + 0.5, 0, 1), dtype=np.float32)


def _ellipsoid(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: Vector, centre: NDArray[Any], radii: NDArray[Any]
) -> Array:
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    form = turn @ np.diag(1 / radii**2) @ turn.T
    z, y, x = np.ix_(*(np.arange(n) * s - c for n, s, c in zip(shape, spacing, centre, strict=True)))
    square = form[0, 0] * z * z + form[1, 1] * y * y + form[2, 2] * x * x
    square = square + 2 * (form[0, 1] * z * y + form[0, 2] * z * x + form[1, 2] * y * x)
    return np.asarray((1 - np.sqrt(np.maximum(square, 0))) * radii.min(), dtype=np.float32)


def with_opacities(
    rng: np.random.Generator, x: Array, spacing: Vector, most: int = 6, lungs: NDArray[np.bool_] | None = None
) -> tuple[Array, Array]:
    """Return ``x`` with 1 to ``most`` opacities in its lungs, and their weight in [0, 1].

    Parameters
    ----------
    x : (D, H, W) float32, HU of [-1000, 200] as [0, 1]
    spacing : mm, (z, y, x)
    lungs : where they may lie; None: where ``x`` is dark
    """
    lungs = lungs_of(x) if lungs is None else lungs
    depth = depth_in(lungs, spacing)
    soft = np.clip(depth / 4, 0, 1) if rng.random() < 0.5 else lungs.astype(np.float32)
    result, weight = x.copy(), np.zeros_like(x)
    for _ in range(rng.integers(1, most + 1)):
        one = opacity_shape(rng, lungs, depth, spacing) * soft
        dense = rng.random() > 0.65
        strength = rng.uniform(0.45, 1) if dense else rng.uniform(0.12, 0.45)
        texture = 1 + (0.12 if dense else 0.35) * smooth_field(rng, x.shape, spacing, rng.uniform(6, 24))
        if rng.random() < 0.4:
            texture += (0.1 if dense else 0.2) * rng.standard_normal(x.shape).astype(np.float32)
        tissue = np.float32((rng.uniform(-30, 60) + 1000) / 1200)
        result += np.clip(one * strength * texture, 0, 1).astype(np.float32) * np.maximum(tissue - result, 0)
        weight = np.maximum(weight, one)
    return np.clip(result, 0, 1, dtype=np.float32), weight


@TRANSFORMS.register("opacities")
class Opacities(Transform):
    """Put opacities into the lungs of a sub-volume of chest CT in the window [-1000, 200] HU."""

    label: ClassVar[str] = "opacities"

    most: int = Field(6, ge=1, le=50, description="most opacities of one sub-volume")
    spacing: Vector = Field((6.0, 2.0, 2.0), description="mm of a voxel, (z, y, x)")

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``key``: what the opacities are drawn from."""
        return {"key": np.asarray((address / "opacities").key(), np.uint64)}

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        result = x.detach().clone()
        for case, key in zip(result, params["key"], strict=True):
            rng = np.random.Generator(np.random.Philox(key=int(key)))
            changed, _ = with_opacities(rng, case[0].cpu().numpy(), self.spacing, self.most)
            case[0] = torch.from_numpy(changed)
        return result


@TRANSFORMS.register("blocks")
class Blocks(Transform):
    """Hide blocks of a grid behind the mean intensity, as masked autoencoders do (SparK, Tian et al., ICLR 2023)."""

    label: ClassVar[str] = "masked blocks"

    block: tuple[int, int, int] = Field((8, 8, 8), description="voxels of a block, (D, H, W)")
    share: float = Field(0.6, ge=0, le=1, description="chance of each block to be hidden")

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``hidden``: the grid of blocks."""
        grid = [-(-n // b) for n, b in zip(shape[1:], self.block, strict=True)]
        return {"hidden": address.generator().random(grid) < self.share}

    def masked_fraction(self, params: Params) -> NDArray[np.float64]:
        """Return the hidden share of blocks of each case, (B,)."""
        return np.asarray(params["hidden"].mean(axis=(1, 2, 3)), dtype=np.float64)

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        hidden = params["hidden"]
        for axis, size in enumerate(self.block, start=1):
            hidden = hidden.repeat(size, axis=axis)
        d, h, w = x.shape[2:]
        mask = torch.from_numpy(np.ascontiguousarray(hidden[:, None, :d, :h, :w])).to(x.device)
        return torch.where(mask, x.mean(dim=(2, 3, 4), keepdim=True), x)


@TRANSFORMS.register("scanner")
class Scanner(Transform):
    """Change a sub-volume of chest CT as scanners differ: offset, gain about the lung's density, noise.

    The target undergoes the same: it is another scan of the same patient, not a restoration.
    """

    label: ClassVar[str] = "another scanner"
    spatial: ClassVar[bool] = True

    offset: float = Field(25.0, ge=0, le=200, description="standard deviation of the offset, in HU")
    gain: float = Field(0.08, ge=0, lt=1, description="largest change of the gain about -850 HU, as a share")
    noise: float = Field(35.0, ge=0, le=200, description="largest standard deviation of the noise, in HU")

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``offset``, ``gain``, ``sigma`` and ``key`` of the noise, which half of the cases have."""
        rng = address.generator()
        sigma = rng.uniform(0, self.noise) * (rng.random() < 0.5) / SPAN
        return {
            "offset": np.asarray(rng.normal(0, self.offset) / SPAN, np.float32),
            "gain": np.asarray(1 + rng.uniform(-self.gain, self.gain), np.float32),
            "sigma": np.asarray(sigma, np.float32),
            "key": np.asarray((address / "noise").key(), np.uint64),
        }

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        result = x.detach().clone()
        for case, offset, gain, sigma, key in zip(
            result, *(params[name] for name in ("offset", "gain", "sigma", "key")), strict=True
        ):
            case.sub_(LUNG).mul_(float(gain)).add_(LUNG + float(offset))
            rng = np.random.Generator(np.random.Philox(key=int(key)))
            noise = rng.standard_normal(tuple(case.shape), dtype=np.float32) * sigma
            case.add_(torch.from_numpy(noise).to(case.device))
        return result.clamp_(0, 1)


@TASKS.register("opacity_restoration")
class OpacityRestoration(Task):
    """Restore the sub-volume before opacities were put into it: where lung is and where it was changed counts most.

    The output is a change to the input.  The mean absolute error is weighted by (rest + lung) (1 + changed): lung is
    what the target shows dark, changed what differs from the input by more than 0.03.
    """

    rest: float = Field(0.15, ge=0, description="weight outside the lungs; in them 1 more")
    changed: float = Field(3.0, ge=0, description="additional share of the weight where the input was changed")

    @property
    def activation(self) -> str:
        """What a model card records for use at inference."""
        return "residual"

    def build(self, network: Network | nn.Module, seed: int = 0) -> nn.Module:
        """Return the module of the restoration with this loss."""
        from genesis3d.tasks.restoration import Restoration
        from genesis3d.tasks.restoration_module import RestorationModule

        rest, changed = self.rest, self.changed

        class Weighted(RestorationModule):
            def forward(self, input: torch.Tensor, target: torch.Tensor) -> dict[str, torch.Tensor]:
                change = self.network(input).float()
                reference = target.float()
                lung = ((reference > AIR) & (reference < DENSE)).float()
                weight = (rest + lung) * (1 + changed * ((input - reference).abs() > NOTICED).float())
                loss = ((input + change - reference).abs() * weight).sum() / weight.sum()
                output = (input + change).detach().clamp(0.0, 1.0)
                error = output - reference
                return {"loss": loss, "output": output, "mse": error.square().mean(), "mae": error.abs().mean()}

        return Weighted(Restoration(output="residual"), network, seed)
