"""What differences between methods mean: summaries, t-tests, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import ConfigError
from genesis3d.rng import Address

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = [
    "Interval",
    "Summary",
    "TTest",
    "bootstrap",
    "paired_bootstrap",
    "percentiles",
    "resampled_means",
    "summary",
    "t_test",
    "wilcoxon",
]

RESAMPLES = 10_000
CONFIDENCE = 0.95
NAN = float("nan")


@dataclass(frozen=True)
class Summary:
    """Of ``n`` values their mean, standard deviation (n - 1), median, and the t interval of the mean.

    ``left_out`` values were nan (such as the Dice of two empty masks) and count nowhere.
    """

    n: int
    mean: float
    sd: float
    median: float
    low: float
    high: float
    left_out: int

    def to_dict(self) -> dict[str, float | int]:
        """Return the figures by name."""
        return asdict(self)


@dataclass(frozen=True)
class TTest:
    """A two-sample t-test: difference of the means (first minus second), t, degrees of freedom, two-sided p."""

    difference: float
    t: float
    freedom: float
    p: float


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval ``low`` to ``high`` of the given confidence."""

    estimate: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the whole interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def summary(values: Sequence[float] | Values, confidence: float = CONFIDENCE) -> Summary:
    """Summarise ``values``; the interval is Student's t of the mean, nan with fewer than two values."""
    from scipy.stats import t

    given = np.asarray(values, dtype=np.float64)
    known = given[~np.isnan(given)]
    n = len(known)
    if n == 0:
        return Summary(0, NAN, NAN, NAN, NAN, NAN, len(given))
    mean, sd = float(known.mean()), float(known.std(ddof=1)) if n > 1 else NAN
    reach = float(t.ppf(0.5 + confidence / 2, n - 1)) * sd / n**0.5 if n > 1 else NAN
    return Summary(n, mean, sd, float(np.median(known)), mean - reach, mean + reach, len(given) - n)


def t_test(first: Sequence[float], second: Sequence[float], *, welch: bool = False) -> TTest:
    """Return the independent two-sample t-test of the means, the test of Models Genesis' tables.

    Parameters
    ----------
    first, second : values of independent runs; those that are nan are left out
    welch : without the assumption of equal variances

    With fewer than two values on a side, or none that differs from another on its side, t and p are nan.
    """
    from scipy.stats import ttest_ind

    a, b = (np.asarray(values, dtype=np.float64) for values in (first, second))
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    difference = float(a.mean() - b.mean()) if len(a) and len(b) else NAN
    if min(len(a), len(b)) < 2 or (np.ptp(a) == 0 and np.ptp(b) == 0):
        return TTest(difference, NAN, NAN, NAN)
    result = ttest_ind(a, b, equal_var=not welch)
    return TTest(difference, float(result.statistic), float(result.df), float(result.pvalue))


def wilcoxon(differences: Sequence[float] | Values) -> float:
    """Return the exact two-sided p of Wilcoxon's signed-rank test of paired ``differences`` (N,); nan without any.

    The share of all 2^N ways to sign the ranks whose sum lies as far from its middle, or farther; those that are 0 or
    nan are left out, ties share their ranks (Wilcoxon 1945; Pratt's zeros are not used).  With N cases no p is below
    2 / 2^N: .125 of 4, .063 of 5.
    """
    from scipy.stats import rankdata

    given = np.asarray(differences, dtype=np.float64)
    known = given[~np.isnan(given) & (given != 0)]
    if not len(known):
        return NAN
    ranks = np.rint(2 * rankdata(np.abs(known))).astype(np.int64)  # doubled: shared ranks end in a half
    ways = np.ones(1)
    for rank in ranks:
        ways = np.pad(ways, (0, rank)) + np.pad(ways, (rank, 0))
        ways /= 2
    total = int(ranks.sum())
    far = abs(2 * int(ranks[known > 0].sum()) - total)
    return float(min(1.0, ways[np.abs(2 * np.arange(total + 1) - total) >= far].sum()))


def bootstrap(
    figure: Callable[[NDArray[np.intp]], float],
    cases: int,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Return ``figure`` of all cases with its percentile interval over cases drawn with replacement (Efron 1979).

    ``figure`` gets the indices (n,) of the cases to look at; draws for which it is nan are left out.
    """
    generator = Address(seed, path="bootstrap").generator()
    draws = np.array([figure(generator.integers(0, cases, cases)) for _ in range(resamples)])
    return percentiles(figure(np.arange(cases)), draws, confidence)


def paired_bootstrap(
    differences: Sequence[float] | Sequence[Sequence[float]] | Values,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Interval:
    """Return the mean of paired differences with its percentile interval.

    Parameters
    ----------
    differences : (N,) one for each case; or (S, N) one for each seed and case, nan where a pair is missing. Then seeds
        and cases are both drawn with replacement, each draw of a seed with all drawn cases and the other way round, so
        that the interval speaks of other seeds and other cases (Owen: The pigeonhole bootstrap, 2007).

    Raises
    ------
    ConfigError
        For another shape, or nothing but nan.
    """
    given = np.asarray(differences, dtype=np.float64)
    table = given[None] if given.ndim == 1 else given
    if table.ndim != 2 or table.size == 0 or np.isnan(table).all():
        raise ConfigError(f"differences: expected numbers (cases,) or (seeds, cases), got shape {given.shape}")
    draws = resampled_means([table], resamples=resamples, seed=seed)[0]
    return percentiles(float(np.nanmean(table)), draws, confidence)


def resampled_means(tables: Sequence[Values], *, resamples: int = RESAMPLES, seed: int = 0) -> Values:
    """Return the means (T, resamples) of ``tables`` (S, N) under the draws of :func:`paired_bootstrap`, nan left out.

    All tables, of one shape, see the same draws of seeds and cases: differences of rows are paired.
    """
    rows, columns = tables[0].shape
    generator = Address(seed, path="paired-bootstrap").generator()
    weights = _multiplicities(generator, rows, resamples), _multiplicities(generator, columns, resamples)
    found = np.full((len(tables), resamples), NAN)
    for place, table in enumerate(tables):
        known = ~np.isnan(table)
        sums = np.einsum("br,rc,bc->b", weights[0], np.where(known, table, 0.0), weights[1], optimize=True)
        counts = np.einsum("br,rc,bc->b", weights[0], known.astype(np.float64), weights[1], optimize=True)
        np.divide(sums, counts, out=found[place], where=counts > 0)
    return found


def _multiplicities(generator: np.random.Generator, count: int, resamples: int) -> Values:
    """Return how often each of ``count`` things is drawn in each of ``resamples`` draws with replacement."""
    return generator.multinomial(count, np.full(count, 1.0 / count), resamples).astype(np.float64)


def percentiles(estimate: float, draws: Values, confidence: float = CONFIDENCE) -> Interval:
    """Return ``estimate`` with the percentile interval of ``draws``; those that are nan are left out."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Interval(estimate, NAN, NAN)
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(estimate), float(low), float(high))
