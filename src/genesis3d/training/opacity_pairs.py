"""Pairs for a training against opacity, by address: lungs with opacities in them, the same without, and where they are.

Coarse noise and foreign patches beside opacities: Kascenas et al. (MIDL 2022) and Tan et al. (FPI, 2020).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.data.lungs_sampling import LungPatch, LungSampler, Place
from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.training.pairs import Pairs

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from genesis3d.data.sampling import Location
    from genesis3d.training.opacity_settings import OpacityPairs, ScannerJitter

    Array = NDArray[np.float32]
    Window = tuple[float, float]

__all__ = ["OpacityMaker", "as_scanned"]

_SMOOTHED = 0.10  # a change that is as large in the mean of 3x3 voxels is opacity, however thin its weight


class OpacityMaker:
    """Makes the pairs of a training against opacity: as a PairMaker, with targets (B, C + 2, D, H, W).

    Parameters
    ----------
    sampler : where sub-volumes come from
    settings : what happens to them
    seed, batch, stream, device, slots : as of a :class:`~genesis3d.training.pairs.PairMaker`
    """

    def __init__(
        self,
        sampler: LungSampler,
        settings: OpacityPairs,
        seed: int,
        batch: int,
        *,
        stream: str = "training",
        device: torch.device | None = None,
        slots: Sequence[int] | None = None,
    ) -> None:
        self.sampler, self.settings = sampler, settings
        self.seed, self.batch, self.stream, self.device = seed, batch, stream, device
        self.slots = range(batch) if slots is None else slots

    def of_stream(self, stream: str) -> OpacityMaker:
        """Return a maker of other draws from the same scans, with all slots."""
        return self._other(stream, None)

    def of_process(self, rank: int, world: int) -> OpacityMaker:
        """Return a maker of the slots of process ``rank`` of ``world``; raises ConfigError for too few slots."""
        if self.batch < world:
            raise ConfigError(
                f"batch: expected at least one sub-volume for each of {world} processes, got {self.batch}"
            )
        return self._other(self.stream, range(rank, self.batch, world))

    def _other(self, stream: str, slots: Sequence[int] | None) -> OpacityMaker:
        return OpacityMaker(
            self.sampler, self.settings, self.seed, self.batch, stream=stream, device=self.device, slots=slots
        )  # fmt: skip

    @property
    def share(self) -> float:
        """Share of the batch that is made here, of 1."""
        return len(self.slots) / self.batch

    @property
    def workers(self) -> int:
        """Threads that make pairs ahead: one beside a processor that trains, several to keep a GPU busy."""
        on_gpu = self.device is not None and self.device.type == "cuda"
        return max(1, min(8, (os.cpu_count() or 2) - 1)) if on_gpu else 1

    def of_seed(self, seed: int) -> OpacityMaker:
        """Return a maker of other draws by another seed, with all slots."""
        return OpacityMaker(self.sampler, self.settings, seed, self.batch, stream=self.stream, device=self.device)

    def address(self, step: int, slot: int) -> Address:
        """Return the address of one slot; ``step`` counts from 0."""
        return Address(self.seed, step, slot, self.stream)

    def place(self, step: int, slot: int) -> Place:
        """Return which sub-volume one slot shows."""
        return self.sampler.locate(self.address(step, slot) / "location")

    def pairs(self, step: int) -> Pairs:
        """Return the batch of ``step``, of it the slots made here."""
        return self._made([self.address(step, slot) for slot in self.slots])

    def pair(self, step: int, slot: int) -> Pairs:
        """Return the batch of one that holds ``slot`` of ``step``, bit for bit as in :meth:`pairs`."""
        return self._made([self.address(step, slot)])

    def _made(self, addresses: Sequence[Address]) -> Pairs:
        import torch

        inputs, targets, locations, words = zip(*(self._example(address) for address in addresses), strict=True)
        input, target = (torch.from_numpy(np.stack(part)) for part in (inputs, targets))
        if self.device is not None:
            input, target = input.to(self.device), target.to(self.device)
        return Pairs(input, target, locations, {}, words)

    def _example(self, address: Address) -> tuple[Array, Array, Location, str]:
        """Return input (C, D, H, W), target (C + 2, D, H, W), where it lies, and what was done to it in words."""
        place = self.sampler.locate(address / "location")
        patch = as_scanned(self.sampler.cut(place), self.settings.scanner, (address / "scanner").generator())
        if (address / "alone").generator().random() < self.settings.lungs_alone:
            patch = replace(patch, image=patch.image * patch.lungs)
        changed, weight, said = self._changed(patch, self._window(place.case), address)
        there = _to_be_found(changed[0] - patch.image[0], weight, patch.lungs, self.settings.least_change)
        if said == "untouched" or not self._also_uneven(said, address):
            input = changed
        else:
            input = self._uneven(changed, patch, address)
            said = f"{said} + coarse noise" if said else "coarse noise"
        target = np.concatenate([patch.image, patch.lungs[None], there[None]])
        return input, target, self.sampler.location(place), said

    def _window(self, case: int) -> Window:
        """Return the HU that 0 and 1 stand for; a scan without HU is taken for a CT of the usual window."""
        from genesis3d.transforms.opacities import WINDOW

        scan = self.sampler.scans[case]
        return (scan.scale.low, scan.scale.high) if scan.volume.unit == "HU" else WINDOW

    def _changed(self, patch: LungPatch, window: Window, address: Address) -> tuple[Array, Array, str]:
        """Return the image with what was put into it, its weight in [0, 1] (D, H, W), and its name."""
        settings, nothing = self.settings, np.zeros_like(patch.lungs)
        kind = (address / "kind").generator().random() - settings.untouched
        if kind < 0:
            return patch.image, nothing, "untouched"
        if kind < settings.uneven:
            return patch.image, nothing, ""
        if kind < settings.uneven + settings.foreign:
            return self._foreign(patch, address / "foreign")
        return self._opaque(patch, window, address / "opacity")

    def _opaque(self, patch: LungPatch, window: Window, address: Address) -> tuple[Array, Array, str]:
        from genesis3d.transforms.opacities import opacities

        settings = self.settings.opacity
        made = [
            opacities(channel, patch.lungs, patch.depth, patch.spacing, settings, address, window)
            for channel in patch.image
        ]
        return np.stack([changed for changed, _ in made]), made[0][1], settings.label

    def _foreign(self, patch: LungPatch, address: Address) -> tuple[Array, Array, str]:
        """Blend the lung of another place into a soft-edged box of this one."""
        other = self.sampler.cut(self.sampler.locate(address / "location"))
        weight = _soft_box(patch, address.generator())
        weight = weight * patch.lungs * other.lungs
        return patch.image + weight * (other.image - patch.image), weight, "foreign patch"

    def _also_uneven(self, said: str, address: Address) -> bool:
        return not said or (address / "also uneven").generator().random() < self.settings.also_uneven

    def _uneven(self, image: Array, patch: LungPatch, address: Address) -> Array:
        from genesis3d.transforms.coarse_noise import coarse_noise

        noise = self.settings.coarse_noise
        made = [coarse_noise(one, patch.lungs, patch.spacing, noise, address / "uneven") for one in image]
        return np.stack(made)


def as_scanned(patch: LungPatch, jitter: ScannerJitter, rng: np.random.Generator) -> LungPatch:
    """Return the sub-volume as another scanner might have it: contrast, offset, mirrored, blurred, noisy."""
    from scipy.ndimage import gaussian_filter

    offset, gain = rng.normal(0, jitter.offset), rng.uniform(*jitter.gain)
    image = (patch.image - np.float32(jitter.pivot)) * np.float32(gain) + np.float32(jitter.pivot + offset)
    axes = tuple(axis - 3 for axis in jitter.flip_axes if rng.random() < 0.5)
    lungs, depth = (np.ascontiguousarray(np.flip(one, axes)) for one in (patch.lungs, patch.depth))
    image = np.ascontiguousarray(np.flip(image, axes))
    if rng.random() < jitter.blurred:
        sigma = rng.uniform(0.3, 0.7)
        image = gaussian_filter(image, (0, 0, sigma, sigma), truncate=2.0)
    if rng.random() < jitter.noisy:
        image += rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(*jitter.noise))
    return LungPatch(np.clip(image, 0, 1), lungs, depth, patch.spacing)


def _to_be_found(change: Array, weight: Array, lungs: Array, least: float) -> Array:
    """Return how much opacity there is, in [0, 1]: above 0.5 what brightened the lung enough to be found."""
    from scipy.ndimage import uniform_filter

    there = (weight > 0.5) & (change > least)
    if change.any():
        there |= uniform_filter(change, (1, 3, 3)) > max(_SMOOTHED, least)
    there &= lungs > 0
    return np.where(there, np.maximum(weight, 0.51), np.minimum(weight, 0.5)).astype(np.float32) * lungs


def _soft_box(patch: LungPatch, rng: np.random.Generator) -> Array:
    """Return the weight in [0, 1] of a box of 12 to 60 mm a side with an edge of 4 mm, somewhere in the sub-volume."""
    weight = np.full((1, 1, 1), rng.uniform(0.5, 1.0), np.float32)
    for axis, (n, spacing) in enumerate(zip(patch.lungs.shape, patch.spacing, strict=True)):
        half, middle = rng.uniform(6, 30), rng.uniform(0, n * spacing)
        inside = half - np.abs((np.arange(n) + 0.5) * spacing - middle)
        ramp = np.clip(inside / 4 + 0.5, 0, 1).astype(np.float32)
        weight = weight * ramp.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(weight)
