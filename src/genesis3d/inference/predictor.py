"""A restoration model as a plain function on windows: device and precision chosen and checked before the first one."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from genesis3d.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import torch
    from numpy.typing import NDArray

    from genesis3d.inference.classes import ClassPredictor
    from genesis3d.networks.model_file import LoadedModel

__all__ = ["Precision", "Predictor", "pick_device", "warm"]

Precision = Literal["auto", "32", "bf16", "16"]
CLOSE = 0.02  # largest mean difference in [0, 1] from float32 that a faster precision may have
FASTER = 0.8  # share of the float32 time that it must stay under to be worth it


def pick_device(name: str = "auto") -> torch.device:
    """Return the device called ``name`` (``auto``: the first GPU, else the CPU); raises ConfigError if it is absent."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device: expected one that is here (cpu, cuda:0, ...), got {name!r}") from error
    return device


class Predictor:
    """Windows (B, C, d, h, w) float32 in [0, 1] to restored windows in [0, 1], as the model's task defines them.

    Parameters
    ----------
    model : the loaded network and its card
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
    precision : ``32``, ``bf16``, ``16`` (autocast), or ``auto``: whichever :meth:`probe` finds faster and close enough
    """

    def __init__(self, model: LoadedModel, device: str = "auto", precision: Precision = "auto") -> None:
        import torch

        self.device = pick_device(device)
        self.precision: Precision = precision
        self._activation = model.card.activation
        self._layout = torch.channels_last_3d if self.device.type == "cpu" else torch.contiguous_format
        self._module = model.module.eval().to(self.device).to(memory_format=self._layout)  # type: ignore[call-overload]

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the restored windows; raises ModelError when the device's memory does not hold them."""
        import torch

        from genesis3d.tasks.activation import restored

        try:
            with torch.inference_mode():
                x = torch.from_numpy(np.ascontiguousarray(windows)).to(self.device, memory_format=self._layout)
                with self._autocast():
                    logits = self._module(x)
                result = restored(logits.float(), x, self._activation)
                return np.asarray(result.cpu().numpy(), dtype=np.float32)
        except torch.OutOfMemoryError as error:
            size = " x ".join(str(n) for n in windows.shape[2:])
            raise ModelError(
                f"{self.device}: not enough memory for {len(windows)} window(s) of {size} voxels; "
                "take a smaller batch or window"
            ) from error

    def probe(self, windows: NDArray[np.float32]) -> Precision:
        """Settle ``auto``: time one batch in float32 and half precision, and take the faster if it agrees."""
        if self.precision != "auto":
            return self.precision
        half: Precision = "16" if self.device.type == "cuda" else "bf16"
        self.precision = "32"
        slow, exact = self._timed(windows)
        self.precision = half
        try:
            fast, rough = self._timed(windows)
        except (RuntimeError, ModelError):  # no kernel for it on this device
            fast, rough = np.inf, exact
        agrees = bool(np.isfinite(rough).all()) and float(np.abs(rough - exact).mean()) < CLOSE
        if not agrees or fast > FASTER * slow:
            self.precision = "32"
        return self.precision

    def _timed(self, windows: NDArray[np.float32]) -> tuple[float, NDArray[np.float32]]:
        self(windows)  # the first call chooses kernels
        start = time.perf_counter()
        result = self(windows)
        return time.perf_counter() - start, result

    def _autocast(self) -> AbstractContextManager[Any]:
        import torch

        if self.precision in ("auto", "32"):
            return nullcontext()
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)


_WARM: list[tuple[tuple[object, ...], ClassPredictor]] = []  # at most one
_LOCK = threading.Lock()


def warm(model: str | Path | LoadedModel, device: str = "auto", precision: Precision = "auto") -> ClassPredictor:
    """Return the predictor of ``model``; the last one is kept, so that a second run neither loads nor measures again.

    Raises
    ------
    ModelError, ConfigError
        When the model or the device cannot be used.
    """
    from genesis3d.inference.classes import ClassPredictor
    from genesis3d.networks.model_file import LoadedModel, model_path, read_model

    path = model.path if isinstance(model, LoadedModel) else model_path(model)
    key = (_stamp(path), device, precision)
    with _LOCK:
        for known, predictor in _WARM:
            if known == key and not predictor.stepped_down and _is(model, predictor.model):
                return predictor
        loaded = model if isinstance(model, LoadedModel) else read_model(path)
        _WARM[:] = [(key, ClassPredictor(loaded, device, precision))]
        return _WARM[0][1]


def _stamp(path: Path) -> tuple[object, ...]:
    """Return what changes when the file does; of a model without a file, its name alone."""
    try:
        found = path.stat()
    except OSError:
        return path, None
    return path.resolve(), found.st_mtime_ns, found.st_size


def _is(model: str | Path | LoadedModel, kept: LoadedModel) -> bool:
    """Whether ``model`` is the one that is kept, or another copy of its file."""
    from genesis3d.networks.model_file import LoadedModel

    return not isinstance(model, LoadedModel) or model is kept or (kept.path.exists() and model.card == kept.card)
