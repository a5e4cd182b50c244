"""A chain of transformations with probabilities and mutual exclusion (Models Genesis, Fig. 1: twelve outcomes)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from genesis3d.config import Config
from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform, select
from genesis3d.transforms.flip import Flip
from genesis3d.transforms.nonlinear import NonLinear
from genesis3d.transforms.painting import Inpainting, Outpainting
from genesis3d.transforms.shuffling import LocalShuffling

if TYPE_CHECKING:
    import torch

__all__ = ["Chain", "Choice", "Step"]

AnyTransform = Annotated[Transform, *TRANSFORMS.field()]


class Step(Config):
    """One transformation of a chain, applied with probability ``p``."""

    transform: AnyTransform = Field(description="the transformation and its settings")
    p: float = Field(1.0, ge=0, le=1, description="chance that the transformation is applied")
    enabled: bool = Field(True, description="whether the step takes part at all")

    @property
    def options(self) -> tuple[Transform, ...]:
        """The transformations to choose from: the one."""
        return (self.transform,)

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each option among the applied."""
        return (1.0,)


class Choice(Config):
    """Several transformations that exclude each other: with probability ``p``, one of them by its weight."""

    options: tuple[AnyTransform, ...] = Field(min_length=1, description="transformations that exclude each other")
    weights: tuple[Annotated[float, Field(ge=0)], ...] = Field(description="relative weight of each option")
    p: float = Field(1.0, ge=0, le=1, description="chance that one of the options is applied")
    enabled: bool = Field(True, description="whether the step takes part at all")

    @model_validator(mode="after")
    def _weighted(self) -> Choice:
        if len(self.weights) != len(self.options) or sum(self.weights) <= 0:
            raise ValueError(f"expected a weight for each of {len(self.options)} options, not all 0: {self.weights}")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of each option among the applied; they add up to 1."""
        total = sum(self.weights)
        return tuple(weight / total for weight in self.weights)


def _kind(value: Any) -> str:
    return "choice" if isinstance(value, Choice) or (isinstance(value, dict) and "options" in value) else "step"


AnyStep = Annotated[Annotated[Step, Tag("step")] | Annotated[Choice, Tag("choice")], Discriminator(_kind)]

DEFAULT_STEPS: tuple[Step | Choice, ...] = (
    Step(transform=Flip(), p=1.0),
    Step(transform=LocalShuffling(), p=0.5),
    Step(transform=NonLinear(), p=0.9),
    Choice(options=(Inpainting(), Outpainting()), weights=(0.2, 0.8), p=0.9),
)


@TRANSFORMS.register("chain")
class Chain(Transform):
    """Transformations one after the other, each with its probability; without arguments, the preset ``default``.

    A mapping in a configuration may also be the name of a preset: ``chain: official``.

    Parameters of step ``k``: ``"k/choice"`` (B,) int64, the option applied to each case or -1; and, for each option
    ``j``, its own parameters under ``"k/j/..."``, drawn whether or not it is applied, so that turning a step on or
    changing a probability leaves everything else as it was.
    """

    label: ClassVar[str] = "chain"

    steps: tuple[AnyStep, ...] = Field(DEFAULT_STEPS, description="the transformations, in order")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, values: Any) -> Any:
        if not isinstance(values, str):
            return values
        from genesis3d.transforms.presets import chain_preset

        return {"steps": chain_preset(values).steps}

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return the choices and the parameters of every option of one case."""
        params: Params = {}
        decisions = address.generator().random((len(self.steps), 2)).tolist()
        for k, (step, (u, v)) in enumerate(zip(self.steps, decisions, strict=True)):
            applied = step.enabled and u < step.p
            params[f"{k}/choice"] = np.asarray(_chosen(step.shares, v) if applied else -1, np.int64)
            for j, transform in enumerate(step.options):
                drawn = transform.sample(shape, address / f"{k}/{j}-{transform.name}")
                for key, array in drawn.items():
                    params[f"{k}/{j}/{key}"] = array
        return params

    def part(self, params: Params, step: int, option: int = 0) -> Params:
        """Return the parameters of one option of one step, as that transformation knows them."""
        prefix = f"{step}/{option}/"
        return {key.removeprefix(prefix): array for key, array in params.items() if key.startswith(prefix)}

    def outcome(self, params: Params, i: int) -> str:
        """Return what happened to case ``i`` but for flips: ``local shuffling + out-painting (68 % hidden)``."""
        said = [
            transform.outcome(self.part(params, k, j), i)
            for k, j, transform in self._options()
            if params[f"{k}/choice"][i] == j and not transform.spatial
        ]
        return " + ".join(said) or "identity"

    def masked_fraction(self, params: Params) -> NDArray[np.float64]:
        """Return the hidden share of each case, (B,): that of its painting."""
        hidden = super().masked_fraction(params)
        for k, j, transform in self._options():
            cases = np.flatnonzero(params[f"{k}/choice"] == j)
            if len(cases):
                own = select(self.part(params, k, j), cases)
                share = transform.masked_fraction(own)
                hidden[cases] = np.maximum(hidden[cases], share if len(share) else 0.0)
        return hidden

    def _options(self) -> list[tuple[int, int, Transform]]:
        return [(k, j, option) for k, step in enumerate(self.steps) for j, option in enumerate(step.options)]

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        return self._pair(x, x, params)[0]

    def _pair(self, x: torch.Tensor, target: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
        for k, j, transform in self._options():
            cases = np.flatnonzero(params[f"{k}/choice"] == j)
            part = self.part(params, k, j)
            if len(cases) == x.shape[0]:
                x, target = transform._pair(x, target, part)
            elif len(cases):
                x, target = _some(transform, x, target, part, cases)
        return x, target


def _chosen(shares: tuple[float, ...], u: float) -> int:
    for j, share in enumerate(shares[:-1]):
        if u < share:
            return j
        u -= share
    return len(shares) - 1


def _some(
    transform: Transform, x: torch.Tensor, target: torch.Tensor, params: Params, cases: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Apply ``transform`` to some ``cases`` only, the others kept."""
    import torch

    index = torch.from_numpy(cases).to(x.device)
    chosen = x[index]
    wanted = chosen if target is x else target[index]
    moved, aimed = transform._pair(chosen, wanted, select(params, cases))
    whole = x.index_copy(0, index, moved)
    if aimed is wanted:
        return whole, target
    return whole, (whole if aimed is moved else target.index_copy(0, index, aimed))
