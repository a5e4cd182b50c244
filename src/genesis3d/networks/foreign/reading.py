"""A foreign file as named tensors: found where checkpoints keep them, freed of the prefixes that wrappers add."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from genesis3d.errors import ModelError
from genesis3d.networks.foreign.keras_file import read_keras
from genesis3d.networks.foreign.limits import MAX_BYTES, MAX_ENTRIES, check_file, check_tensor, check_values, plain_text
from genesis3d.networks.foreign.torch_file import read_torch

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ForeignFile", "read_foreign"]

# Where checkpoints keep their weights, in the order in which they are looked for.
CONTAINERS = ("state_dict", "net", "network_weights", "model_state_dict", "model")
# What wrappers put before a name; "classficationNet" is spelt so in the files of TransVW.
PREFIXES = ("module.", "backbone.", "classficationNet.", "_orig_mod.")
# Heads of contrastive and self-classifying pre-training, which no network of ours has.
DROPPED = ("projection_head", "prototypes", "queue")
CARD = "genesis3d"


@dataclass(frozen=True, eq=False)
class ForeignFile:
    """What a foreign file holds.

    Attributes
    ----------
    path : the file
    container : what kind of file it is
    tensors : weights by name, finite, float32 (float64 stays), as the file's own network has them
    entry : name of the dictionary that held them; empty: the file's own root
    prefixes : what was taken off their names
    dropped : names of heads left out
    card : JSON card if this project exported the file, else empty
    """

    path: Path
    container: Literal["torch", "safetensors", "keras"]
    tensors: dict[str, Tensor]
    entry: str = ""
    prefixes: tuple[str, ...] = ()
    dropped: tuple[str, ...] = field(default=())
    card: str = ""


def read_foreign(path: str | Path) -> ForeignFile:
    """Read a torch checkpoint, safetensors or Keras file; nothing in it is run.

    Raises
    ------
    ModelError
        One sentence for a file that is missing, truncated, hostile, no file of weights, or holds NaN.
    """
    path = Path(path)
    size = check_file(path)
    try:
        with path.open("rb") as file:
            head = file.read(9)
    except OSError as error:
        raise ModelError(f"{path}: the file cannot be read: {error.strerror or error}") from error
    if head.startswith(b"\x89HDF"):
        tensors, card = read_keras(path)
        return _whole(ForeignFile(path, "keras", _plain(tensors, path), card=card.decode("utf-8", "replace")))
    if head.startswith((b"PK", b"\x80")):
        content = read_torch(path, size)
        found, entry = _weights(content, path)
        tensors, prefixes, dropped = _stripped(found, path)
        card_text = plain_text(content.get(CARD))
        return _whole(ForeignFile(path, "torch", _plain(tensors, path), entry, prefixes, dropped, card_text))
    if head[8:] == b"{":
        tensors, prefixes, dropped = _stripped(_safetensors(path), path)
        return _whole(ForeignFile(path, "safetensors", _plain(tensors, path), "", prefixes, dropped))
    raise ModelError(f"{path}: expected a torch, safetensors or Keras (.h5) file of weights, got something else")


def _safetensors(path: Path) -> dict[str, Tensor]:
    import safetensors.torch
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            if CARD in (file.metadata() or {}):
                raise ModelError(f"{path}: this is a model of this project already: use it as it is")
        found: dict[str, Tensor] = safetensors.torch.load_file(path)
        return found
    except ModelError:
        raise
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{path}: expected safetensors weights, got a truncated or damaged file") from error


def _weights(content: Mapping[Any, Any], path: Path) -> tuple[dict[str, Any], str]:
    """Return the tensors in ``content`` and the name of the dictionary that held them."""
    import torch

    for entry in (*CONTAINERS, ""):
        held = content.get(entry) if entry else content
        if isinstance(held, dict):
            found = {key: value for key, value in held.items() if isinstance(key, str) and torch.is_tensor(value)}
            if found:
                return found, entry
    raise ModelError(f"{path}: expected weights by name (under {', '.join(CONTAINERS)}, or directly), found none")


def _stripped(found: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Return the weights without prefixes and heads, the prefixes met, and the names of what was left out."""
    kept: dict[str, Tensor] = {}
    met: list[str] = []
    dropped: list[str] = []
    for key, value in found.items():
        name = key
        while prefix := next((p for p in PREFIXES if name.startswith(p)), None):
            name = name.removeprefix(prefix)
            met.append(prefix)
        if name.startswith(DROPPED):
            dropped.append(name)
        elif name in kept:
            raise ModelError(f"{path}: expected one {name[:80]}, got two behind different prefixes")
        else:
            kept[name] = value
    return kept, tuple(dict.fromkeys(met)), tuple(dropped)


def _plain(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return dense copies in float32 (float64 and whole numbers stay), within the limits; raises ModelError."""
    import torch

    if len(tensors) > MAX_ENTRIES:
        raise ModelError(f"{path}: expected at most {MAX_ENTRIES} weights, got {len(tensors)}")
    total = sum(check_tensor(value, key[:80], str(path)) for key, value in tensors.items())
    if total > MAX_BYTES:
        raise ModelError(f"{path}: expected at most {MAX_BYTES >> 30} GiB of weights, got {total / 2**30:.1f} GiB")
    half = (torch.float16, torch.bfloat16)
    return {
        key: (value.detach().float() if value.dtype in half else value.detach()).contiguous()
        for key, value in tensors.items()
    }


def _whole(file: ForeignFile) -> ForeignFile:
    if not file.tensors:
        raise ModelError(f"{file.path}: expected weights by name, found none")
    check_values(file.tensors.items(), str(file.path))
    return file
