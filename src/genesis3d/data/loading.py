"""Cases in memory: read once, mapped to [0, 1], within what the machine has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesis3d.data.lazy import LazyVolume
from genesis3d.errors import ConfigError, GenesisError, ScanError

if TYPE_CHECKING:
    from genesis3d.data.cases import Case
    from genesis3d.intensity import Intensity, Scale
    from genesis3d.volume import Volume

__all__ = ["LoadedCases", "joined", "load_cases", "memory_estimate", "require_room"]

MEMORY_KEPT_FREE = 0.05  # share of the machine's memory; beyond it the system would start to swap or kill


@dataclass(frozen=True, eq=False)
class LoadedCases:
    """Scans in memory or in a store, canonical, each with its map to [0, 1].

    ``cases``, ``volumes`` and ``scales`` run in parallel; ``intensity`` is what mapped them all (``auto`` where that
    went by modality), ``warnings`` are sentences to be said, ``fingerprint`` that of the stores among them.
    """

    cases: Sequence[Case]
    volumes: Sequence[Volume]
    scales: Sequence[Scale]
    intensity: Intensity
    warnings: Sequence[str] = ()
    fingerprint: str = ""

    @property
    def nbytes(self) -> int:
        """Memory of the voxels, in bytes; those that stay in a store take none."""
        return sum(volume.data.nbytes for volume in self.volumes if not isinstance(volume, LazyVolume))

    def __len__(self) -> int:
        return len(self.cases)


def load_cases(cases: Iterable[Case], intensity: Intensity | None = None) -> LoadedCases:
    """Read ``cases`` and fit ``intensity`` (default: that of each scan's modality) to each.

    A scan that cannot be read, has no contrast, or has other channels than the first is left out and named in
    ``warnings``, never replaced by another.  Raises ScanError when none remains, or when they leave
    the machine almost no memory.
    """
    from genesis3d.intensity import common_intensity, default_intensity

    kept: list[tuple[Case, Volume, Scale]] = []
    used: list[Intensity] = []
    warnings: list[str] = []
    for case in cases:
        try:
            volume = case.load()
            own = intensity or default_intensity(volume)
            if kept and volume.channels != kept[0][1].channels:
                raise ScanError(
                    f"expected {kept[0][1].channels} channel(s) as {kept[0][0].name}, got {volume.channels}"
                )
            kept.append((case, volume, own.fit(volume)))
            used.append(own)
        except (GenesisError, OSError, MemoryError) as error:
            warnings.append(f"{case.name} is left out: {error}")
            continue
        require_room(sum(one.data.nbytes for _, one, _ in kept), len(kept))
        warnings += [f"{case.name}: {note}" for note in volume.notes]
        if own.name == "ct" and volume.unit not in (None, "HU"):
            warnings.append(f"{case.name}: expected Hounsfield units for a CT window, got {volume.unit}")
    if not kept:
        raise ScanError(f"expected at least one readable scan; {'; '.join(warnings[:3]) or 'none was given'}")
    found, volumes, scales = zip(*kept, strict=True)
    return LoadedCases(found, volumes, scales, common_intensity(used), tuple(warnings))


def joined(parts: Sequence[LoadedCases]) -> LoadedCases:
    """Return several sets, such as stores and scans in memory, as one, in their order.

    Raises
    ------
    ConfigError
        When they differ in channels, or were mapped to [0, 1] in ways that no one mapping covers.
    """
    from genesis3d.intensity import ByModality, CtIntensity, Percentile, common_intensity

    if len(parts) == 1:
        return parts[0]
    channels = sorted({volume.channels for part in parts for volume in part.volumes})
    if len(channels) > 1:
        raise ConfigError(f"cases: expected stores and scans of equally many channels, got {channels}")
    used = [part.intensity for part in parts]
    usual = (CtIntensity(), Percentile(), ByModality())
    if any(one != used[0] for one in used) and any(one not in usual for one in used):
        found = ", ".join(str(one.to_dict()) for one in used)
        raise ConfigError(f"cases: expected stores and scans mapped to [0, 1] alike, got {found}")
    return LoadedCases(
        [case for part in parts for case in part.cases],
        [volume for part in parts for volume in part.volumes],
        [scale for part in parts for scale in part.scales],
        common_intensity(used),
        [sentence for part in parts for sentence in part.warnings],
        " ".join(part.fingerprint for part in parts if part.fingerprint),
    )


def memory_estimate(cases: Iterable[Case]) -> int:
    """Return the bytes that the voxels of ``cases`` will take, from their headers: 16 bit for DICOM, else 32 bit.

    A case whose header cannot be read counts nothing; reading it will say why.
    """
    from genesis3d.io import list_series

    total = 0
    for case in cases:
        if case.volume is not None:
            total += case.volume.data.nbytes
        elif case.path is not None:
            try:
                series = list_series(case.path)
            except GenesisError:
                continue
            chosen = [one for one in series if case.series in (None, one.uid)][:1]
            total += sum(one.voxels * (2 if case.series else 4) for one in chosen)
    return total


def require_room(taken: int, count: int) -> None:
    """Raise ScanError when the first ``count`` scans, of ``taken`` bytes, leave the machine almost no memory."""
    import psutil

    memory = psutil.virtual_memory()
    if memory.available < MEMORY_KEPT_FREE * memory.total:
        raise ScanError(
            f"the first {count} scans take {taken / 2**30:.1f} GiB and leave {memory.available / 2**30:.1f} GiB of "
            "memory: expected fewer or smaller scans"
        )
