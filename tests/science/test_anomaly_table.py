"""The table of anomaly maps (science/anomaly_sets.py, anomaly_page.py): sets made once, targets told as they are."""

from __future__ import annotations

import importlib
import math
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from genesis3d.data.phantoms import thorax
from genesis3d.evaluation.anomaly import FIGURES
from genesis3d.io import read_volume, write_volume
from genesis3d.io.itk_filters.lungs import LungMask
from genesis3d.volume import Volume
from genesis3d.workflows.evaluate_anomaly_cases import anomaly_cases
from genesis3d.workflows.evaluate_anomaly_config import EvaluateAnomalyConfig


@pytest.fixture(autouse=True)
def science(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "science"))


@pytest.fixture
def sets() -> ModuleType:
    return importlib.import_module("anomaly_sets")


@pytest.fixture
def page() -> ModuleType:
    return importlib.import_module("anomaly_page")


def dark(scan: Volume, *_: Any) -> LungMask:
    inside = (scan.data > -980) & (scan.data < -600)
    return LungMask(scan.with_data(inside.astype(np.uint8), modality=None, unit=None))


def row(case: str, method: str, lungs: str = "given", **figures: float) -> dict[str, Any]:
    facts = {"case": case, "lungs": lungs, "method": method, "group": "lesions"}
    return facts | dict.fromkeys(FIGURES, math.nan) | figures


def test_inserted_sets_are_made_once_and_form_cases(
    sets: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sets, "find_lungs", dark)
    write_volume(thorax((24, 48, 48)), tmp_path / "host.nii.gz")
    write_volume(thorax((24, 48, 48)), tmp_path / "host_excluded.nii.gz")
    hosts, masks = {"host": tmp_path / "host.nii.gz"}, {"host": tmp_path / "host_excluded.nii.gz"}
    folder = tmp_path / "wide"
    sets.write_inserted("wide", hosts, folder, masks, quick=True)
    config = EvaluateAnomalyConfig.parse(
        {"scans": str(folder / "*-scan.nii.gz"), "lesions": str(folder / "*_lesion.nii.gz"),
         "lungs": str(folder / "*_lung.nii.gz"), "excluded": str(folder / "*_excluded.nii.gz"), "out_dir": "out"}
    )  # fmt: skip
    cases, said = anomaly_cases(config)
    assert [case.name for case in cases] == ["host-30-150-scan"]
    assert said == []
    lesion, lungs = (read_volume(path).data > 0 for path in (cases[0].lesions, cases[0].lungs))
    assert lesion.sum() == pytest.approx(0.3 * lungs.sum(), abs=1)
    monkeypatch.setattr(sets, "find_lungs", None)  # not needed again
    sets.write_inserted("wide", hosts, folder, masks, quick=True)


def test_targets_are_met_or_not(page: ModuleType) -> None:
    tables = {
        "covid": [
            *(row(str(n), page.PLAIN, ap=0.3, dice=0.4, auroc=0.9, volume_error_percent=1.0) for n in range(4)),
            *(row(str(n), "opacity", ap=0.9, dice=0.7 + 0.01 * n, auroc=0.99, volume_error_percent=0.0)
              for n in range(4)),
            *(row(str(n), "opacity", "own", dice=0.6, lesion_kept_percent=99.0, volume_error_percent=0.0)
              for n in range(4)),
        ],
        "regions": [row("a-100-scan", "opacity", regions=4, regions_found=3, dice=0.5)],
        "healthy": [row("lidc-0001", "opacity", "own", flagged_percent=0.2)],
        "others": [row("cap-001", "opacity", "own", flagged_percent=5.0)],
    }  # fmt: skip
    lines = {line[0]: line[1:] for line in page.targets(tables, "opacity")}
    assert lines["COVID, given lungs: mean AP at least .820"] == [".900", "yes"]
    assert lines["COVID, given lungs: mean Dice at least .720"] == [".715", "**no**"]
    assert lines["COVID, own lungs: mean Dice at most .04 lower"] == ["+0.115 lower", "**no**"]
    assert lines["regions of 5 mL and 100 HU or more, given lungs: recall at least .9"] == ["3 of 4", "**no**"]
    assert lines["lidc-0001: at most .5 % flagged"] == ["0.20 %", "yes"]
    assert lines["cap-001: clearly above the healthy (twice the highest)"] == ["5.00 %", "yes"]
    text = page.anomaly_page(tables, "opacity", ["model"], [])
    assert "served in" in text
    assert "| 3 of 4 |" in text
    assert "opacity, AP +0.600 [+0.600, +0.600], p .125" in text
