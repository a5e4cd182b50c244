"""Which scans, or which part of a single scan, the network never sees in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesis3d.errors import ConfigError
from genesis3d.rng import Address

if TYPE_CHECKING:
    from collections.abc import Sequence

    from genesis3d.data.cases import LoadedCases
    from genesis3d.intensity import Scale
    from genesis3d.training.settings import ValidationSettings
    from genesis3d.volume import Volume

__all__ = ["Part", "Split", "hold_out"]


NAMED = 50  # scans held out that are named one by one


@dataclass(frozen=True, eq=False)
class Part:
    """Scans (or slabs of one) on one side of the split, in parallel; ``offset`` is a slab's first voxel in its scan."""

    names: list[str]
    keys: list[str]
    volumes: Sequence[Volume]
    scales: Sequence[Scale]
    offset: tuple[int, int, int] = (0, 0, 0)


@dataclass(frozen=True, eq=False)
class Split:
    """``training`` and ``held_out`` parts, and in words what was held out; ``warning`` when nothing could be."""

    training: Part
    held_out: Part
    how: str
    warning: str = ""


def hold_out(cases: LoadedCases, settings: ValidationSettings, seed: int, patch: tuple[int, int, int]) -> Split:
    """Split ``cases``: whole scans by name or by a draw, of a single scan a slab of at least one ``patch``.

    Raises
    ------
    ConfigError
        For a name that no case has, or when no case would be left to train on.
    """
    count = len(cases)
    if settings.names:
        held = [_index(cases, name) for name in settings.names]
    elif count == 1:
        return _slab(cases, settings, patch)
    else:
        wanted = settings.cases if settings.cases is not None else round(settings.hold_out * count)
        wanted = max(wanted, 1) if settings.hold_out or settings.cases else 0
        order = (Address(seed) / "hold-out").generator().permutation(count)
        held = sorted(int(i) for i in order[:wanted])
    if len(set(held)) >= count:
        raise ConfigError(f"validation: expected fewer scans held out than there are ({count}), got {len(set(held))}")
    if not held:
        return _nothing(cases)
    chosen = set(held)
    rest = [i for i in range(count) if i not in chosen]
    names = ", ".join(cases.cases[i].name for i in held[:NAMED])
    more = f" and {len(held) - NAMED} more" if len(held) > NAMED else ""
    return Split(_part(cases, rest), _part(cases, held), f"{len(held)} of {count} scans: {names}{more}")


def _index(cases: LoadedCases, name: str) -> int:
    for i, case in enumerate(cases.cases):
        if case.name == name:
            return i
    known = ", ".join(case.name for case in cases.cases)
    raise ConfigError(f"validation.names: expected one of {known}, got {name!r}")


def _part(cases: LoadedCases, indices: Sequence[int]) -> Part:
    return Part(
        [cases.cases[i].name for i in indices],
        [cases.cases[i].key for i in indices],
        [cases.volumes[i] for i in indices],
        [cases.scales[i] for i in indices],
    )


def _nothing(cases: LoadedCases) -> Split:
    whole = _part(cases, range(len(cases)))
    warning = "nothing is held out: the validation figures are of scans that the network is trained on"
    return Split(whole, whole, "nothing", warning)


def _slab(cases: LoadedCases, settings: ValidationSettings, patch: tuple[int, int, int]) -> Split:
    """Cut the end off the axis that is longest in sub-volumes."""
    volume, shape = cases.volumes[0], cases.volumes[0].geometry.shape
    axis = max(range(3), key=lambda a: shape[a] / patch[a])
    size = max(round(settings.hold_out * shape[axis]), patch[axis])
    kept = shape[axis] - size
    if settings.hold_out == 0 or kept < patch[axis]:
        return _nothing(cases)
    rest_shape, slab_shape, start = list(shape), list(shape), [0, 0, 0]
    rest_shape[axis], slab_shape[axis], start[axis] = kept, size, kept
    case = cases.cases[0]
    rest = volume.crop((0, 0, 0), (rest_shape[0], rest_shape[1], rest_shape[2]))
    offset = (start[0], start[1], start[2])
    slab = volume.crop(offset, (slab_shape[0], slab_shape[1], slab_shape[2]))
    how = f"the last {size} of {shape[axis]} voxels along {'DHW'[axis]} of {case.name}"
    return Split(
        Part([case.name], [case.key], [rest], cases.scales),
        Part([case.name], [case.key], [slab], cases.scales, offset),
        how,
    )
