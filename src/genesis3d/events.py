"""What long work says about itself: a workflow is an iterator of these frozen events.

The CLI prints them, tests ``list()`` them, the docks fold them into a state, and a run directory keeps them as
``events.jsonl``, one JSON object a line.  :data:`Control` is the question the work asks between two steps.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

__all__ = [
    "Control",
    "Event",
    "Failed",
    "Finished",
    "Order",
    "Sampled",
    "Saved",
    "Started",
    "Stepped",
    "Validated",
    "Warned",
    "keep_running",
    "read_event",
]

Order = Literal["run", "pause", "stop"]
Control = Callable[[], Order]


def keep_running() -> Order:
    """Return ``"run"``: the control of work that nobody will interrupt."""
    return "run"


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="strings", allow_inf_nan=True)

    def to_json(self) -> str:
        """Return the event as one line of JSON."""
        return self.model_dump_json()


class Started(_Event):
    """Work begins: ``what`` (pretrain, restore, anomaly, ...), ``total`` units of it (None: not known yet)."""

    kind: Literal["started"] = "started"
    what: str
    total: int | None = None
    unit: str = "step"
    device: str = "cpu"
    precision: str = "32"
    detail: dict[str, Any] = Field(default_factory=dict)


class Stepped(_Event):
    """``step`` of ``total`` is done; ``metrics`` by name (loss, learning rate, ...), rate in units per second."""

    kind: Literal["stepped"] = "stepped"
    step: int
    total: int | None = None
    metrics: dict[str, float] = Field(default_factory=dict)
    rate: float | None = None
    seconds_left: float | None = None
    memory_bytes: int | None = None


class Validated(_Event):
    """Figures on held-out sub-volumes after ``step``; ``best`` when they are the best so far."""

    kind: Literal["validated"] = "validated"
    step: int
    metrics: dict[str, float]
    best: bool = False


class Sampled(_Event):
    """Samples for people to look at were written to ``path``."""

    kind: Literal["sampled"] = "sampled"
    step: int
    path: str


class Saved(_Event):
    """A file is complete on disk."""

    kind: Literal["saved"] = "saved"
    path: str
    step: int | None = None
    what: str = "file"


class Warned(_Event):
    """Something a user should know that does not stop the work: one sentence."""

    kind: Literal["warned"] = "warned"
    message: str


class Failed(_Event):
    """The work ended by an error: one sentence in ``message``; ``expected`` when it is the user's to mend."""

    kind: Literal["failed"] = "failed"
    message: str
    expected: bool = True
    trace: str = ""


class Finished(_Event):
    """The work ended well, or was ``cancelled`` on request with everything saved."""

    kind: Literal["finished"] = "finished"
    cancelled: bool = False
    result: dict[str, Any] = Field(default_factory=dict)


Event = Annotated[
    Started | Stepped | Validated | Sampled | Saved | Warned | Failed | Finished, Field(discriminator="kind")
]
_ADAPTER: TypeAdapter[Event] = TypeAdapter(Event)


def read_event(line: str) -> Event | None:
    """Return the event of one line of JSON, or None for a torn or foreign line."""
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None
