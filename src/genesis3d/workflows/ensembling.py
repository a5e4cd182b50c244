"""Several trained models as one: their networks in a single file, whose answer is the mean of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from genesis3d.config import Config
from genesis3d.errors import ModelError
from genesis3d.events import Control, Event, Finished, Saved, Started, Warned, keep_running
from genesis3d.networks.ensemble import Ensemble
from genesis3d.networks.model_file import ModelCard, read_model, write_model

if TYPE_CHECKING:
    from genesis3d.networks.model_file import LoadedModel

__all__ = ["EnsembleConfig", "ensemble_models"]

# What members must agree in: on the card, and in words.
ALIKE = {
    "network": "network", "activation": "activation", "purpose": "task", "intensity": "intensity",
    "working_spacing": "working spacing", "classes": "classes",
}  # fmt: skip


class EnsembleConfig(Config):
    """Models that are to become one."""

    models: tuple[str, ...] = Field(min_length=2, max_length=16, description="names, run directories or model files")
    out: str = Field(pattern=r"\.safetensors$", description="file to write (.safetensors)")
    half: bool = Field(False, description="weights in half precision: half the size; computed in 32 bits all the same")
    overwrite: bool = Field(False, description="replace the file if it is there")


def ensemble_models(config: EnsembleConfig, control: Control = keep_running) -> Iterator[Event]:
    """Write the models of ``config`` as one, whose answer is the mean of what they say after their activation.

    Raises
    ------
    ModelError, ConfigError
        One sentence on a model that cannot be read or differs from the first, or on the file.
    """
    out = Path(config.out)
    if out.exists() and not config.overwrite:
        raise ModelError(f"{out}: is there already; give another name or overwrite it")
    yield Started(what="ensemble", total=len(config.models), unit="model")
    members: list[LoadedModel] = []
    for model in config.models:
        if control() == "stop":
            yield Finished(cancelled=True)
            return
        members.append(read_model(model))
        _check_alike(members[0], members[-1])
    network = Ensemble(
        network=members[0].card.network, members=len(members), activation=members[0].card.activation,
        in_channels=members[0].card.network.in_channels, out_channels=members[0].card.network.out_channels,
    )  # fmt: skip
    module = network.build()
    for index, member in enumerate(members):
        module.get_submodule(f"networks.{index}").load_state_dict(member.module.state_dict(), strict=True)
    card = _card([member.card for member in members], network, [_said(member) for member in members])
    write_model(out, module, card, dtype="float16" if config.half else "float32")
    if not card.licence and not card.attribution:
        yield Warned(message="The card names no licence: give one before you share the model.")
    yield Saved(path=str(out), what="model")
    yield Finished(result={"bytes": out.stat().st_size, "members": len(members), "licence": card.licence})


def _check_alike(first: LoadedModel, other: LoadedModel) -> None:
    """Raise ModelError, naming what differs, unless both may stand in one ensemble."""
    if isinstance(other.card.network, Ensemble):
        raise ModelError(f"{other.path}: expected a model of one network, got an ensemble")
    if not other.card.network.dense:
        raise ModelError(f"{other.path}: expected a model with an answer for every voxel, got one of a whole scan")
    for name, word in ALIKE.items():
        ours, theirs = (getattr(model.card, name) for model in (first, other))
        if ours != theirs:
            raise ModelError(f"{other.path}: expected the {word} of {first.path} ({_text(ours)}), got {_text(theirs)}")


def _text(value: object) -> str:
    if isinstance(value, Config):
        return str(value.to_dict())
    if isinstance(value, tuple) and value and isinstance(value[0], Config):
        return ", ".join(str(getattr(one, "name", one)) for one in value)
    return str(value)


def _said(member: LoadedModel) -> str:
    return f"{member.card.title or member.path.stem} (SHA-256 {sha256(member.path.read_bytes()).hexdigest()})"


def _card(cards: Sequence[ModelCard], network: Ensemble, parents: Sequence[str]) -> ModelCard:
    """Return what the members say alike; figures, which were of each alone, are left out."""
    first = cards[0]
    licences = dict.fromkeys(card.licence for card in cards if card.licence)
    patches = {card.patch for card in cards}
    return ModelCard(
        title=f"{len(cards)} x {first.title}"[:200] if first.title else "",
        description=first.description,
        limits=first.limits,
        trained_by=first.trained_by,
        parents=tuple(parents),
        network=network,
        task=first.task,
        activation=first.activation,
        classes=first.classes,
        intensity=first.intensity,
        modality=first.modality,
        patch=first.patch if len(patches) == 1 else None,
        spacing=first.spacing,
        working_spacing=first.working_spacing,
        chain=first.chain,
        training=first.training,
        attribution=tuple(dict.fromkeys(source for card in cards for source in card.attribution)),
        step=first.step,
        licence="; ".join(licences)[:2000],
    )
