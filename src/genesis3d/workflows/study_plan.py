"""The runs of a study: which labels each trains on, which cases test it, and how its rate is chosen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from genesis3d.data.splits import SplitSettings, split
from genesis3d.errors import ConfigError
from genesis3d.rng import Address

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases
    from genesis3d.workflows.study_config import SearchSettings, StudyConfig, TestSettings

__all__ = ["Fold", "Plan", "Run", "drawn", "make_plan", "test_folds"]


@dataclass(frozen=True)
class Fold:
    """Indices of the cases that may be trained on (``pool``) and of those that ``test``."""

    pool: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """One training with its test; a ``trial`` of a rate is tested on validation cases.

    Attributes
    ----------
    count : labels it trains on
    corruption : mm by which these are dilated (negative: eroded)
    fold, seed : which cases test; which labels, weights and draws
    training, held_out, test : indices of the cases it trains on, measures itself on, is tested on
    steps : its length
    rate : peak learning rate; None: the one its arm has found by its trials, or finetune's own
    trial : whether it is only there to choose a rate
    """

    arm: str
    count: int
    corruption: float
    fold: int
    seed: int
    training: tuple[int, ...]
    held_out: tuple[int, ...]
    test: tuple[int, ...]
    steps: int
    rate: float | None = None
    trial: bool = False

    @property
    def key(self) -> str:
        """Its place among the results: ``runs/ARM/n4_f0_s1``."""
        parts = [f"n{self.count}", f"f{self.fold}", f"s{self.seed}"]
        if self.corruption:
            parts.append(f"c{self.corruption:+g}")
        if self.trial:
            parts.append(f"r{self.rate:g}")
        return f"{'trials' if self.trial else 'runs'}/{self.arm}/{'_'.join(parts)}"


@dataclass(frozen=True)
class Plan:
    """All runs of a study, those of one seed together; ``trials`` are the runs that choose the rate of each."""

    runs: tuple[Run, ...]
    trials: dict[Run, tuple[Run, ...]]
    folds: tuple[Fold, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> int:
        """Number of trainings."""
        return len(self.runs) + len({trial.key for found in self.trials.values() for trial in found})


def make_plan(config: StudyConfig, cases: LabelledCases) -> Plan:
    """Return the runs of a study on ``cases``; the same every time.

    Raises
    ------
    ConfigError
        When there are too few cases for the tests, the counts or the choice of rates.
    """
    folds = test_folds(cases, config.test)
    smallest = min(len(fold.pool) for fold in folds)
    counts = _counts(config, smallest)
    runs: list[Run] = []
    trials: dict[Run, tuple[Run, ...]] = {}
    for run in _runs(config, folds, counts):
        runs.append(run)
        found = tuple(_trials(config, run, folds[run.fold], counts))
        if found:
            trials[run] = found
    return Plan(tuple(runs), trials, tuple(folds), counts)


def test_folds(cases: LabelledCases, settings: TestSettings) -> list[Fold]:
    """Return the sides of each fold, by patient; raises ConfigError for a single patient."""
    patients = len(set(cases.patients))
    if patients < 2:
        raise ConfigError(f"test: expected labelled cases of at least two patients, got {len(cases)} of {patients}")
    number = patients if settings.leave_one_out else settings.folds
    base = {"hold_out": settings.hold_out, "names": settings.names, "file": settings.file, "seed": settings.seed}
    parts = [SplitSettings.parse(base)] if number is None else [
        SplitSettings(folds=number, fold=fold, seed=settings.seed) for fold in range(number)
    ]  # fmt: skip
    found = [split(cases, part) for part in parts]
    return [Fold(tuple(one.training), tuple(one.held_out)) for one in found]


def drawn(pool: Sequence[int], count: int, seed: int) -> tuple[int, ...]:
    """Return ``count`` of ``pool``; seeds draw disjoint ones as long as there are enough, then anew."""
    if count > len(pool):
        raise ConfigError(f"counts: expected at most the {len(pool)} cases that may be trained on, got {count}")
    windows = len(pool) // count
    order = (Address(seed // windows) / "study-labels" / str(count)).generator().permutation(len(pool))
    first = (seed % windows) * count
    return tuple(sorted(pool[i] for i in order[first : first + count]))


def _counts(config: StudyConfig, smallest: int) -> tuple[int, ...]:
    counts = config.counts or tuple(max(1, round(share * smallest)) for share in config.fractions)
    most = max(counts) + config.validation
    if most > smallest:
        raise ConfigError(
            f"counts: expected at most the {smallest - config.validation} cases that may be trained on, "
            f"got {max(counts)}" + (f" and {config.validation} for validation" if config.validation else "")
        )
    return tuple(dict.fromkeys(sorted(counts)))


def _runs(config: StudyConfig, folds: Sequence[Fold], counts: Sequence[int]) -> Iterator[Run]:
    for seed in config.seeds:
        for count in counts:
            for corruption in config.corruptions:
                for number, fold in enumerate(folds):
                    held_out, pool = _held_out(fold.pool, config.validation)
                    training = drawn(pool, count, seed)
                    for name, arm in config.arms.items():
                        rates = arm.rates or config.rates
                        yield Run(
                            name, count, corruption, number, seed, training, held_out, fold.test,
                            arm.steps or config.steps, rates[0] if len(rates) == 1 else None,
                        )  # fmt: skip


def _held_out(pool: Sequence[int], count: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the cases that trainings measure themselves on, the same for all, and the rest."""
    if not count:
        return (), tuple(pool)
    order = (Address(0) / "study-validation").generator().permutation(len(pool))
    held = {pool[i] for i in order[:count]}
    return tuple(sorted(held)), tuple(index for index in pool if index not in held)


def _trials(config: StudyConfig, run: Run, fold: Fold, counts: Sequence[int]) -> Iterator[Run]:
    """Yield the trials whose outcome is the rate of ``run``: on clean labels, without its test cases."""
    arm = config.arms[run.arm]
    rates = arm.rates or config.rates
    if len(rates) < 2:
        return
    count = _trial_count(config.search, run.count, len(fold.pool), counts)
    for seed in config.search.seeds:
        training = drawn(fold.pool, count, seed)
        rest = [index for index in fold.pool if index not in training]
        order = (Address(seed) / "study-search").generator().permutation(len(rest))
        test = tuple(sorted(rest[i] for i in order[: config.search.cases]))
        for rate in rates:
            yield Run(
                run.arm, count, 0.0, run.fold, seed, training, (), test,
                config.search.steps or arm.steps or config.steps, rate, True,
            )  # fmt: skip


def _trial_count(search: SearchSettings, count: int, pool: int, counts: Sequence[int]) -> int:
    """Return the number of labels of the trials for ``count``: the nearest that leaves a case to validate on."""
    possible = [one for one in (search.counts or counts) if one < pool]
    if not possible:
        raise ConfigError(
            f"search.counts: expected a number of labels below the {pool} cases that may be trained on, to leave some "
            "for the choice of the rate"
        )
    return min(possible, key=lambda one: (abs(one - count), one))
