"""The figures of one anomaly map: its score and what it flags, against lesions that are known or known to be absent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import GeometryError
from genesis3d.evaluation.overlap import overlap
from genesis3d.evaluation.ranking import ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.volume import Volume

    Mask = NDArray[np.bool_]

__all__ = ["FIGURES", "FOUND", "LEAST_ML", "Truth", "anomaly_figures"]

LEAST_ML = 5.0  # mL: smaller regions of the reference count nowhere in the recall of regions
FOUND = 0.25  # share of a region that must be flagged for it to be found
FALSE_POSITIVES = 0.3  # the false positive rate that the partial area under the ROC curve ends at
FIGURES = {
    "ap": "average precision",
    "auroc": "AUROC",
    "partial_auroc": "AUROC up to a false positive rate of .3, over .3",
    "auroc_body": "AUROC in the body",
    "partial_auroc_body": "AUROC in the body up to .3, over .3",
    "dice": "Dice at the pre-set threshold",
    "sensitivity": "sensitivity",
    "precision": "precision",
    "volume_error_percent": "volume error (% of the lungs)",
    "region_recall": "recall of regions",
    "regions": "regions of 5 mL and more",
    "regions_found": "of these found",
    "flagged_percent": "flagged (% of the lungs)",
    "lesion_percent": "lesion (% of the lungs)",
    "lesion_kept_percent": "lesion inside the lung mask (%)",
    "oracle_dice": "Dice at the best threshold (oracle)",
    "oracle_threshold": "best threshold (oracle)",
    "threshold": "pre-set threshold",
}


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of a scan, all on its grid (1, D, H, W), above 0 inside; None where it is not known.

    Attributes
    ----------
    lesions : what is to be found; None for a scan known to be without
    lungs : the lungs that the lesions were marked in; lesions outside them count nowhere
    body : the patient
    excluded : voxels that count nowhere, such as nodules of an otherwise healthy scan
    """

    lesions: Volume | None = None
    lungs: Volume | None = None
    body: Volume | None = None
    excluded: Volume | None = None


def anomaly_figures(
    score: Volume, flagged: Volume, lungs: Volume, truth: Truth, threshold: float = float("nan")
) -> dict[str, float]:
    """Return the :data:`FIGURES` of one map; nan for what the truth does not tell.

    Parameters
    ----------
    score : (1, D, H, W), higher is more anomalous, 0 outside the lungs
    flagged : (1, D, H, W), above 0 in the regions at the pre-set threshold
    lungs : the mask that the map was made in
    threshold : the pre-set one, to be told only

    Voxels counted are those of the mask, of the truth's lungs and of the lesions: a lesion that the mask leaves out
    has the score 0 and is missed.  With the truth's own lungs as mask these are the mask's.

    Raises
    ------
    GeometryError
        When two of them lie on different grids.
    """
    _check(score, flagged, lungs, truth)
    mask, hot = lungs.data[0] > 0, flagged.data[0] > 0
    counted = np.ones_like(mask) if truth.excluded is None else truth.excluded.data[0] <= 0
    mask &= counted
    found = dict.fromkeys(FIGURES, float("nan"))
    found["threshold"] = threshold
    lung_voxels = max(1, int(mask.sum()))
    found["flagged_percent"] = 100 * int((hot & mask).sum()) / lung_voxels
    if truth.lesions is None:
        return found | {"lesion_percent": 0.0}
    lesion = (truth.lesions.data[0] > 0) & counted
    if truth.lungs is not None:
        lesion &= truth.lungs.data[0] > 0
        lung_voxels = max(1, int(((truth.lungs.data[0] > 0) & counted).sum()))
        counted = counted & (mask | (truth.lungs.data[0] > 0))
    else:
        counted = counted & (mask | lesion)
    found |= _overlap(hot & mask, lesion, counted, mask, lung_voxels)
    found |= _regions(hot & mask, lesion, float(np.prod(score.geometry.spacing)) / 1000)
    ranked = ranking(score.data[0][counted], lesion[counted])
    found |= {"ap": ranked.average_precision, "auroc": ranked.auroc}
    found |= {"partial_auroc": ranked.partial_auroc(FALSE_POSITIVES)}
    found["oracle_dice"], found["oracle_threshold"] = ranked.oracle
    if truth.body is not None:
        around = counted | (truth.body.data[0] > 0)
        ranked = ranking(score.data[0][around], lesion[around])
        found |= {"auroc_body": ranked.auroc, "partial_auroc_body": ranked.partial_auroc(FALSE_POSITIVES)}
    return found


def _overlap(hot: Mask, lesion: Mask, counted: Mask, mask: Mask, lung_voxels: int) -> dict[str, float]:
    counts = overlap(hot, lesion, counted)
    kept = overlap(mask, lesion)
    return {
        "dice": counts.dice,
        "sensitivity": counts.sensitivity,
        "precision": counts.precision,
        "volume_error_percent": 100 * (counts.predicted - counts.reference) / lung_voxels,
        "lesion_percent": 100 * counts.reference / lung_voxels,
        "lesion_kept_percent": 100 * kept.sensitivity,
    }


def _regions(hot: Mask, lesion: Mask, voxel_ml: float) -> dict[str, float]:
    """Return the share of connected lesions (26 neighbours) of at least LEAST_ML that are flagged by at least FOUND."""
    from genesis3d.io.itk_filters.components import components

    labels, sizes = components(lesion, least=max(1, int(np.ceil(LEAST_ML / voxel_ml - 1e-9))))
    if not sizes:
        return {"regions": 0.0, "regions_found": 0.0}
    hits = np.bincount(labels[hot], minlength=len(sizes) + 1)[1:]
    found = int((hits >= FOUND * np.asarray(sizes)).sum())
    return {"regions": float(len(sizes)), "regions_found": float(found), "region_recall": found / len(sizes)}


def _check(score: Volume, flagged: Volume, lungs: Volume, truth: Truth) -> None:
    others = (flagged, lungs, truth.lesions, truth.lungs, truth.body, truth.excluded)
    for other in others:
        if other is not None and not other.geometry.matches(score.geometry, tolerance_mm=0.05):
            raise GeometryError(
                f"{other.name}: expected the grid of {score.name} ({score.geometry.describe()}), "
                f"got another one ({other.geometry.describe()})"
            )
