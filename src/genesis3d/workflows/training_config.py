"""What the configurations of all trainings share: their length, where they run, and what they keep."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from genesis3d.config import Config
from genesis3d.training.settings import KeepSettings, RecoverySettings

__all__ = ["TrainingConfig"]


class TrainingConfig(Config):
    """Settings of a run, whatever is learnt in it; the length is given either in steps or in minutes."""

    schema_version: Literal[1] = Field(1, description="version of this configuration")
    recovery: RecoverySettings = Field(default=RecoverySettings(), description="what happens when a training has died")
    batch: int = Field(4, ge=1, le=1024, description="sub-volumes per step")
    accumulate: int = Field(
        1, ge=1, le=1024, description="micro-batches that a step is computed in, one after another: less memory"
    )
    steps: int | None = Field(None, ge=1, description="length of the training in steps (or minutes)")
    minutes: float | None = Field(
        None, gt=0, le=60 * 24 * 60, description="length in minutes, made steps once, after 20 measured ones"
    )
    device: str = Field("auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, cuda:N or mps")
    precision: Literal["auto", "32", "bf16"] = Field(
        "auto", description="number format: auto takes bfloat16 where a self-test finds it right and faster"
    )
    threads: int | None = Field(
        None, ge=1, le=1024, description="processor threads of each process; None: all cores but one, or a fair share"
    )
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto",
        description="how several processes hold the network: ddp (auto) each the whole of it, fsdp each a part",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="seed of everything random in the run")
    keep: KeepSettings = Field(default=KeepSettings(), description="what is written while training")
    licence: str = Field("", max_length=2000, description="terms of the weights and attribution of their data")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError(f"expected either steps or minutes, got {self.steps} and {self.minutes}")
        return self

    @model_validator(mode="after")
    def _enough_to_share(self) -> Self:
        if self.accumulate > self.batch:
            raise ValueError(
                f"accumulate: expected at most the batch ({self.batch}) micro-batches, got {self.accumulate}"
            )
        return self
