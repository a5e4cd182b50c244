"""Any network as ONNX, compared with torch before a byte is kept."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ModelError
from genesis3d.networks.base import Network

if TYPE_CHECKING:
    from torch import Tensor, nn

    Finish = Callable[[Tensor, Tensor], Tensor]

__all__ = ["TOLERANCE", "onnx_file"]

TOLERANCE = 1e-4  # largest difference from torch, in [0, 1]
_LARGEST = 4096  # voxels of a side, in strides
INPUT, OUTPUT = "scan", "restored"


def onnx_file(module: nn.Module, network: Network, finish: Finish, card: str) -> tuple[bytes, tuple[str, ...]]:
    """Return an ONNX file of ``finish(module(x), x)`` and sentences to be said about it.

    Input ``scan`` and output are (B, C, D, H, W) float32; batch and sizes are free (sizes: multiples of the stride)
    where torch can export the network so, else those of twice, three and four strides.  ``card`` stands in the
    metadata under ``genesis3d``.

    Raises
    ------
    ModelError
        When onnx, onnxscript or onnxruntime are not installed, torch cannot export the network, or onnxruntime's
        output differs from torch's by more than 1e-4.
    """
    _require()
    whole = _finished(module, finish)
    notes = [f"Input {INPUT!r} and output {OUTPUT!r} are (batch, channel, D, H, W), float32 in [0, 1]."]
    with _quiet():
        try:
            content = _exported(whole, network, card, free=True)
        except Exception as error:  # torch's exporter raises many; fixed sizes ask less of it
            try:
                content = _exported(whole, network, card, free=False)
            except Exception:
                reason = " ".join(str(error).split())[:160]
                raise ModelError(f"onnx: torch could not export this {network.name} ({reason})") from error
            notes.append(f"Sizes are fixed to a batch of 2 of {_sizes(network)} voxels (D, H, W).")
            _compare(content, whole, network, (2, *_sizes(network)))
            return content, tuple(notes)
    n = network.stride
    _compare(content, whole, network, (1, 3 * n, 2 * n, 2 * n))
    return content, tuple(notes)


def _sizes(network: Network) -> tuple[int, int, int]:
    n = network.stride
    return 2 * n, 3 * n, 4 * n


def _exported(whole: nn.Module, network: Network, card: str, *, free: bool) -> bytes:
    import torch

    x = torch.rand(2, network.in_channels, *_sizes(network), generator=torch.Generator().manual_seed(0))
    shapes: Any = None
    if free:
        side = [network.stride * torch.export.Dim(f"{axis}_strides", min=1, max=_LARGEST) for axis in "dhw"]
        shapes = ({0: torch.export.Dim("batch", min=1, max=_LARGEST), 2: side[0], 3: side[1], 4: side[2]},)
    with torch.no_grad():
        graph = torch.export.export(whole, (x,), dynamic_shapes=shapes, strict=False)
        program = torch.onnx.export(graph, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
    if program is None:
        raise ModelError("onnx: torch returned nothing")
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = "genesis3d", card
    content: bytes = model.SerializeToString()
    return content


def _compare(content: bytes, whole: nn.Module, network: Network, shape: tuple[int, int, int, int]) -> None:
    """Raise ModelError unless onnxruntime and torch agree on random input of another size than the exported one."""
    import onnxruntime
    import torch

    batch, *sizes = shape
    x = torch.rand(batch, network.in_channels, *sizes, generator=torch.Generator().manual_seed(1))
    try:
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        theirs = torch.from_numpy(session.run(None, {INPUT: x.numpy()})[0])
    except Exception as error:  # onnxruntime's errors share no class
        reason = " ".join(str(error).split())[:160]
        raise ModelError(f"onnx: onnxruntime does not run the exported network ({reason})") from error
    with torch.no_grad():
        difference = float((whole(x) - theirs).abs().max())
    if not difference <= TOLERANCE:
        raise ModelError(f"onnx: expected onnxruntime and torch to agree to {TOLERANCE}, they differ by {difference:g}")


def _finished(module: nn.Module, finish: Finish) -> nn.Module:
    import copy

    from torch import nn

    class Finished(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = copy.deepcopy(module).eval().cpu().float()

        def forward(self, scan: Tensor) -> Tensor:
            return finish(self.network(scan), scan)

    return Finished()


def _require() -> None:
    from importlib.util import find_spec

    missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]
    if missing:
        raise ModelError(f"onnx: {', '.join(missing)} not installed: pip install 'napari-genesis[onnx]'")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks on itself from the user; what matters is compared afterwards."""
    logger = logging.getLogger("torch")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
