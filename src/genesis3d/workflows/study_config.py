"""A study of fine-tuning on the user's own data: what is compared, on how many labels, how often, tested on what."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from genesis3d.config import Config
from genesis3d.data.targets import TargetData
from genesis3d.networks.transfer import TransferredParts

__all__ = ["ArmSettings", "SearchSettings", "StudyConfig", "TestSettings"]


class ArmSettings(Config):
    """One way of training that is compared with the others."""

    model: str | None = Field(None, description="model whose weights it begins with: file, run or name; empty: none")
    parts: TransferredParts = Field("encoder_decoder", description="which of the model's weights are taken")
    initialisation: str | None = Field(
        None,
        description="random weights of what no model gives: msra, xavier, uniform or default; empty: as finetune has",
    )
    rates: tuple[float, ...] = Field(
        (), description="peak learning rates to choose from on validation cases; empty: those of the study"
    )
    steps: int | None = Field(None, ge=1, description="length of its trainings in steps; empty: that of the study")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="settings of finetune for this arm alone, such as optimiser.warmup: 100"
    )


class TestSettings(Config):
    """Which cases test what was trained on the others: never seen in training, never in the choice of a rate."""

    __test__ = False  # no test of pytest's

    leave_one_out: bool = Field(False, description="each patient in turn")
    folds: int | None = Field(None, ge=2, le=100, description="each of so many groups of patients in turn")
    names: tuple[str, ...] = Field((), description="these cases")
    file: str | None = Field(
        None, description='those under "validate" of a JSON file; its "train" cases are all that may be trained on'
    )
    hold_out: float = Field(0.25, gt=0, le=0.9, description="without any of these: a share of the patients, drawn once")
    seed: int = Field(0, ge=0, description="seed of that draw, and of the folds")

    @model_validator(mode="after")
    def _one_way(self) -> TestSettings:
        given = [name for name in ("leave_one_out", "folds", "names", "file") if getattr(self, name)]
        if len(given) > 1:
            raise ValueError(f"expected one of leave_one_out, folds, names and file, got {' and '.join(given)}")
        return self


class SearchSettings(Config):
    """How an arm with several rates gets its own: the best mean Dice on validation cases."""

    counts: tuple[int, ...] = Field(
        (), description="numbers of labels at which rates are tried; each count takes the nearest; empty: at each"
    )
    cases: int = Field(
        20,
        ge=1,
        description="most validation cases: drawn from those that neither test nor are trained on in the trial",
    )
    seeds: tuple[int, ...] = Field((0,), min_length=1, description="seeds of the trials")
    steps: int | None = Field(None, ge=1, description="length of a trial in steps; empty: that of the arm")


class StudyConfig(Config):
    """Arms x numbers of labels x corruptions x folds x seeds: a training and a test each."""

    title: str = Field("", max_length=200, description="heading of the report")
    target: TargetData = Field(description="scans and labels; its split is not looked at")
    arms: dict[str, ArmSettings] = Field(min_length=1, description="what is compared, by name")
    reference: str | None = Field(None, description="arm that the others are compared with; empty: the first")
    counts: tuple[int, ...] = Field((), description="numbers of labelled cases to train on")
    fractions: tuple[float, ...] = Field((), description="or shares of those that may be trained on")
    seeds: tuple[int, ...] = Field(
        (0, 1, 2, 3, 4), min_length=1, description="one run each; decides which labels, the new weights, the draws"
    )
    test: TestSettings = Field(default=TestSettings(), description="which cases test")
    steps: int = Field(400, ge=1, description="length of a training in steps")
    measure_every: int | None = Field(
        None, ge=1, description="test also after every so many steps: curves of convergence; empty: at the end alone"
    )
    rates: tuple[float, ...] = Field(
        (), description="peak learning rates each arm chooses its own from; empty: the one of finetune"
    )
    search: SearchSettings = Field(default=SearchSettings(), description="how a rate is chosen")
    corruptions: tuple[float, ...] = Field(
        (0.0,), min_length=1, description="training labels dilated by so many mm, eroded where negative; never tests"
    )
    preset: str = Field("default", description="preset of finetune that all arms start from")
    settings: dict[str, Any] = Field(
        default_factory=dict, description="settings of finetune for all arms, such as batch: 2 or sampling.patch: [..]"
    )
    tested: Literal["last", "best"] = Field(
        "last", description="last: the weights at the end; best: those of the lowest held-out loss (needs validation)"
    )
    validation: int = Field(
        0, ge=0, description="further labelled cases held out within each training, for tested: best; 0: none"
    )
    segment: dict[str, Any] = Field(
        default_factory=dict, description="settings of segment for tests, such as quality: balanced"
    )
    tolerance: float = Field(
        0.01, ge=0, le=0.5, description="Dice below the reference's final one that counts as there, for steps saved"
    )
    distances: bool = Field(False, description="tests also measure HD95 and surface distance, which takes longer")
    keep_runs: bool = Field(False, description="keep the run directories, with their models, of finished trainings")

    @field_validator("corruptions", "counts", "fractions", "seeds")
    @classmethod
    def _different(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) < len(value):
            raise ValueError(f"expected different values, got {value}")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> StudyConfig:
        if bool(self.counts) == bool(self.fractions):
            raise ValueError("expected either counts or fractions of labels")
        if any(count < 1 for count in self.counts) or any(not 0 < share <= 1 for share in self.fractions):
            raise ValueError("expected counts of at least 1, or fractions above 0 and up to 1")
        if self.reference is not None and self.reference not in self.arms:
            raise ValueError(f"reference: expected one of {', '.join(self.arms)}, got {self.reference!r}")
        bad = [name for name in self.arms if not name or not name.replace("-", "").replace("_", "").isalnum()]
        if bad:
            raise ValueError(f"arms: expected names of letters, digits, - and _, got {bad[0]!r}")
        if self.tested == "best" and not self.validation:
            raise ValueError("tested: best needs validation cases, got validation: 0")
        return self

    @property
    def reference_arm(self) -> str:
        """The arm that the others are compared with."""
        return self.reference or next(iter(self.arms))
