"""The twelve outcomes that a sub-volume can meet (Models Genesis, Fig. 1 and D.14), each as a chain that is certain."""

from __future__ import annotations

from genesis3d.errors import ConfigError
from genesis3d.transforms.chain import Chain, Choice, Step
from genesis3d.transforms.nonlinear import NonLinear
from genesis3d.transforms.painting import Inpainting, Outpainting
from genesis3d.transforms.shuffling import LocalShuffling

__all__ = ["chosen_outcomes", "outcome_label", "twelve_outcomes"]

LABELS = {
    "identity": "identity",
    "shuffling": "local shuffling",
    "nonlinear": "non-linear",
    "inpainting": "in-painting",
    "outpainting": "out-painting",
}

# None of the four, each alone, then two and three of them together, as the rows of Fig. D.14.
NAMES = (
    "identity", "nonlinear", "shuffling", "outpainting", "inpainting", "shuffling+nonlinear",
    "nonlinear+outpainting", "nonlinear+inpainting", "shuffling+outpainting", "shuffling+inpainting",
    "shuffling+nonlinear+outpainting", "shuffling+nonlinear+inpainting",
)  # fmt: skip


def twelve_outcomes() -> dict[str, Chain]:
    """Return {none, non-linear} x {none, local shuffling} x {none, in-, out-painting}, by name.

    The parameters are the published code's and the order of application is its own: shuffling, non-linear, painting;
    no flips.  Every chain holds all steps, those it leaves out switched off: at one address the outcomes share their
    windows, curve and boxes, so that two of them differ by what they add and by nothing else.
    """
    return {name: _outcome(set(name.split("+"))) for name in NAMES}


def chosen_outcomes(names: tuple[str, ...]) -> dict[str, Chain]:
    """Return the outcomes called ``names``, their parts in any order; all twelve for none.

    Raises
    ------
    ConfigError
        For a name that is none of the twelve; the sentence lists them.
    """
    known = twelve_outcomes()
    found = {}
    for name in names:
        match = next((each for each in known if set(each.split("+")) == set(name.split("+"))), None)
        if match is None:
            raise ConfigError(f"outcome: expected one of {', '.join(known)}, got {name!r}")
        found[match] = known[match]
    return found or known


def outcome_label(name: str) -> str:
    """Return an outcome's name for people: ``local shuffling + out-painting``; any other name as it is."""
    return " + ".join(LABELS.get(part, part) for part in name.split("+"))


def _outcome(parts: set[str]) -> Chain:
    painted = parts & {"inpainting", "outpainting"}
    return Chain(
        steps=(
            Step(transform=LocalShuffling(windows=10_000), enabled="shuffling" in parts),
            Step(transform=NonLinear(), enabled="nonlinear" in parts),
            Choice(
                options=(Inpainting(), Outpainting()),
                weights=(0.0, 1.0) if "outpainting" in parts else (1.0, 0.0),
                enabled=bool(painted),
            ),
        )
    )
