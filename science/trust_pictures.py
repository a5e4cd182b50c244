"""The pictures of "How far to trust this map": what a model flags in one healthy scan, and where it is misled.

    python science/trust_pictures.py SCAN --model MODEL [--recipe NAME] [--out docs/images] [--only vessels]

SCAN is a chest CT that may be shown: lidc-0002 of LIDC-IDRI (CC BY 3.0), or ``phantom``.  Each picture shows a slice
of the scan as it is, changed by ``trust_changes``, and what the map flags in both; ``results/trust.json`` holds the
flagged shares.  A quarter of the lungs' height is mapped, so that it takes minutes.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import DOCS, ROOT, run_command
from trust_changes import (
    Change,
    as_it_is,
    dependent_density,
    fibrosis,
    lobe_without_air,
    motion,
    opacity,
    sharp_kernel,
    thick_slices,
)

from genesis3d.files import write_atomic
from genesis3d.workflows.anomaly import AnomalyMap, AnomalySettings, anomaly_volume
from genesis3d.workflows.anomaly_map import lung_millilitres
from genesis3d.workflows.anomaly_pictures import FLAGGED, LUNGS, frame_of, score_bar
from genesis3d.workflows.anomaly_slices import Cut, Outline, Panel, slices_picture
from genesis3d.workflows.lungs import find_lungs

if TYPE_CHECKING:
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.volume import Volume

RESULTS = ROOT / "science" / "results" / "trust.json"
SLAB = 0.25  # of the lungs' height that is mapped
# name of the picture: how the scan is changed, and what stands above the change
CASES: dict[str, tuple[Change, str]] = {
    "vessels": (as_it_is, "as it is"),
    "opacity": (opacity, "with ground glass"),
    "motion": (motion, "with motion"),
    "gravity": (dependent_density, "with dependent density"),
    "outside": (lobe_without_air, "with a lobe without air"),
    "fibrosis": (fibrosis, "with scars"),
    "thick": (thick_slices, "in thick slices"),
    "kernel": (sharp_kernel, "with a sharp kernel"),
}


def main() -> None:
    """Map, draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scan")
    parser.add_argument("--model", default="genesis-chest-ct")
    parser.add_argument("--recipe")
    parser.add_argument("--lungs", default="auto")
    parser.add_argument("--out", type=Path, default=DOCS / "images")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    model = _model(given.model)
    settings = AnomalySettings.parse({"recipe": given.recipe and {"name": given.recipe}})
    scan = _scan(given.scan)
    found = _found(scan, given.lungs)
    first, shares = None, {}
    for name in given.only:
        change, what = CASES[name]
        first = first or mapped(scan, found, model, settings)
        after = first if change is as_it_is else misled(scan, found, change, name, given.lungs, model, settings)
        shares[name] = {"flagged_percent": round(flagged(after), 3), "threshold": after.threshold}
        print(f"{name}: {flagged(after):.2f} % of the lungs flagged", flush=True)
        given.out.mkdir(parents=True, exist_ok=True)
        write_atomic(given.out / f"trust-{name}.png", picture(first, after, what))
    about = {"scan": scan.name, "model": given.model, "recipe": after.recipe.name}
    values = about | {"shares": _earlier(given.results, about) | shares}
    write_atomic(given.results, (json.dumps(values, indent=1) + "\n").encode())


def _earlier(path: Path, about: dict[str, str]) -> dict[str, Any]:
    """Return the shares of pictures that the same model and recipe made of the same scan before."""
    values = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    same = all(values.get(name) == value for name, value in about.items())
    return dict(values["shares"]) if same else {}


def misled(
    scan: Volume, lungs: Volume, change: Change, name: str, method: str, model: LoadedModel | None,
    settings: AnomalySettings,
) -> AnomalyMap:  # fmt: skip
    """Return the map of the changed scan; its lungs are found anew only where that is what fails."""
    changed, marked = change(scan, lungs)
    if name == "outside":
        return mapped(changed, _found(changed, method), model, settings, around=lungs)
    return mapped(changed, marked, model, settings)


def mapped(
    scan: Volume, lungs: Volume, model: LoadedModel | None, settings: AnomalySettings, around: Volume | None = None
) -> AnomalyMap:
    """Return the map of the slices around the middle of the lungs, or of ``around`` on the same grid."""
    slices = np.flatnonzero(((around or lungs).data[0] > 0).any(axis=(1, 2)))
    middle, half = int(slices[int(0.4 * len(slices))]), int(np.ceil(SLAB / 2 * len(slices)))
    start = max(0, middle - half)
    stop = min(scan.geometry.shape[0], middle + half + 1)
    corner, shape = (start, 0, 0), (stop - start, *scan.geometry.shape[1:])
    work = anomaly_volume(scan.crop(corner, shape), model, settings, lungs.crop(corner, shape), "layer")
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: AnomalyMap = end.value
            return result


def flagged(result: AnomalyMap) -> float:
    """Return the share of the lungs that is flagged, in %."""
    return 100 * sum(item.region.volume_ml for item in result.regions) / sum(lung_millilitres(result.lungs).values())


def picture(first: AnomalyMap, after: AnomalyMap, what: str) -> bytes:
    """Return a .png: the slice where most has changed, as the scan is and changed."""
    most = _most(first, after)
    place = after.scan.geometry.to_world((most, 0.0, 0.0))
    same = int(np.clip(round(float(first.scan.geometry.to_index(place)[0])), 0, first.scan.geometry.shape[0] - 1))
    panels = [_panel("as it is", first, same, score=False), _panel("its score", first, same, score=True)]
    if after is not first:
        panels += [_panel(what, after, most, score=False), _panel("its score", after, most, score=True)]
    frame = frame_of(after.scan, after.lungs)
    box = (slice(0, 1), *frame_of(first.scan, first.lungs).box[1:])
    return slices_picture(panels, [Cut(0, 0, label="")], replace(frame, box=box), score_bar(after))


def _most(first: AnomalyMap, after: AnomalyMap) -> int:
    """Return the slice whose lungs changed most; of equal scans, or ones on another grid, where most is flagged."""
    weight = (after.labels.data[0] > 0).astype(np.float32)
    if after is not first and after.scan.geometry.matches(first.scan.geometry):
        weight = np.abs(after.scan.data[0] - first.scan.data[0].astype(np.float32)) * (first.lungs.data[0] > 0)
    return int(weight.sum(axis=(1, 2)).argmax())


def _panel(name: str, result: AnomalyMap, index: int, score: bool) -> Panel:
    def plane(volume: Volume) -> Any:
        return volume.data[0][index : index + 1]

    if score:
        return Panel(name, plane(result.scan), plane(result.score), (Outline(plane(result.labels), FLAGGED),))
    return Panel(name, plane(result.scan), outlines=(Outline(plane(result.lungs), LUNGS, 0.5),))


def _scan(given: str) -> Volume:
    if given == "phantom":
        from genesis3d.data.phantoms import thorax

        return thorax((64, 128, 128))
    from genesis3d.io import read_volume

    return read_volume(given).canonical()


def _found(scan: Volume, method: str) -> Volume:
    found = find_lungs(scan, method)  # type: ignore[arg-type]  # find_lungs says what it takes
    assert found is not None
    return found.mask


def _model(name: str) -> LoadedModel | None:
    from genesis3d.networks.model_file import read_model

    return None if name == "none" else read_model(name)


if __name__ == "__main__":
    run_command(main)
