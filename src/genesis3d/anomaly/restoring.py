"""A scan through a restoration network, window by window: what the network makes of it, on the grid it is given."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from genesis3d.anomaly.careful import Careful
from genesis3d.anomaly.placing import anchored_windows
from genesis3d.config import Config
from genesis3d.errors import DomainError, ModelError
from genesis3d.events import Control, Event, Started, Stepped, Warned, keep_running
from genesis3d.inference.predictor import Precision, Predictor
from genesis3d.inference.windows import Plan, Swept, cut, plan_windows, sweep
from genesis3d.intensity import CtIntensity, Scale
from genesis3d.networks.mismatch import mismatches

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume

__all__ = ["Ready", "RestoreSettings", "Restored", "check_model", "in_unit", "prepare", "run_windows", "windows_of"]

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


@dataclass(frozen=True, eq=False)
class Ready:
    """Everything decided before the first window: canonical ``volume``, ``scale``, ``plan``, who predicts, doubts."""

    volume: Volume
    card: ModelCard
    scale: Scale
    plan: Plan
    predict: Careful
    batch: int
    warnings: tuple[str, ...]

    @property
    def predictor(self) -> Predictor:
        """What computes, by now."""
        return self.predict.predictor

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


def prepare(
    volume: Volume,
    model: LoadedModel,
    settings: RestoreSettings,
    inside: NDArray[np.bool_] | None = None,
    anchored: bool = False,
) -> Ready:
    """Decide windows, device and precision for ``volume``, restoring only around ``inside`` (D, H, W) if given.

    The windows are spread evenly over the marked box; ``anchored`` ones stand in space, so that a crop of the scan is
    seen through the same windows.

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
    if anchored and inside is not None:
        plan = anchored_windows(volume.geometry, size, settings.overlap, inside, card.network.stride)
    else:
        plan = plan_windows(volume.geometry.shape, size, settings.overlap, inside)
    predictor = Predictor(model, settings.device, settings.precision)
    if settings.threads is not None:
        _limit_threads(settings.threads)
    batch = settings.batch or _usual_batch(card, predictor)
    first = plan.starts[:batch] if len(plan.starts) >= PROBED else ()
    if first:
        predictor.probe(np.stack([in_unit(scale, cut(volume.data, start, plan.size)) for start in first]))
    elif predictor.precision == "auto":
        predictor.precision = "32"
    return Ready(volume, card, scale, plan, Careful(model, predictor), batch, tuple(warnings))


def run_windows(ready: Ready, control: Control = keep_running) -> Generator[Event, None, Restored | None]:
    """Restore the windows, yielding progress; return what came out, or None when stopped."""
    swept = yield from windows_of(ready, ready.volume.data, control)
    return None if swept is None else _in_own_units(ready, swept.values, swept.covered)


def windows_of(
    ready: Ready, data: NDArray[Any], control: Control = keep_running, unit: bool = False, done: int = 0, total: int = 0
) -> Generator[Event, None, Swept | None]:
    """Run the windows over ``data`` (C, D, H, W), yielding progress; return all outputs (K, ...), None when stopped.

    Parameters
    ----------
    data : on the grid of ``ready.volume``, in its unit, or in [0, 1] where ``unit``
    done, total : windows of earlier passes over the scan, and of all passes; 0: this is the only one
    """
    to_unit = _same if unit else lambda values: in_unit(ready.scale, values)
    work = sweep(data, ready.plan, ready.predict, to_unit, ready.batch, control)
    total, began, told = total or len(ready.plan.starts), time.monotonic(), 0.0
    while True:
        try:
            count = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what sweep returns
        while ready.predict.said:
            yield Warned(message=ready.predict.said.pop(0))
        now = time.monotonic()
        if now - told > 0.1 or done + count == total:
            told, rate = now, count / max(now - began, 1e-6)
            left = (total - done - count) / rate
            yield Stepped(step=done + count, total=total, rate=rate, seconds_left=left, memory_bytes=_memory())


def check_model(volume: Volume, card: ModelCard) -> list[str]:
    """Raise ModelError or DomainError unless the model of ``card`` applies to ``volume``; return what to say."""
    name, network = volume.name, card.network
    if network.in_channels != volume.channels:
        raise ModelError(f"{name}: expected {network.in_channels} channel(s) by the model, got {volume.channels}")
    outputs = network.in_channels + (card.purpose == "opacity")
    if network.out_channels != outputs:
        raise ModelError(f"model {card.title!r}: expected one that restores scans, got {network.out_channels} outputs")
    hounsfield = isinstance(card.intensity, CtIntensity) or (card.purpose == "opacity" and card.modalities == ("CT",))
    if hounsfield and volume.unit != "HU":
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
    values = scale.from_unit(values[: volume.channels])
    np.subtract(restored[box], values, out=difference[box], where=covered)
    np.copyto(restored[box], values, where=covered)
    name = volume.name
    return Restored(
        volume.with_data(restored, name=f"{name} restored", notes=()),
        volume.with_data(difference, name=f"{name} difference", notes=()),
    )


def in_unit(scale: Scale, values: NDArray[Any]) -> NDArray[np.float32]:
    """Map to [0, 1], voxels without a value to 0."""
    return np.nan_to_num(scale.to_unit(values), copy=False, nan=0.0)


def _same(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _usual_batch(card: ModelCard, predictor: Predictor) -> int:
    """One window keeps a CPU busy; a network that takes statistics over its batch must see each window alone."""
    return 8 if card.network.independent and predictor.device.type != "cpu" else 1


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)


def _memory() -> int:
    import psutil

    return int(psutil.Process().memory_info().rss)
