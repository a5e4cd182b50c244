"""A model of a study on whole test scans."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.evaluation.segmentation import segmentation_figures
from genesis3d.events import Control, keep_running
from genesis3d.labels import IGNORE, LabelClass
from genesis3d.workflows.evaluate_model import drained, index_of

if TYPE_CHECKING:
    from genesis3d.data.targets import LabelledCases
    from genesis3d.workflows.segment import Segmentation

__all__ = ["Tested", "measure_on"]

# Figures by case and class.
Tested = dict[str, dict[str, dict[str, float]]]


def measure_on(
    model: Path,
    cases: LabelledCases,
    indices: Sequence[int],
    settings: dict[str, Any],
    *,
    distances: bool = False,
    control: Control = keep_running,
) -> Tested | None:
    """Segment the cases at ``indices`` whole and return their figures by case and class; None when told to stop."""
    from genesis3d.networks.model_file import read_model
    from genesis3d.workflows.segment import SegmentSettings, segment_volume

    loaded = read_model(model)
    chosen = SegmentSettings.parse({"precision": "32"} | settings, "segment")
    # Class values of files may be anything; by their index they never meet the mark of what nobody labelled.
    classes = [LabelClass(value=index, name=one.name) for index, one in enumerate(cases.classes)]
    table = index_of(loaded.card.classes, cases.classes)
    found: Tested = {}
    for index in indices:
        segmented: Segmentation = drained(segment_volume(cases.volumes[index], loaded, chosen, control=control))
        if not segmented.complete:
            return None
        prediction = segmented.labels.with_data(table[segmented.labels.data])
        found[cases.cases[index].name] = segmentation_figures(
            prediction, cases.labels[index], classes, ignore=IGNORE, distances=distances
        )
    return found
