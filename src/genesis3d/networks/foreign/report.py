"""What of a foreign file found its place in a network of ours."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MatchReport"]

SHOWN = 5


@dataclass(frozen=True)
class MatchReport:
    """How the weights of a file fill the part of a network that their family provides.

    Attributes
    ----------
    family : whose layout it is, for people
    matched, expected : entries that fit by name and shape, and entries of that part of the network
    share : matched share of the part's values, 0 to 1
    missing : entries of the network that the file lacks
    unused : entries of the file without a place
    mismatched : entries of both, of differing shapes, with the shapes
    notes : sentences to be said
    """

    family: str
    matched: int
    expected: int
    share: float
    missing: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """Return the report as lines for people."""
        lines = [f"{self.family}: {self.matched} of {self.expected} entries match, {self.share:.1%} of the values"]
        for what in ("missing", "mismatched", "unused"):
            names: tuple[str, ...] = getattr(self, what)
            if names:
                more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
                lines.append(f"{what}: {', '.join(names[:SHOWN])}{more}")
        return "\n".join([*lines, *self.notes])
