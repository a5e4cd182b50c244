"""A segmentation model as a plain function from windows to logits, device and precision chosen and checked before use.

What is averaged where windows overlap, and over mirrored copies, are logits, as nnU-Net and MONAI do: a softmax is then
taken once per voxel of the scan, and only where probabilities are asked for.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.inference.folding import folded
from genesis3d.inference.predictor import CLOSE, FASTER, Precision, pick_device

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from genesis3d.networks.model_file import LoadedModel

__all__ = ["ClassPredictor"]


class ClassPredictor:
    """Windows (B, C, d, h, w) float32 in [0, 1] to logits (B, K, d, h, w) of the model's classes.

    Parameters
    ----------
    model : the loaded network and its card, left as they are
    device : ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...
    precision : ``32``, ``bf16``, ``16`` (weights and features), or ``auto``, which :meth:`probe` settles
    """

    def __init__(self, model: LoadedModel, device: str = "auto", precision: Precision = "auto") -> None:
        self.model = model
        self.device = pick_device(device)
        self.precision: Precision = precision
        self.stepped_down = False
        self._plain = folded(model.module.eval(), model.card.network)
        self._ready: dict[Precision, nn.Module] = {}

    def __call__(self, windows: NDArray[np.float32], mirrored: Sequence[int] = ()) -> Tensor:
        """Return logits on :attr:`device`, averaged over the mirror images along all combinations of axes (0 to 2)."""
        import torch

        with torch.inference_mode():
            x = torch.from_numpy(np.ascontiguousarray(windows)).to(self.device, self._dtype())
            total: Tensor | None = None
            for chosen in product((False, True), repeat=len(mirrored)):
                dims = [axis + 2 for axis, flip in zip(mirrored, chosen, strict=True) if flip]
                answer = self._forward(x.flip(dims)).flip(dims) if dims else self._forward(x)
                total = answer if total is None else total.add_(answer)
            assert total is not None
            return total if not mirrored else total.div_(2 ** len(mirrored))

    def probe(self, windows: NDArray[np.float32]) -> Precision:
        """Settle ``auto``: time one batch in float32 and half precision, and take the faster if its classes agree."""
        if self.precision != "auto":
            return self.precision
        half: Precision = "16" if self.device.type == "cuda" else "bf16"
        self.precision = "32"
        slow, exact = self._timed(windows)
        self.precision = half
        try:
            fast, rough = self._timed(windows)
        except RuntimeError:  # no kernel for it on this device
            fast, rough = np.inf, exact
        wrong = float((rough.softmax(1) - exact.softmax(1)).abs().mean())
        if not wrong < CLOSE or fast > FASTER * slow:  # not a number is wrong too
            self.precision = "32"
        return self.precision

    def use(self, device: str | None = None, precision: Precision | None = None) -> None:
        """Go on on another device or in another precision than was asked for."""
        self.stepped_down = True
        self._ready.clear()
        self.device = self.device if device is None else pick_device(device)
        self.precision = precision or self.precision

    def _forward(self, x: Tensor) -> Tensor:
        import torch

        layout = torch.channels_last_3d if self.device.type == "cpu" else torch.contiguous_format
        if self.precision not in self._ready:
            module = copy.deepcopy(self._plain).to(self.device, self._dtype()).to(memory_format=layout)  # type: ignore[call-overload]
            self._ready[self.precision] = module
        logits: Tensor = self._ready[self.precision](x.contiguous(memory_format=layout))
        return logits

    def _dtype(self) -> torch.dtype:
        import torch

        return {"bf16": torch.bfloat16, "16": torch.float16}.get(self.precision, torch.float32)

    def _timed(self, windows: NDArray[np.float32]) -> tuple[float, Tensor]:
        self(windows)  # the first call chooses kernels
        start = self._clock()
        result = self(windows).float()
        return self._clock() - start, result

    def _clock(self) -> float:
        """Return seconds: of this process on the CPU, whatever else the machine does, else of the wall."""
        import torch

        if self.device.type == "cpu":
            return time.process_time()
        torch.cuda.synchronize(self.device)
        return time.perf_counter()
