"""Beginning a target task with a pre-trained model: which of its weights go where, and what is said about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

from genesis3d.errors import ModelError
from genesis3d.labels import BACKGROUND
from genesis3d.networks.base import Network
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.ensemble import Ensemble
from genesis3d.networks.model_file import read_card, read_model
from genesis3d.networks.unet3d import UNet3d

if TYPE_CHECKING:
    from torch import Tensor, nn

    from genesis3d.labels import LabelClass
    from genesis3d.networks.card import ModelCard

__all__ = ["Transferred", "TransferredParts", "single", "target_network", "transfer"]

TransferredParts = Literal["encoder", "encoder_decoder", "all"]

# Without a model to begin with: the middle size of a pre-training.
_FRESH = UNet3d(width=16)
_IN_WORDS = {"encoder": "the encoder", "encoder_decoder": "encoder and decoder", "all": "the whole network"}


@dataclass(frozen=True)
class Transferred:
    """What a network was given.

    Attributes
    ----------
    card : of the model it came from
    parent : title and SHA-256 of its file, as ``ModelCard.parents`` keeps them
    sentence : which share of the weights it was, to be said and kept
    matched : names of the weights that were given, in the receiving network
    """

    card: ModelCard
    parent: str
    sentence: str
    matched: tuple[str, ...]


def target_network(
    model: str | None,
    out_channels: int,
    in_channels: int = 1,
    *,
    purpose: Literal["segmentation", "classification"] = "segmentation",
    head: Literal["mlp", "linear"] = "mlp",
) -> Network:
    """Return the network of a target task that can begin with ``model`` (a file, run or library name; None: any).

    For a ``classification`` it is the model's encoder with a fully connected ``head``.  Raises ModelError when there is
    no such model.
    """
    body = _FRESH if model is None else single(read_card(model), model).network.body
    if purpose == "classification":
        return Classifier(in_channels=in_channels, out_channels=out_channels, encoder=body, head=head)
    return body.replaced(in_channels=in_channels, out_channels=out_channels)


def single(card: ModelCard, model: str) -> ModelCard:
    """Return ``card``; raises ModelError when ``model`` is an ensemble, which is used and not trained on."""
    if isinstance(card.network, Ensemble):
        raise ModelError(
            f"{model}: expected a model of one network to begin with, got an ensemble; take a member of it"
        )
    return card


def transfer(
    model: str,
    network: Network,
    module: nn.Module,
    parts: TransferredParts = "encoder_decoder",
    classes: Sequence[LabelClass] = (),
) -> Transferred:
    """Put weights of ``model`` (a file, a run or a name of the library) into ``module``, built for ``network``.

    Running statistics go along with their normalisations.  Where the input has other channels, the weights of the first
    convolution are repeated over them and divided, so that repeated channels give what the model gave (Taleb et al.,
    NeurIPS 2020, section 4).

    Parameters
    ----------
    parts : ``encoder``, ``encoder_decoder`` (the head stays as it is), or ``all``, for a model of the same classes, or
        one of opacity (task opacity) whose opacity becomes the first of two classes
    classes : of the target task, to be compared with the model's where its head is kept; empty: not compared

    Raises
    ------
    ModelError
        When there is no such model, its network differs in more than channels, or its head in classes; the sentence
        names what differs.
    """
    found = read_model(model)
    theirs = found.card.network
    if parts == "encoder_decoder" and not (network.parts.decoder and theirs.parts.decoder):
        parts = "encoder"
    _check_same(theirs, network, parts, str(found.path))
    if parts == "all":
        _check_classes(found.card.classes, classes, str(found.path))
    given = _selected(theirs, found.module.state_dict(), parts)
    opacity = parts == "all" and found.card.activation == "opacity"
    if opacity:
        given |= _two_classes(given, theirs)
    first = network.body.parts.first
    given[first] = repeated(given[first], network.in_channels)
    state = {_name(key, network): value for key, value in given.items()}
    ours = module.state_dict()
    wrong = [name for name, value in state.items() if name not in ours or ours[name].shape != value.shape]
    if wrong:
        raise ModelError(f"{found.path}: expected weights that fit {network.name}, got {wrong[0]} of another shape")
    module.load_state_dict(state, strict=False)
    digest = sha256(found.path.read_bytes()).hexdigest()
    title = found.card.title or found.path.stem
    said = [f"{_matched(state, ours, parts)} are those of {title}"]
    if opacity:
        said.append("what it calls opacity is the first class")
    if theirs.in_channels != network.in_channels:
        said.append(f"its first convolution is repeated from {theirs.in_channels} to {network.in_channels} channel(s)")
    if parts != "all":
        said.append("the head is new" if parts == "encoder_decoder" or not network.parts.decoder else "the rest is new")
    return Transferred(found.card, f"{title} (SHA-256 {digest})", "; ".join(said) + ".", tuple(state))


def _matched(state: dict[str, Tensor], ours: dict[str, Tensor], parts: TransferredParts) -> str:
    """Return in words how many weights, and which share of their values, of ``ours`` are in ``state``."""
    share = sum(value.numel() for value in state.values()) / sum(value.numel() for value in ours.values())
    share = int(1000 * share) / 1000  # 100 % means all
    return f"{len(state)} of {len(ours)} weights ({share:.1%} of their values: {_IN_WORDS[parts]})"


def repeated(weight: Tensor, channels: int) -> Tensor:
    """Return a first convolution (O, I, a, b, c) for ``channels`` inputs that gives the same where they repeat I.

    Channels that are no multiple of I share the sum over I evenly.
    """
    mine = weight.shape[1]
    if channels % mine == 0:
        return weight.repeat(1, channels // mine, 1, 1, 1) * (mine / channels)
    return (weight.sum(dim=1, keepdim=True) / channels).repeat(1, channels, 1, 1, 1)


def _check_same(theirs: Network, ours: Network, parts: TransferredParts, where: str) -> None:
    """Raise ModelError, naming what differs, unless ``parts`` of one network fit the other."""
    left, right = theirs.to_dict(), ours.to_dict()
    free = {"in_channels"}
    if parts != "all":
        left, right = theirs.body.to_dict(), ours.body.to_dict()
        free |= {"out_channels"}
    if parts == "encoder":
        free |= {"decoder"}  # how a decoder doubles is nothing to an encoder
    names = sorted(
        name for name in left.keys() | right.keys() if left.get(name) != right.get(name) and name not in free
    )
    if names:
        pairs = ", ".join(f"network.{name}={left.get(name)} (here: {right.get(name)})" for name in names)
        raise ModelError(
            f"{where}: expected a model whose {_IN_WORDS[parts].removeprefix('the ')} fits, got one of {pairs}"
        )


def _check_classes(theirs: Sequence[LabelClass], ours: Sequence[LabelClass], where: str) -> None:
    """Raise ModelError where both say their classes and the names differ; the background goes without saying."""
    left, right = (", ".join(one.name for one in classes if one.value != BACKGROUND) for classes in (theirs, ours))
    if left and right and left != right:
        raise ModelError(f"{where}: expected a model of the classes {right} to keep its head, got one of {left}")


def _selected(network: Network, state: dict[str, Tensor], parts: TransferredParts) -> dict[str, Tensor]:
    """Return the weights of ``parts``, under the names that the network's body gives them."""
    named = network.parts
    levels = [*named.encoder, *(named.decoder if parts != "encoder" else ()), named.head if parts == "all" else ()]
    prefixes = tuple(prefix for level in levels for prefix in level)
    borrowed = "" if network.body is network else "encoder."
    return {key.removeprefix(borrowed): value for key, value in state.items() if key.startswith(prefixes)}


def _two_classes(given: dict[str, Tensor], network: Network) -> dict[str, Tensor]:
    """Return an opacity model's head as one of two classes, whose softmax is the opacity's sigmoid."""
    import torch

    heads = {key: value for key, value in given.items() if key.startswith(network.parts.head)}
    return {key: torch.stack([torch.zeros_like(value[-1]), value[-1]]) for key, value in heads.items()}


def _name(key: str, network: Network) -> str:
    """Return the name that ``network`` gives to what its body calls ``key``."""
    return key if network.body is network or key.startswith(network.parts.head) else f"encoder.{key}"
