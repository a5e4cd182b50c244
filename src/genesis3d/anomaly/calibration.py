"""What a score means: z and p against healthy scans, thresholds by the share of healthy lung they flag.

A recipe's score depends, in healthy lung too, on what it looks at: vessels and their edges, the rim of the lung and
thick slices score higher.  A calibration holds location and spread of the score on healthy scans for each kind of
place (:mod:`~genesis3d.anomaly.calibration_conditions`), and how much of each healthy scan a threshold flags.  It is
a few tens of kilobytes of JSON in the model's card, by recipe.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from genesis3d.anomaly.calibration_conditions import Bins, conditions, thickness
from genesis3d.anomaly.calibration_tail import Tail, pooled
from genesis3d.config import Config
from genesis3d.errors import ConfigError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from genesis3d.anomaly.base import Recipe, Scene, Scored
    from genesis3d.networks.card import ModelCard
    from genesis3d.volume import Volume

__all__ = ["Calibration", "HealthyScan", "Variant", "calibrated_card", "calibration_of", "fit_calibration"]

FEW = 5  # healthy scans below which every figure of a calibration is called a guess
SLACK = 0.1  # share by which a thickness may leave the range that was seen


class Variant(Config):
    """A healthy scan at one slice thickness."""

    thickness_mm: float = Field(gt=0, description="slice thickness in mm")
    score: Tail = Field(description="share of its lung at or above a score")


class HealthyScan(Config):
    """A healthy scan of a calibration, without any name."""

    lungs_ml: float = Field(ge=0, description="size of its lungs in mL")
    dense_percent: float | None = Field(None, ge=0, le=100, description="share of its lung above -600 HU")
    variants: tuple[Variant, ...] = Field(min_length=1, description="as it is and averaged to thicker slices")

    def nearest(self, thickness_mm: float) -> Tail:
        """Return its table at the thickness that comes closest."""
        return min(self.variants, key=lambda variant: abs(variant.thickness_mm - thickness_mm)).score


class Calibration(Config):
    """A recipe's score on healthy scans; made by :func:`fit_calibration`, kept in a model's card."""

    schema_version: Literal[1] = Field(1, description="version of this table")
    recipe: str = Field(min_length=1, description="name of the recipe that was calibrated")
    settings: dict[str, Any] = Field(default_factory=dict, description="the recipe's settings")
    unit: str | None = Field(None, description="unit of the scans' values: HU, or none")
    bins: Bins = Field(description="borders of the bins")
    location: tuple[float, ...] = Field(description="median healthy score of each bin, thickness running fastest")
    spread: tuple[float, ...] = Field(description="its spread (a standard deviation, where normal), above 0")
    source: str = Field(description="a digit a bin: 0 the bin itself, 1 to 4 the parent that its figures come from")
    score: Tail = Field(description="share of healthy lung at or above a score, all scans together")
    z_score: Tail = Field(description="share of healthy lung at or above a z, all scans together")
    healthy_scans: tuple[HealthyScan, ...] = Field(min_length=1, description="the scans, each counting the same")

    @model_validator(mode="after")
    def _check(self) -> Self:
        count = int(np.prod(self.bins.shape))
        if not len(self.location) == len(self.spread) == len(self.source) == count:
            raise ValueError(f"expected {count} locations, spreads and sources for its bins")
        if min(self.spread) <= 0:
            raise ValueError("expected spreads above 0")
        return self

    @property
    def scans(self) -> int:
        """Number of healthy scans (patients) behind it."""
        return len(self.healthy_scans)

    @property
    def thickness_mm(self) -> tuple[float, float]:
        """Smallest and largest slice thickness it saw."""
        seen = [variant.thickness_mm for scan in self.healthy_scans for variant in scan.variants]
        return min(seen), max(seen)

    @property
    def smallest_p(self) -> float:
        """The smallest p a scan can get: 1 / (n + 1) with n healthy scans."""
        return 1 / (self.scans + 1)

    def z(self, scene: Scene, scored: Scored) -> Volume:
        """Return the score in spreads above what is usual in healthy lung at such a place.

        Parameters
        ----------
        scene : scan and lungs
        scored : the score as it was calibrated: what the workflow shows, smoothed and with the rim cut

        Returns
        -------
        (1, D, H, W) float32, 0 outside the lungs; rising with the score at any one place.
        """
        found = conditions(scene, scored)
        index = self.bins.index(found.level, found.gradient, found.depth, found.thickness)
        inside = scene.lungs.data[0][found.box] > 0
        where = found.fine(index, scene.scan.geometry.shape)[inside]
        z = np.zeros(scene.scan.geometry.shape, np.float32)
        location, spread = (np.asarray(table, np.float32)[where] for table in (self.location, self.spread))
        z[found.box][inside] = (scored.score.data[0][found.box][inside] - location) / spread
        return scored.score.with_data(z, unit=None, name=f"{scene.scan.name} z")

    def p(self, z: Volume) -> Volume:
        """Return the one-sided p of each voxel of ``z``: the share of healthy lung with a z at least as high.

        Measured, not taken from a normal distribution; never below the smallest share that was seen.  It is 1 at a z
        of exactly 0, the value outside the lungs.
        """
        p = np.ones(z.data.shape, np.float32)
        told = z.data != 0
        p[told] = np.maximum(self.z_score.share_at(z.data[told]), self.z_score.smallest)
        return z.with_data(p, name=z.name.removesuffix(" z") + " p")

    def flag_rate(self, threshold: float, scene: Scene | None = None) -> float:
        """Return the share (0 to 1) of healthy lung whose score is at least ``threshold``, all scans together.

        At all slice thicknesses, or at those that come closest to the scan of ``scene``.
        """
        return self.tail(scene).share(threshold)

    def threshold(self, share: float, scene: Scene | None = None) -> float:
        """Return the threshold that flags ``share`` (0 to 1) of healthy lung: :meth:`flag_rate` read backwards."""
        return self.tail(scene).threshold(share)

    def tail(self, scene: Scene | None = None) -> Tail:
        """Return the table behind :meth:`flag_rate`, to be kept where a threshold moves."""
        if scene is None:
            return self.score
        return pooled([scan.nearest(thickness(scene.scan)) for scan in self.healthy_scans])

    def threshold_for(self, share: float, of_scans: float = 0.95) -> float:
        """Return the threshold at which at most ``share`` of the lung is flagged in ``of_scans`` of healthy scans.

        The scans are those seen and one more, as in conformal prediction: of n scans the one of rank
        ceil((n + 1) ``of_scans``) decides, and with too few of them the highest, which promises n / (n + 1) only.
        Each scan counts at the slice thickness where it does worst.

        Vovk, Gammerman, Shafer: Algorithmic learning in a random world, Springer 2005, chapter 2.
        """
        highest = sorted(max(v.score.threshold(share) for v in scan.variants) for scan in self.healthy_scans)
        rank = int(np.ceil((self.scans + 1) * of_scans - 1e-9))
        return highest[min(max(rank, 1), self.scans) - 1]

    def shares(self, threshold: float, thickness_mm: float | None = None) -> list[float]:
        """Return the share (0 to 1) of its lung that each healthy scan has flagged at ``threshold``.

        At the slice thickness closest to ``thickness_mm``, or (None) at the one where it is largest.
        """
        if thickness_mm is not None:
            return [scan.nearest(thickness_mm).share(threshold) for scan in self.healthy_scans]
        return [max(v.score.share(threshold) for v in scan.variants) for scan in self.healthy_scans]

    def scan_p(self, scene: Scene, scored: Scored, threshold: float) -> float:
        """Return the scan's conformal p: how many healthy scans, itself counted, have as large a share flagged.

        With n healthy scans it is at least 1 / (n + 1) (:attr:`smallest_p`), however ill the lung.  Healthy scans count
        at the slice thickness closest to the scan's.
        """
        inside = scene.lungs.data[0] > 0
        score = scored.score.data[0][inside]
        own = int(np.count_nonzero((score >= threshold) & (score > 0))) / max(score.size, 1)
        healthy = self.shares(threshold, thickness(scene.scan))
        return (1 + len([share for share in healthy if share >= own])) / (self.scans + 1)

    def doubts(self, scene: Scene, recipe: Recipe | None = None) -> list[str]:
        """Return sentences on why this calibration may not hold for a scan; empty when nothing speaks against it.

        ``recipe``, if given, is the one in use: other settings than were calibrated are said.
        """
        low, high = self.thickness_mm
        own, said = thickness(scene.scan), []
        if not low * (1 - SLACK) <= own <= high * (1 + SLACK):
            seen = f"{low:g} mm" if low == high else f"{low:g} to {high:g} mm"
            said.append(
                f"slices of {own:.3g} mm lie outside the {seen} that the recipe {self.recipe} was calibrated on: "
                "z, p and healthy flag rates are guesses for this scan"
            )
        if recipe is not None and self.settings and recipe.to_dict() != self.settings:
            used = recipe.to_dict()
            other = ", ".join(f"{key} {value}" for key, value in self.settings.items() if used.get(key) != value)
            said.append(f"the recipe {self.recipe} was calibrated with other settings: {other}")
        if self.unit != scene.scan.unit:
            units = self.unit or "values without a unit", scene.scan.unit or "values without a unit"
            said.append(f"the recipe {self.recipe} was calibrated on {units[0]}, this scan has {units[1]}")
        if self.scans < FEW:
            count = "one healthy scan" if self.scans == 1 else f"{self.scans} healthy scans"
            said.append(
                f"the recipe {self.recipe} was calibrated on {count} only: flag rates differ from scanner to scanner, "
                f"and a scan's p cannot fall below {self.smallest_p:.2g}"
            )
        return said


def fit_calibration(scored: Iterable[tuple[Scene, Scored]], recipe: str = "unnamed") -> Calibration:
    """Return the calibration of healthy scans, each pair a scan (by the name of its volume) at one thickness.

    See :class:`genesis3d.anomaly.calibration_fit.Fitting`, which takes scans one by one, with parts to leave out.
    """
    from genesis3d.anomaly.calibration_fit import Fitting

    fitting = Fitting(recipe)
    for scene, result in scored:
        fitting.add(scene, result, scene.scan.name)
    return fitting.done()


def calibration_of(card: ModelCard, recipe: str) -> Calibration | None:
    """Return the calibration of a recipe in a model's card, or None; raises ModelError for a damaged one."""
    values = card.calibration.get(recipe)
    if values is None:
        return None
    try:
        return Calibration.parse(values, f"calibration of {recipe}")
    except ConfigError as error:
        raise ModelError(f"model {card.title!r}: {error}") from error


def calibrated_card(card: ModelCard, calibrations: Mapping[str, Calibration]) -> ModelCard:
    """Return the card with these calibrations by recipe; those of other recipes stay."""
    return card.replaced(calibration=card.calibration | {name: item.to_dict() for name, item in calibrations.items()})
