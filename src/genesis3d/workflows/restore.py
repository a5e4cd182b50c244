"""A scan through a restoration network: what the network makes of it, on the scan's own grid."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from genesis3d.config import Config
from genesis3d.errors import DomainError, ModelError, ScanError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.inference.predictor import Precision, Predictor
from genesis3d.inference.windows import Plan, cut, plan_windows, sweep
from genesis3d.intensity import CtIntensity, Scale
from genesis3d.networks.mismatch import mismatches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume

__all__ = ["Ready", "RestoreConfig", "RestoreSettings", "Restored", "check_model", "prepare", "restore", "run_windows"]

PATCH = (32, 64, 64)
PROBED = 12  # windows from which on it pays to measure which precision is faster


class RestoreSettings(Config):
    """How a network is applied to a scan."""

    window: tuple[int, int, int] | None = Field(
        None, description="window (D, H, W) in voxels; empty: the sub-volume the model was trained on"
    )
    overlap: float = Field(
        0.25, ge=0, le=0.9, description="share of a window that the next one covers again: more is smoother and slower"
    )
    batch: int | None = Field(
        None, ge=1, le=64, description="windows that go through the network together; empty: 1 on a CPU, 8 on a GPU"
    )
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda, cuda:1, ...")
    precision: Precision = Field(
        "auto", description="auto: half precision where it is faster and agrees; or 32, bf16, 16"
    )
    threads: int | None = Field(None, ge=1, le=256, description="CPU threads; empty: as many as there are cores")


class RestoreConfig(RestoreSettings):
    """A restoration of one scan into one file."""

    scan: str = Field(description="scan: DICOM folder, zip, NIfTI, NRRD or MetaImage")
    model: str = Field(description="run directory, .safetensors model file or name of a model of the library")
    out: str = Field(description="file to write: .nii.gz, .nii, .nrrd, .mha or .mhd")
    series: str | None = Field(None, description="series UID where a folder holds several; empty: the largest")


@dataclass(frozen=True, eq=False)
class Ready:
    """Everything decided before the first window: canonical ``volume``, ``scale``, ``plan``, ``predictor``, doubts."""

    volume: Volume
    card: ModelCard
    scale: Scale
    plan: Plan
    predictor: Predictor
    batch: int
    warnings: tuple[str, ...]

    def started(self, what: str) -> Started:
        """Return the event that opens the work."""
        detail = {"scan": self.volume.name, "model": self.card.title, "window": list(self.plan.size)}
        total, device = len(self.plan.starts), str(self.predictor.device)
        precision = self.predictor.precision
        return Started(what=what, total=total, unit="window", device=device, precision=precision, detail=detail)


@dataclass(frozen=True, eq=False)
class Restored:
    """What the network made of a scan, on its canonical grid, float32 (C, D, H, W) in the scan's own unit.

    Attributes
    ----------
    restored : where no window was, the scan itself, clipped to the model's intensity range
    difference : scan, clipped to that range, minus restored; 0 where no window was
    """

    restored: Volume
    difference: Volume


def restore(config: RestoreConfig, control: Control = keep_running) -> Iterator[Event]:
    """Restore one scan and write it; nothing is written when stopped.

    Raises
    ------
    ScanError, ModelError, DomainError, ConfigError
        One sentence on the scan, the model, how they fit, or the settings.
    """
    from genesis3d.io import read_volume, write_volume
    from genesis3d.networks.model_file import read_model

    _check_out(config.out)
    model = read_model(config.model)
    volume = read_volume(config.scan, series=config.series)
    ready = prepare(volume, model, config)
    yield ready.started("restore")
    yield from (Warned(message=text) for text in (*volume.notes, *ready.warnings))
    result = yield from run_windows(ready, control)
    if result is None:
        yield Finished(cancelled=True)
        return
    yield Saved(path=str(write_volume(result.restored, config.out)), what="restored scan")
    inside = np.abs(result.difference.data)
    figures = {"mean_absolute_difference": float(inside.mean(dtype=np.float64)), "unit": volume.unit or ""}
    yield Finished(result=figures)


def prepare(
    volume: Volume, model: LoadedModel, settings: RestoreSettings, inside: NDArray[np.bool_] | None = None
) -> Ready:
    """Decide windows, device and precision for ``volume``, restoring only around ``inside`` (D, H, W) if given.

    Raises
    ------
    ModelError, DomainError, ConfigError
        When model, scan and settings do not fit each other.
    """
    volume = volume.canonical()
    card = model.card
    warnings = check_model(volume, card)
    size = settings.window or card.patch or PATCH
    card.network.check((card.network.in_channels, *size))
    scale = card.intensity.fit(volume)
    plan = plan_windows(volume.geometry.shape, size, settings.overlap, inside)
    predictor = Predictor(model, settings.device, settings.precision)
    if settings.threads is not None:
        _limit_threads(settings.threads)
    batch = settings.batch or _usual_batch(card, predictor)
    first = plan.starts[:batch] if len(plan.starts) >= PROBED else ()
    if first:
        predictor.probe(np.stack([_unit(scale, cut(volume.data, start, plan.size)) for start in first]))
    elif predictor.precision == "auto":
        predictor.precision = "32"
    return Ready(volume, card, scale, plan, predictor, batch, tuple(warnings))


def run_windows(ready: Ready, control: Control = keep_running) -> Generator[Event, None, Restored | None]:
    """Restore the windows, yielding progress; return what came out, or None when stopped."""
    work = sweep(
        ready.volume.data,
        ready.plan,
        ready.predictor,
        lambda values: _unit(ready.scale, values),
        ready.batch,
        control,
    )
    total, began, told = len(ready.plan.starts), time.monotonic(), 0.0
    while True:
        try:
            done = next(work)
        except StopIteration as end:
            swept = end.value
            break
        now = time.monotonic()
        if now - told > 0.1 or done == total:
            told, rate = now, done / max(now - began, 1e-6)
            left = (total - done) / rate
            yield Stepped(step=done, total=total, rate=rate, seconds_left=left, memory_bytes=_memory())
    return None if swept is None else _in_own_units(ready, swept.values, swept.covered)


def check_model(volume: Volume, card: ModelCard) -> list[str]:
    """Raise ModelError or DomainError unless the model of ``card`` applies to ``volume``; return what to say."""
    name, network = volume.name, card.network
    if network.in_channels != volume.channels:
        raise ModelError(f"{name}: expected {network.in_channels} channel(s) by the model, got {volume.channels}")
    if network.out_channels != network.in_channels:
        raise ModelError(f"model {card.title!r}: expected one that restores scans, got {network.out_channels} outputs")
    if isinstance(card.intensity, CtIntensity) and volume.unit != "HU":
        kind = volume.modality or "a scan of unknown modality"
        raise DomainError(f"{name}: expected a CT in HU, on which the model was trained, got {kind} without HU")
    return mismatches(card, volume)


def _in_own_units(ready: Ready, values: NDArray[np.float32], covered: NDArray[np.bool_]) -> Restored:
    """Put restored windows into the scan and take the difference, box by box, in the scan's own unit."""
    volume, scale, box = ready.volume, ready.scale, (slice(None), *ready.plan.slices)
    restored = np.empty(volume.data.shape, np.float32)
    np.clip(volume.data, scale.low, scale.high, out=restored, casting="unsafe")
    np.nan_to_num(restored, copy=False, nan=scale.low)
    difference = np.zeros(volume.data.shape, np.float32)
    values = scale.from_unit(values)
    np.subtract(restored[box], values, out=difference[box], where=covered)
    np.copyto(restored[box], values, where=covered)
    name = volume.name
    return Restored(
        volume.with_data(restored, name=f"{name} restored", notes=()),
        volume.with_data(difference, name=f"{name} difference", notes=()),
    )


def _unit(scale: Scale, values: NDArray[Any]) -> NDArray[np.float32]:
    """Map to [0, 1], voxels without a value to 0."""
    return np.nan_to_num(scale.to_unit(values), copy=False, nan=0.0)


def _usual_batch(card: ModelCard, predictor: Predictor) -> int:
    """One window keeps a CPU busy; a network that takes statistics over its batch must see each window alone."""
    return 8 if card.network.independent and predictor.device.type != "cpu" else 1


def _check_out(out: str) -> None:
    from genesis3d.io.write import WRITABLE

    path = Path(out)
    if not path.name.lower().endswith(WRITABLE):
        raise ScanError(f"{out}: expected a name ending in {', '.join(WRITABLE)}")
    if not path.absolute().parent.is_dir():
        raise ScanError(f"{out}: its folder does not exist")


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _memory() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
