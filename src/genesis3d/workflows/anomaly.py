"""An anomaly map of one scan: what a restoration network could not explain, inside the lungs.

Section 5.6 of the Models Genesis paper in its plainest form: the difference between a scan and its restoration.  The
score is one-sided, since opacity is brighter than the lung a network expects.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from genesis3d.events import Control, Event, Finished, Warned, keep_running
from genesis3d.workflows.anomaly_files import check_folder, report, write_map
from genesis3d.workflows.anomaly_map import FoundRegion, check_lungs, find, score_map
from genesis3d.workflows.restore import RestoreSettings, check_model, prepare, run_windows

if TYPE_CHECKING:
    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume
    from genesis3d.workflows.restore import Ready, Restored

__all__ = ["AnomalyConfig", "AnomalyMap", "AnomalySettings", "anomaly", "anomaly_volume", "default_threshold"]

SHARE = 0.075  # of the model's intensity range: 150 HU for [-1000, 1000]


class AnomalySettings(RestoreSettings):
    """How a scan is restored and its difference turned into regions."""

    threshold: float | None = Field(
        None, ge=0, description="smallest score of a region, in HU for CT; empty: 7.5 % of the model's range (150 HU)"
    )
    smooth: int = Field(1, ge=0, le=3, description="radius of the score's median filter in voxels; 0 for none")
    rim_mm: float = Field(2.0, ge=0, le=20, description="outermost layer of the lungs left out of the score, in mm")
    least_ml: float = Field(0.2, ge=0, le=1000, description="regions smaller than this are left out, in mL")


class AnomalyConfig(AnomalySettings):
    """An anomaly map of one scan, written into a folder."""

    scan: str = Field(description="scan: DICOM folder, zip, NIfTI, NRRD or MetaImage")
    model: str = Field(description="run directory, .safetensors model file or name of a model of the library")
    out_dir: str = Field(description="folder for the results, made if need be")
    lungs: str = Field("auto", description="auto (found in a CT), none (the whole scan), or a mask file on its grid")
    series: str | None = Field(None, description="series UID where a folder holds several; empty: the largest")


@dataclass(frozen=True, eq=False)
class AnomalyMap:
    """An anomaly map in memory; all volumes lie on the scan's canonical grid, in the scan's unit where they have one.

    Attributes
    ----------
    scan, restored, difference, score : see :class:`~genesis3d.workflows.restore.Restored` and
        :func:`~genesis3d.workflows.anomaly_map.score_map`
    lungs : labels, 1 left, 2 right
    labels, regions : regions of the score at or above ``threshold``, 1 the largest, with their figures
    lungs_from : auto, none, file or layer
    """

    scan: Volume
    restored: Volume
    difference: Volume
    score: Volume
    lungs: Volume
    labels: Volume
    regions: list[FoundRegion]
    threshold: float
    card: ModelCard
    settings: AnomalySettings
    lungs_from: str
    warnings: tuple[str, ...]
    device: str
    precision: str
    seconds: float

    @property
    def settings_fields(self) -> tuple[str, ...]:
        """The settings that hold no path."""
        return tuple(AnomalySettings.model_fields)


def anomaly(config: AnomalyConfig, control: Control = keep_running) -> Iterator[Event]:
    """Map one scan and write every file into ``config.out_dir``; nothing is written when stopped before the end.

    Raises
    ------
    ScanError, ModelError, DomainError, GeometryError, ConfigError
        One sentence on the scan, the model, the lungs, how they fit, or the settings.
    """
    from genesis3d.io import read_volume
    from genesis3d.networks.model_file import read_model

    folder = check_folder(config.out_dir)
    model = read_model(config.model)
    volume = read_volume(config.scan, series=config.series)
    named = config.lungs not in ("auto", "none")
    lungs = read_volume(config.lungs) if named else None
    source = "file" if named else config.lungs
    result = yield from anomaly_volume(volume, model, config, lungs, source, control)
    if result is None:
        yield Finished(cancelled=True)
        return
    yield from write_map(result, folder)
    yield Finished(result=report(result)["totals"])


def anomaly_volume(
    volume: Volume,
    model: LoadedModel,
    settings: AnomalySettings,
    lungs: Volume | None = None,
    lungs_from: str = "auto",
    control: Control = keep_running,
) -> Generator[Event, None, AnomalyMap | None]:
    """Map a scan in memory, yielding events (but no ``Finished``); return the map, or None when stopped.

    Parameters
    ----------
    volume : the scan, as read or canonical
    lungs : mask on the scan's grid; None: found (``lungs_from="auto"``) or everywhere (``lungs_from="none"``)
    lungs_from : where the lungs come from, for the report: auto, none, file or layer
    """
    began = time.monotonic()
    volume = volume.canonical()
    check_model(volume, model.card)
    lungs, doubts = _lungs(volume, lungs, lungs_from)
    if control() == "stop":
        return None
    ready = prepare(volume, model, settings, lungs.data[0] > 0)
    warnings = (*volume.notes, *ready.warnings, *doubts)
    yield ready.started("anomaly")
    yield from (Warned(message=text) for text in warnings)
    restored = yield from run_windows(ready, control)
    if restored is None:
        return None
    return _mapped(ready, restored, lungs, lungs_from, settings, warnings, began)


def default_threshold(card: ModelCard, volume: Volume) -> float:
    """Return the threshold used when none is given, in the scan's unit: 7.5 % of the model's range (150 HU for CT)."""
    return SHARE * card.intensity.fit(volume).width


def _lungs(volume: Volume, lungs: Volume | None, lungs_from: str) -> tuple[Volume, tuple[str, ...]]:
    if lungs is not None:
        return check_lungs(lungs, volume), ()
    if lungs_from == "none":
        everywhere = np.full(volume.geometry.shape, 255, np.uint8)
        return volume.with_data(everywhere, modality=None, unit=None, name=f"{volume.name} whole", notes=()), ()
    from genesis3d.io.itk_filters.lungs import lung_mask

    found = lung_mask(volume)
    return found.mask, found.warnings


def _mapped(
    ready: Ready,
    restored: Restored,
    lungs: Volume,
    lungs_from: str,
    settings: AnomalySettings,
    warnings: tuple[str, ...],
    began: float,
) -> AnomalyMap:
    threshold = SHARE * ready.scale.width if settings.threshold is None else settings.threshold
    score = score_map(restored.difference, lungs, settings.smooth, settings.rim_mm)
    labels, regions = find(score, threshold, lungs, ready.volume, restored.difference, settings.least_ml)
    return AnomalyMap(
        scan=ready.volume,
        restored=restored.restored,
        difference=restored.difference,
        score=score,
        lungs=lungs,
        labels=labels,
        regions=regions,
        threshold=threshold,
        card=ready.card,
        settings=settings,
        lungs_from=lungs_from,
        warnings=warnings,
        device=str(ready.predictor.device),
        precision=ready.predictor.precision,
        seconds=time.monotonic() - began,
    )
