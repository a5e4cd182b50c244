"""An anomaly map of one scan: a recipe's score inside the lungs, the HU baseline beside it, and its regions."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from genesis3d.anomaly.base import Recipe, Scene, Scored, usual_recipe
from genesis3d.anomaly.checks import checked_scan, lung_doubts
from genesis3d.anomaly.difference import SHARE
from genesis3d.anomaly.finishing import without_rim
from genesis3d.anomaly.hu import Hounsfield
from genesis3d.events import Control, Event, Finished, Started, Warned, keep_running
from genesis3d.workflows.anomaly_config import LUNGS, AnomalyConfig, AnomalySettings
from genesis3d.workflows.anomaly_files import check_folder, report, write_map
from genesis3d.workflows.anomaly_map import FoundRegion, check_lungs, find
from genesis3d.workflows.lungs import LungMask, find_lungs

if TYPE_CHECKING:
    from genesis3d.anomaly.calibration import Calibration
    from genesis3d.networks.model_file import LoadedModel, ModelCard
    from genesis3d.volume import Volume

__all__ = ["AnomalyConfig", "AnomalyMap", "AnomalySettings", "anomaly", "anomaly_volume", "default_threshold",
           "with_lungs"]  # fmt: skip


@dataclass(frozen=True, eq=False)
class AnomalyMap:
    """An anomaly map in memory; all volumes lie on the scan's canonical grid, in the scan's unit where they have one.

    Attributes
    ----------
    scan : canonical, as given but for padding and voxels without a value
    restored, difference : of the model; None where the recipe uses none
    score : inside the lungs, without their rim, in the recipe's unit; higher is more anomalous
    lungs : labels, 1 left, 2 right
    labels, regions : regions of the score at or above ``threshold``, 1 the largest, with their figures
    card : of the model; None where the recipe uses none
    lungs_from : auto, classical, network, body, none, file or layer
    recipe : how the score was made
    probability : (1, D, H, W) of an opacity, where the model gives one
    baseline : score of the recipe ``hu`` beside it, HU above -700; None for a scan without HU
    z, calibration : the score against healthy scans, where the model is calibrated for the recipe
    scene, scored : what the recipe saw and gave, with the lungs' rim
    """

    scan: Volume
    restored: Volume | None
    difference: Volume | None
    score: Volume
    lungs: Volume
    labels: Volume
    regions: list[FoundRegion]
    threshold: float
    card: ModelCard | None
    settings: AnomalySettings
    lungs_from: str
    warnings: tuple[str, ...]
    device: str
    precision: str
    seconds: float
    recipe: Recipe
    probability: Volume | None
    baseline: Volume | None
    z: Volume | None
    calibration: Calibration | None
    scene: Scene
    scored: Scored

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
    model = None if config.model is None else read_model(config.model)
    volume = read_volume(config.scan, series=config.series)
    lungs = None if config.lungs in LUNGS else read_volume(config.lungs)
    source = "file" if lungs is not None else config.lungs
    result = yield from anomaly_volume(volume, model, config, lungs, source, control)
    if result is None:
        yield Finished(cancelled=True)
        return
    yield from write_map(result, folder)
    yield Finished(result=report(result)["totals"])


def anomaly_volume(
    volume: Volume,
    model: LoadedModel | None,
    settings: AnomalySettings,
    lungs: Volume | None = None,
    lungs_from: str = "auto",
    control: Control = keep_running,
    coarse: Callable[[Volume], None] | None = None,
) -> Generator[Event, None, AnomalyMap | None]:
    """Map a scan in memory, yielding events (but no ``Finished``); return the map, or None when stopped.

    Parameters
    ----------
    volume : the scan, as read or canonical
    model : None for a recipe that needs none
    lungs : mask on the scan's grid; None: found as ``lungs_from`` says
    lungs_from : auto (as ``settings.lungs_method`` says), classical, network, body, none (everywhere); of a mask that
        is given, where it is from, for the report: file or layer
    coarse : is given a first score on the scan's canonical grid, long before the map is done
    """
    began = time.monotonic()
    recipe = settings.recipe or usual_recipe(None if model is None else model.card)
    recipe.check(volume.canonical(), None if model is None else model.card)
    volume, notes = checked_scan(volume.canonical())
    found = _lungs(volume, lungs, lungs_from, settings, control)
    if found is None or control() == "stop":
        return None
    scene = Scene(volume, found.mask, model, settings, settings.smooth, coarse)
    known = recipe.calibration(scene)
    doubts = (*found.warnings, *(() if known is None else known.doubts(scene)))
    warnings: list[str] = []
    scored = yield from _scored(recipe, scene, (*volume.notes, *notes, *doubts), warnings, control)
    if scored is None:
        return None
    return _mapped(recipe, scene, scored, settings, lungs_from, warnings, began)


def with_lungs(result: AnomalyMap, lungs: Volume, lungs_from: str = "layer") -> AnomalyMap:
    """Return the map for other ``lungs`` on its grid, nothing restored anew: score, baseline and regions follow.

    Raises
    ------
    GeometryError, DomainError
        When they lie on another grid, or nothing is marked.
    """
    scene = replace(result.scene, lungs=check_lungs(lungs, result.scan))
    scored = result.recipe.rescored(result.scored, scene)
    after = _mapped(result.recipe, scene, scored, result.settings, lungs_from, [*result.warnings], time.monotonic(),
                    result.threshold)  # fmt: skip
    return replace(after, seconds=result.seconds)


def default_threshold(card: ModelCard, volume: Volume) -> float:
    """Return the threshold of the plain difference, in the scan's unit: 7.5 % of the model's range (150 HU for CT)."""
    return SHARE * card.intensity.fit(volume).width


def _scored(
    recipe: Recipe, scene: Scene, notes: tuple[str, ...], warnings: list[str], control: Control
) -> Generator[Event, None, Scored | None]:
    """Run the recipe, ``notes`` told after its beginning; collect all warnings."""
    work = recipe.score(scene, control)
    while True:
        try:
            event = next(work)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a recipe returns
        yield event
        if isinstance(event, Warned):
            warnings.append(event.message)
        if isinstance(event, Started):
            for text in notes:
                warnings.append(text)
                yield Warned(message=text)


def _lungs(
    volume: Volume, lungs: Volume | None, lungs_from: str, settings: AnomalySettings, control: Control
) -> LungMask | None:
    if lungs is not None:
        mask = check_lungs(lungs, volume)
        return LungMask(mask, lung_doubts(volume, mask))
    if lungs_from == "none":
        everywhere = np.full(volume.geometry.shape, 255, np.uint8)
        whole = volume.with_data(everywhere, modality=None, unit=None, name=f"{volume.name} whole", notes=())
        return LungMask(whole)
    method = settings.lungs_method if lungs_from == "auto" else lungs_from
    return find_lungs(volume, method, control)  # type: ignore[call-overload,no-any-return]  # it says what it expects


def _mapped(
    recipe: Recipe,
    scene: Scene,
    scored: Scored,
    settings: AnomalySettings,
    lungs_from: str,
    warnings: list[str],
    began: float,
    threshold: float | None = None,
) -> AnomalyMap:
    if threshold is None:
        threshold = recipe.default_threshold(scene) if settings.threshold is None else settings.threshold
    score = without_rim(scored.score, scene.lungs, settings.rim_mm)
    known = recipe.calibration(scene)
    labels, regions = find(score, threshold, scene.lungs, scene.scan, scored.difference, settings.least_ml)
    return AnomalyMap(
        scan=scene.scan,
        restored=scored.restored,
        difference=scored.difference,
        score=score,
        lungs=scene.lungs,
        labels=labels,
        regions=regions,
        threshold=threshold,
        card=None if scene.model is None else scene.model.card,
        settings=settings,
        lungs_from=lungs_from,
        warnings=tuple(warnings),
        device=scored.device,
        precision=scored.precision,
        seconds=time.monotonic() - began,
        recipe=recipe,
        probability=scored.probability,
        baseline=_baseline(scene, settings),
        z=None if known is None else known.z(scene, replace(scored, score=score)),
        calibration=known,
        scene=scene,
        scored=scored,
    )


def _baseline(scene: Scene, settings: AnomalySettings) -> Volume | None:
    if scene.scan.unit != "HU":
        return None
    return without_rim(Hounsfield().baseline(scene), scene.lungs, settings.rim_mm)
