"""Measure recipes on healthy scans and write the model with what was found: ``genesis3d calibrate``."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.anomaly.base import RECIPES, Recipe, Scene, Scored, usual_recipe
from genesis3d.anomaly.calibration import Calibration, calibrated_card
from genesis3d.anomaly.calibration_fit import Fitting, dense_share
from genesis3d.anomaly.finishing import without_rim
from genesis3d.errors import DomainError, GenesisError, ScanError
from genesis3d.events import Control, Event, Finished, Saved, Started, Stepped, Warned, keep_running
from genesis3d.workflows.anomaly_config import LUNGS
from genesis3d.workflows.calibrate_scans import Healthy, at_thicknesses, grown, lungs_of, mask_of

if TYPE_CHECKING:
    from genesis3d.data.cases import Case
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.workflows.calibrate_config import CalibrateConfig

__all__ = ["calibrate"]

MUCH = 0.15  # share of dense lung from which a scan is named
TOLD = 0.005  # share of healthy lung whose threshold is told at the end


@dataclass(eq=False)
class _Work:
    """What is known before the first scan, and what is gathered: one fitting a recipe."""

    config: CalibrateConfig
    model: LoadedModel
    cases: list[Case]
    fittings: dict[str, Fitting]
    recipes: list[Recipe]
    used: list[str] = field(default_factory=list)
    done: int = 0
    said: set[str] = field(default_factory=set)

    def told(self, sentences: Iterable[str]) -> Iterator[Event]:
        """Tell sentences, each once."""
        for text in sentences:
            if text not in self.said:
                self.said.add(text)
                yield Warned(message=text)

    def forget(self, case: Case) -> None:
        """Take back what was measured of a scan that turned out not to be usable."""
        for fitting in self.fittings.values():
            fitting.drop(case.key)


def calibrate(config: CalibrateConfig, control: Control = keep_running) -> Iterator[Event]:
    """Calibrate ``config.recipes`` on healthy scans and write a copy of the model; nothing is written when stopped.

    A step is a scan; the metrics of its event tell which share of its lung the recipe flags at its usual threshold, and
    ``window`` of ``windows`` how far the scan in work is at one thickness.
    A scan that cannot be used is named in a warning and left out.

    Raises
    ------
    ModelError, ScanError, ConfigError, DomainError
        One sentence: on the model, where no scan can be used, or where the copy cannot be written.
    """
    from genesis3d.networks.model_file import copy_model

    work = _prepared(config)
    detail = {"model": work.model.card.title, "recipes": [recipe.name for recipe in work.recipes]}
    yield Started(what="calibrate", total=len(work.cases), unit="scan", detail=detail)
    for index, case in enumerate(work.cases):
        try:
            shares = yield from _one(work, case, control)
        except GenesisError as error:
            work.forget(case)
            yield Warned(message=f"{case.name} is left out: {error}")
            shares = {}
        if shares is None:
            yield Finished(cancelled=True)
            return
        work.done = index + 1
        yield Stepped(step=work.done, total=len(work.cases), metrics=shares)
    if not work.used:
        raise DomainError("expected at least one healthy scan to calibrate on, none of those given can be used")
    found = {name: fitting.done() for name, fitting in work.fittings.items()}
    copy_model(config.model, Path(config.out), calibrated_card(work.model.card, found))
    yield Saved(path=config.out, what="model")
    yield Finished(result=_result(config, work, found))


def _prepared(config: CalibrateConfig) -> _Work:
    from genesis3d.data.cases import find_cases
    from genesis3d.networks.model_file import read_model

    if not config.out.endswith(".safetensors"):
        raise ScanError(f"{config.out}: expected a name ending in .safetensors")
    if not Path(config.out).absolute().parent.is_dir():
        raise ScanError(f"{config.out}: its folder does not exist")
    model = read_model(config.model)
    recipes = list(config.recipes) or _usual(model)
    fittings = {recipe.name: Fitting(recipe.name, recipe.to_dict()) for recipe in recipes}
    return _Work(config, model, list(find_cases(config.scans)), fittings, recipes)


def _usual(model: LoadedModel) -> list[Recipe]:
    own = [usual_recipe(model.card)]
    return [*own, RECIPES.parse("hu")] if "CT" in model.card.modalities else own


def _one(work: _Work, case: Case, control: Control) -> Generator[Event, None, dict[str, float] | None]:
    """Score one scan at every thickness; return the shares flagged at its own, in percent; None when stopped."""
    config, several = work.config, len(work.cases) > 1
    scan = case.load()
    for recipe in work.recipes:
        recipe.check(scan, work.model.card)
    given = None if config.lungs in LUNGS else mask_of(config.lungs, case, scan, several)
    lungs = lungs_of(config.lungs, case, scan, given, control)
    if lungs is None:
        return None
    yield from work.told(f"{case.name}: {text}" for text in lungs.warnings)
    ill = mask_of(config.exclude, case, scan, several)
    if config.exclude is not None and ill is None:
        yield from work.told([f"{case.name}: no mask of what to leave out is called so, all of it counts as healthy"])
    scene = Scene(scan, lungs.mask, work.model, config, config.smooth)
    dense = dense_share(scene) or 0.0
    yield from work.told(_too_dense(config, case, dense))
    if config.leave_out_dense is not None and 100 * dense > config.leave_out_dense:
        return {}
    shares: dict[str, float] = {}
    for healthy in at_thicknesses(scene, grown(ill, config.exclude_mm), config.thicknesses):
        own = yield from _measured(work, case, healthy, control)
        if own is None:
            return None
        shares = shares or own
    work.used.append(case.name)
    return shares


def _measured(
    work: _Work, case: Case, healthy: Healthy, control: Control
) -> Generator[Event, None, dict[str, float] | None]:
    """Score one scan at one thickness by every recipe; return the shares flagged, None when stopped."""
    scene, shares = healthy.scene, {}
    for recipe in work.recipes:
        if control() == "stop":
            return None
        scored = yield from _scored(work, case, recipe.score(scene, control))
        if scored is None:
            return None
        scored = replace(scored, score=without_rim(scored.score, scene.lungs, work.config.rim_mm))
        work.fittings[recipe.name].add(scene, scored, case.key, healthy.exclude)
        flagged = scored.score.data[scene.lungs.data > 0] >= recipe.fixed_threshold(scene)
        shares[f"{recipe.name}_flagged_percent"] = round(100 * float(flagged.mean()), 4)
    return shares


def _scored(
    work: _Work, case: Case, scoring: Generator[Event, None, Scored | None]
) -> Generator[Event, None, Scored | None]:
    """Run a recipe; of what it says warnings pass, each once, and how far it is."""
    while True:
        try:
            event = next(scoring)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # what a recipe returns
        if isinstance(event, Warned):
            yield from work.told([f"{case.name}: {event.message}"])
        if isinstance(event, Stepped):
            windows = {"window": float(event.step), "windows": float(event.total or 0)}
            yield Stepped(step=work.done, total=len(work.cases), metrics=windows)


def _too_dense(config: CalibrateConfig, case: Case, dense: float) -> list[str]:
    limit = config.leave_out_dense
    if limit is not None and 100 * dense > limit:
        return [f"{case.name}: {100 * dense:.0f} % of its lung is denser than -600 HU, it is left out"]
    if dense > MUCH:
        said = "is it healthy?  It counts like any other scan"
        return [f"{case.name}: {100 * dense:.0f} % of its lung is denser than -600 HU; {said}"]
    return []


def _result(config: CalibrateConfig, work: _Work, found: dict[str, Calibration]) -> dict[str, Any]:
    result: dict[str, Any] = {"model": config.out, "scans": len(work.used)}
    for name, calibration in found.items():
        low, high = calibration.thickness_mm
        result["slices_mm"] = f"{low:g} to {high:g}"
        result[f"{name}_threshold_at_{100 * TOLD:g}_percent"] = round(calibration.threshold(TOLD), 4)
    return result | {"smallest_p_of_a_scan": round(1 / (len(work.used) + 1), 4)}
