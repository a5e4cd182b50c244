"""A training against opacity: lungs of the scans, pairs with opacities in them, and what it is measured on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.loading import LoadedCases
from genesis3d.data.lungs import given_mask, lungs_of, mapped
from genesis3d.data.lungs_sampling import LungSampler
from genesis3d.training.holdout import Part, Split, hold_out
from genesis3d.training.opacity_pairs import OpacityMaker
from genesis3d.training.opacity_settings import OpacityPairs
from genesis3d.training.opacity_windows import OpacityWindows
from genesis3d.workflows.building import MEASURED_AT_ONCE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.data.cases import Case
    from genesis3d.events import Control
    from genesis3d.volume import Volume
    from genesis3d.workflows.pretrain_config import PretrainConfig

    Mask = NDArray[np.uint8]

__all__ = ["LungCases", "opacity_pairs", "opacity_windows", "with_lungs"]

BODY = "body"
NO_SLAB = "too little lung to hold a slab of it out: the validation figures are of what the network is trained on"


@dataclass(frozen=True, eq=False)
class LungCases(LoadedCases):
    """Scans in memory with their lungs: ``masks`` (D, H, W) uint8, 1 inside, run in parallel to ``volumes``."""

    masks: tuple[Mask, ...] = ()


def with_lungs(config: PretrainConfig, loaded: LoadedCases, control: Control) -> LungCases | None:
    """Return the scans in which there are lungs, with these; None when told to stop meanwhile.

    Raises
    ------
    ScanError
        When no scan has lungs; one without is left out and named in the result's warnings.
    """
    said: list[str] = []
    found = lungs_of(loaded, _finder(config, said), control)
    if found is None:
        return None
    cases, masks = found
    values = {item.name: getattr(cases, item.name) for item in fields(LoadedCases)}
    return LungCases(**values | {"warnings": [*cases.warnings, *said]}, masks=tuple(masks))


def _finder(config: PretrainConfig, said: list[str]) -> Callable[[Case, Volume], Mask]:
    from genesis3d.workflows.lungs import find_lungs

    given = settings_of(config).lungs

    def find(case: Case, volume: Volume) -> Mask:
        if given not in (None, BODY):
            return given_mask(given, case, volume)
        # By rules alone: healthy lungs hold air, and a run must not hang on which network is installed.
        found = find_lungs(volume, "classical" if given is None else "body")
        said.extend(f"{case.name}: {sentence}" for sentence in found.warnings)
        return np.asarray(found.mask.data[0] > 0, dtype=np.uint8)

    return find


def settings_of(config: PretrainConfig) -> OpacityPairs:
    """Return what the pairs are made by: the configuration's, or the usual settings."""
    return config.opacity or OpacityPairs()


def opacity_pairs(config: PretrainConfig, loaded: LungCases, device: Any = None) -> tuple[OpacityMaker, Split]:
    """Return what makes the training's pairs, and the split behind it."""
    split = _split(config, loaded)
    return _maker(config, loaded, split.training, config.sampling.patch, device), split


def opacity_windows(config: PretrainConfig, loaded: LungCases, split: Split) -> dict[str, OpacityWindows]:
    """Return the fixed sub-volumes that the run is measured on, by the prefix of their figures."""
    patch = config.validation.patch or config.sampling.patch
    maker = _maker(config, loaded, split.held_out, patch, None)
    return {"": OpacityWindows(maker, config.validation.windows, MEASURED_AT_ONCE, "validation")}


def _maker(
    config: PretrainConfig, loaded: LungCases, part: Part, patch: tuple[int, int, int], device: Any
) -> OpacityMaker:
    settings = settings_of(config)
    maps = [
        mapped(volume, scale, mask, settings.sampling)
        for volume, scale, mask in zip(part.volumes, part.scales, _masks(loaded, part), strict=True)
    ]
    sampler = LungSampler(settings.sampling, patch, maps)
    return OpacityMaker(sampler, settings, config.seed, config.batch, device=device)


def _split(config: PretrainConfig, loaded: LungCases) -> Split:
    """Hold out whole scans; of a single one a slab, unless that or the rest shows less lung than a sub-volume has."""
    settings = settings_of(config).sampling
    own = loaded.volumes[0].geometry.spacing
    longest = config.validation.patch or config.sampling.patch
    d, h, w = (int(np.ceil(n * to / size)) for n, to, size in zip(longest, settings.spacing, own, strict=True))
    split = hold_out(loaded, config.validation, config.seed, (d, h, w))
    if len(loaded) > 1 or split.warning:
        return split
    least = settings.least_lung * float(np.prod(settings.spacing) / np.prod(own))
    if all(int(mask.sum()) >= least for part in (split.training, split.held_out) for mask in _masks(loaded, part)):
        return split
    whole = hold_out(loaded, config.validation.replaced(hold_out=0.0), config.seed, (d, h, w))
    return replace(whole, warning=NO_SLAB)


def _masks(loaded: LungCases, part: Part) -> list[Mask]:
    """Return the lungs of the scans, or of the slab of the only one, of one side of the split."""
    found = []
    for volume in part.volumes:
        index = next((i for i, one in enumerate(loaded.volumes) if one is volume), 0)
        box = tuple(slice(start, start + n) for start, n in zip(part.offset, volume.geometry.shape, strict=True))
        found.append(loaded.masks[index][box])
    return found
