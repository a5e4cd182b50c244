"""A model file rebuilds its own network: safetensors weights with one JSON card in the header.

The card stands under the metadata key ``genesis3d`` and can be read without torch.  A MODEL given by a user is such a
file, a run directory (its best checkpoint, else its last) or the name of a model of the library.
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

__all__ = ["KEY", "LoadedModel", "ModelCard", "copy_model", "has_card", "model_path", "read_card", "read_model",
           "write_model"]  # fmt: skip

KEY = "genesis3d"
MAX_HEADER = 16 * 2**20  # bytes; a card is a few kilobytes, the published layout's tensor list 10 KB


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network in eval mode (float32, CPU) with the card it was rebuilt from."""

    module: nn.Module
    card: ModelCard
    path: Path


def model_path(model: str | Path) -> Path:
    """Return the file of a model: itself, the best (else last) checkpoint of a run, or that of a library name.

    A file or run of that name wins over the library.  Raises ModelError naming what there is.
    """
    path = Path(model)
    if path.is_file():
        return path
    for name in ("best.safetensors", "last.safetensors"):
        if (path / "checkpoints" / name).is_file():
            return path / "checkpoints" / name
    from genesis3d.networks.library import Library, is_name

    library = Library()
    if is_name(str(model)) and str(model) in library.names():
        return library.find(str(model))
    if path.is_dir():
        raise ModelError(f"{path}: expected a run with checkpoints/best.safetensors or last.safetensors, found neither")
    kinds = f"a model file (.safetensors), a run directory or {library.choices()}"
    raise ModelError(f"{path}: expected {kinds}, found nothing there")


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


def copy_model(source: str | Path, target: Path, card: ModelCard | None = None) -> str:
    """Copy a model, its weights bit for bit, to ``target``, under ``card`` if given; return the file's SHA-256.

    Raises
    ------
    ModelError
        As :func:`read_model` for the source, for a card of another network, and when ``target`` cannot be written.
    """
    model = read_model(source)
    data = model.path.read_bytes()
    if card is not None and card != model.card:
        if card.network != model.card.network:
            raise ModelError(f"{model.path}: expected a card of the network it holds, got one of {card.network.name}")
        data = _with_card(data, card)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, data)
    except OSError as error:
        raise ModelError(f"{target}: the model could not be written: {error.strerror or error}") from error
    return sha256(data).hexdigest()


def has_card(path: Path) -> bool:
    """Whether a file is a model of this project, whole or not, by its header; raises ModelError if unreadable."""
    try:
        metadata = _header(path, *_head(path)[:2]).get("__metadata__")
    except ModelError:
        if not path.is_file():
            raise
        return False
    return isinstance(metadata, dict) and KEY in metadata


def read_card(model: str | Path) -> ModelCard:
    """Return the card of a model, reading the file's header alone; raises ModelError."""
    path = model_path(model)
    return _card(path, *_head(path))


def read_model(model: str | Path) -> LoadedModel:
    """Return the network of a model file, run or library name, rebuilt from its card, in eval mode.

    Raises
    ------
    ModelError
        For a file that is truncated, is no model of this project, names an unknown network, or whose weights differ
        from that network in name or shape or are not finite.
    """
    import safetensors.torch
    from safetensors import SafetensorError

    from genesis3d.networks.weights import check_weights

    path = model_path(model)
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


def _head(path: Path) -> tuple[bytes, int, int]:
    """Return a file's header, the length it says, and the file's size."""
    try:
        with path.open("rb") as file:
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            text = file.read(length) if 2 <= length <= MAX_HEADER else b""
        size = path.stat().st_size
    except OSError as error:
        raise ModelError(f"{path}: the model file cannot be read: {error.strerror or error}") from error
    return text, length, size


def _with_card(data: bytes, card: ModelCard) -> bytes:
    """Return a model file's bytes under another card; the weights stay where they are behind the header."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"][KEY] = json.dumps(card.to_dict(), sort_keys=True)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format wants its weights aligned
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


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
