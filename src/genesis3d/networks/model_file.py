"""A model file rebuilds its own network: safetensors weights with one JSON card in the header.

The card stands under the metadata key ``genesis3d`` and can be read without torch.  A MODEL given by a user is such a
file or a run directory (its best checkpoint, else its last).
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import ConfigError, ModelError
from genesis3d.files import write_atomic
from genesis3d.networks.card import ModelCard

if TYPE_CHECKING:
    from typing import Literal

    from torch import Tensor, nn

__all__ = ["KEY", "LoadedModel", "ModelCard", "model_path", "read_card", "read_model", "write_model"]

KEY = "genesis3d"
MAX_HEADER = 16 * 2**20  # bytes; a card is a few kilobytes, the published layout's tensor list 10 KB


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network in eval mode (float32, CPU) with the card it was rebuilt from."""

    module: nn.Module
    card: ModelCard
    path: Path


def model_path(path_or_run: str | Path) -> Path:
    """Return the model file itself, or the best (else last) checkpoint of a run directory; raises ModelError."""
    path = Path(path_or_run)
    if path.is_dir():
        for name in ("best.safetensors", "last.safetensors"):
            if (path / "checkpoints" / name).is_file():
                return path / "checkpoints" / name
        raise ModelError(f"{path}: expected a run with checkpoints/best.safetensors or last.safetensors, found neither")
    if not path.is_file():
        raise ModelError(f"{path}: expected a model file (.safetensors) or a run directory, found nothing there")
    return path


def write_model(
    path: str | Path, module: nn.Module, card: ModelCard, *, dtype: Literal["float32", "float16"] = "float32"
) -> str:
    """Write ``module``'s weights and ``card`` to ``path`` and return the file's SHA-256.

    The file appears whole or not at all.  ``module`` must be the network of ``card.network``; floating weights are
    stored as ``dtype``.

    Raises
    ------
    ModelError
        For weights that do not fit the card's network, are not finite (also: in float16), or cannot be written.
    """
    import safetensors.torch
    import torch

    from genesis3d.networks.weights import check_weights

    wanted = getattr(torch, dtype)
    state = {
        key: value.detach().to("cpu", wanted if value.is_floating_point() else value.dtype).contiguous().clone()
        for key, value in module.state_dict().items()
    }
    check_weights(state, card.network, str(path))
    header = json.dumps(card.to_dict(), sort_keys=True)
    path, data = Path(path), safetensors.torch.save(state, metadata={KEY: header})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise ModelError(f"{path}: the model could not be written: {error.strerror or error}") from error
    return sha256(data).hexdigest()


def read_card(path_or_run: str | Path) -> ModelCard:
    """Return the card of a model, reading the file's header alone; raises ModelError."""
    path = model_path(path_or_run)
    try:
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            text = file.read(length) if 2 <= length <= MAX_HEADER else b""
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path}: the model file cannot be read: {error.strerror or error}") from error
    return _card(path, text, length, size)


def read_model(path_or_run: str | Path) -> LoadedModel:
    """Return the network of a model file or run, rebuilt from its card, in eval mode.

    Raises
    ------
    ModelError
        For a file that is truncated, is no model of this project, names an unknown network, or whose weights differ
        from that network in name or shape or are not finite.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    from genesis3d.networks.weights import check_weights

    path = model_path(path_or_run)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: the model file cannot be read: {error.strerror or error}") from error
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    card = _card(path, data[8 : 8 + length] if length <= MAX_HEADER else b"", length, len(data))
    try:
        state: dict[str, Tensor] = safetensors.torch.load(data)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: expected safetensors weights, got a damaged file ({error})") from error
    check_weights(state, card.network, str(path))
    module = card.network.build()
    module.load_state_dict(state, strict=True)
    return LoadedModel(module.eval(), card, path)


def _card(path: Path, text: bytes, length: int, size: int) -> ModelCard:
    header = _header(path, text, length)
    end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
    if size != 8 + length + end:
        raise ModelError(f"{path}: expected {8 + length + end} bytes by its header, got {size}: truncated or damaged")
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(KEY), str):
        raise ModelError(f"{path}: expected a model of this project (metadata {KEY!r}), got other safetensors weights")
    try:
        return ModelCard.parse(json.loads(metadata[KEY]), str(path))
    except (ConfigError, ValueError, TypeError, RecursionError) as error:
        message = str(error) if isinstance(error, ConfigError) else f"{path}: the model's card is damaged ({error})"
        raise ModelError(message) from error


def _header(path: Path, text: bytes, length: int) -> dict[str, Any]:
    try:
        if len(text) != length or length < 2:
            raise ValueError("no header")
        header = json.loads(text)
        if not isinstance(header, dict):
            raise ValueError("no mapping")
        for key, entry in header.items():
            if key != "__metadata__":
                start, stop = entry["data_offsets"]
                if not (isinstance(start, int) and isinstance(stop, int) and 0 <= start <= stop):
                    raise ValueError("offsets")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ModelError(f"{path}: expected a safetensors file, got something else or a truncated one") from error
    return header
