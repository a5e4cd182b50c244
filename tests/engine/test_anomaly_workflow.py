"""Restoring and mapping scans: files on the scan's own grid, one-sided scores, stopping, and what is refused."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.errors import DomainError, GenesisError, GeometryError, ModelError, ScanError
from genesis3d.events import Finished, Saved, Started, Stepped, Warned
from genesis3d.intensity import Percentile
from genesis3d.io import read_volume, write_volume
from genesis3d.networks.model_file import LoadedModel, ModelCard, read_model, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.anomaly import AnomalyConfig, AnomalySettings, anomaly, anomaly_volume, default_threshold
from genesis3d.workflows.anomaly_files import FILES, write_map
from genesis3d.workflows.anomaly_map import find, rows, score_map
from genesis3d.workflows.restore import RestoreConfig, restore

NETWORK = UNet3d(width=2, norm="none")
SHAPE, SPACING = (40, 44, 60), (6.0, 5.0, 5.0)


class Air(torch.nn.Module):
    """Restores every voxel to one value: what is brighter than -840 HU (.08) is then anomalous."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.full_like(x, 0.08)


def card(**changes: Any) -> ModelCard:
    values = {"title": "air", "network": NETWORK, "activation": "linear", "patch": (16, 16, 16)}
    return ModelCard(**(values | changes))


def air(**changes: Any) -> LoadedModel:
    return LoadedModel(Air(), card(**changes), Path("air.safetensors"))


def chest() -> tuple[Volume, np.ndarray]:
    """Two lungs of -860 HU in a body, with an opacity of -300 HU in the left one; and the opacity."""
    d, h, w = np.indices(SHAPE)
    hu = np.full(SHAPE, -1000, np.int16)
    hu[((h - 22) / 19) ** 2 + ((w - 30) / 27) ** 2 <= 1] = 40
    hu[:, 34:38, 27:33] = 400  # spine
    for centre in (17, 43):
        hu[((d - 20) / 17) ** 2 + ((h - 22) / 13) ** 2 + ((w - centre) / 9) ** 2 <= 1] = -860
    opacity = ((d - 20) * 6.0) ** 2 + ((h - 22) * 5.0) ** 2 + ((w - 43) * 5.0) ** 2 <= 20**2
    hu[opacity] = -300
    return Volume(hu[None], Geometry(SHAPE, SPACING, (-100.0, 20.0, 3.0)), "CT", "HU", "chest"), opacity


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A scan stored feet last and mirrored, a model file, and a mask on another grid."""
    folder = tmp_path_factory.mktemp("inputs")
    scan, _ = chest()
    turned = Volume(
        scan.data[:, ::-1, :, ::-1], Geometry(SHAPE, SPACING, tuple(scan.geometry.to_world((39, 0, 59))),
        ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, -1.0))), "CT", "HU", "turned",
    )  # fmt: skip
    paths = {"scan": folder / "turned.nii.gz", "model": folder / "m.safetensors", "mask": folder / "other.nii.gz"}
    write_volume(turned, paths["scan"])
    write_model(paths["model"], NETWORK.build(0), card(activation="sigmoid", title="tiny", licence="test"))
    write_volume(scan.with_data(np.ones((1, *SHAPE), np.uint8)).crop((0, 0, 0), (40, 44, 50)), paths["mask"])
    return paths


def config(files: dict[str, Path], out: Path, **changes: Any) -> AnomalyConfig:
    values = {"scan": str(files["scan"]), "model": str(files["model"]), "out_dir": str(out), "device": "cpu",
              "precision": "32", "overlap": 0.0}  # fmt: skip
    return AnomalyConfig(**(values | changes))


def ended(work: Generator[Any, None, Any]) -> Any:
    """Run a generator to its end and return what it returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def mapped(volume: Volume, model: LoadedModel, lungs: Volume | None = None, **settings: Any) -> Any:
    return ended(anomaly_volume(volume, model, AnomalySettings(device="cpu", overlap=0.0, **settings), lungs))


def test_every_file_lies_on_the_scans_own_grid(files: dict[str, Path], tmp_path: Path) -> None:
    events = list(anomaly(config(files, tmp_path / "out", threshold=50)))
    scan = read_volume(files["scan"])
    assert not scan.geometry.canonical_orientation().is_identity
    volumes = {name: read_volume(tmp_path / "out" / name) for name in FILES if name.endswith(".nii.gz")}
    for name, volume in volumes.items():
        assert volume.geometry.matches(scan.geometry, 1e-3), name
    restored, difference, score, mask, lungs, baseline = (v.data[0].astype(int) for v in volumes.values())
    clipped = np.clip(scan.data[0].astype(int), -1000, 1000)
    assert np.abs(clipped - restored - difference).max() <= 1
    assert (score >= 0).all()
    assert not score[lungs == 0].any()
    assert not baseline[lungs == 0].any()
    assert baseline.any()
    assert set(np.unique(lungs)) == {0, 1, 2}
    left = np.nonzero(lungs == 1)[2].mean(), np.nonzero(lungs == 2)[2].mean()
    assert left[0] < left[1]  # this scan is stored left to right
    assert not ((mask > 0) & (score < 50)).any()
    assert isinstance(events[-1], Finished)
    assert not events[-1].cancelled
    assert [Path(e.path).name for e in events if isinstance(e, Saved)] == list(FILES)


def test_events_tell_windows_and_the_report_what_was_done(files: dict[str, Path], tmp_path: Path) -> None:
    events = list(anomaly(config(files, tmp_path, threshold=50, lungs="auto")))
    started = next(e for e in events if isinstance(e, Started))
    steps = [e for e in events if isinstance(e, Stepped)]
    assert started.what == "anomaly"
    assert started.unit == "window"
    assert steps[-1].step == steps[-1].total == started.total
    assert steps[-1].seconds_left == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["notice"] == "Research software. Not for clinical use."
    assert report["scan"]["name"] == "turned"
    assert report["scan"]["shape_zyx"] == list(SHAPE)
    assert report["model"]["title"] == "tiny"
    assert report["model"]["licence"] == "test"
    assert report["threshold"] == {"value": 50.0, "unit": "HU"}
    assert report["settings"]["overlap"] == 0.0
    assert report["versions"]["torch"]
    assert str(tmp_path) not in json.dumps(report)
    with (tmp_path / "regions.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == report["totals"]["regions"]
    assert sum(float(row["volume_ml"]) for row in table) == pytest.approx(report["totals"]["flagged_ml"], abs=0.01)


def test_an_opacity_is_found_with_its_figures() -> None:
    scan, opacity = chest()
    result = mapped(scan, air(), threshold=200.0, rim_mm=6.0, least_ml=1.0)
    assert len(result.regions) == 1
    item = result.regions[0]
    voxel = np.prod(SPACING) / 1000
    assert item.lung == "left"
    assert item.region.volume_ml == pytest.approx(opacity.sum() * voxel, rel=0.15)  # the median rounds it off
    assert item.region.means["value"] == pytest.approx(-300, abs=1)
    assert item.region.means["difference"] == pytest.approx(540, abs=2)
    assert item.share == pytest.approx(100 * item.region.volume_ml / ((result.lungs.data > 0).sum() * voxel))
    np.testing.assert_allclose(item.region.centroid, scan.geometry.to_world((20, 22, 43)), atol=2)
    header, table = rows(result.regions, "HU")
    assert header[:5] == ["region", "lung", "volume_ml", "share_of_lungs_percent", "mean_hu"]
    assert table[0][:2] == [1, "left"]
    assert result.threshold == 200
    assert default_threshold(result.card, scan) == 150
    assert result.baseline.data[0, 20, 22, 43] == 400  # -300 HU above the level of -700
    assert result.recipe.name == "difference"


def test_only_brighter_counts_and_only_inside() -> None:
    scan, _ = chest()
    lungs = scan.with_data(np.zeros(SHAPE, np.uint8))
    lungs.data[0, 10:30, 10:30, 10:30] = 1
    lungs.data[0, 10:30, 10:30, 32:50] = 2
    difference = np.full(SHAPE, -300, np.float32)
    difference[15:25, 15:25, 15:25] = 100
    difference[2:5] = 500
    difference[20, 28, 40] = 900  # a single bright voxel is taken out by the median
    score = score_map(scan.with_data(difference), lungs, smooth=1, rim_mm=6.0)
    assert score.data[0, 20, 20, 20] == 100
    assert score.data.max() == 100
    assert not score.data[0, 2:5].any()
    edge = score_map(scan.with_data(np.full(SHAPE, 70, np.float32)), lungs, smooth=0, rim_mm=6.0).data[0]
    assert not edge[:, 10].any()
    assert edge[12, 12, 12] == 70
    labels, found = find(score, 50, lungs, scan, scan.with_data(difference), least_ml=1e6)
    assert found == []
    assert not labels.data.any()


def test_a_mask_given_is_used_and_the_rest_is_not_computed() -> None:
    scan, opacity = chest()
    marked = np.zeros(SHAPE, np.int16)
    marked[16:24, 18:26, 38:48] = 7
    windows: list[int] = []
    model = air()
    model.module.register_forward_hook(lambda *_: windows.append(1))
    result = mapped(scan, model, scan.with_data(marked), threshold=200.0, rim_mm=0.0, precision="32")
    assert len(windows) == 1
    assert result.regions[0].lung == ""
    assert (result.labels.data[0] > 0).sum() == pytest.approx((opacity & (marked > 0)).sum(), abs=30)
    outside = np.ones(SHAPE, bool)
    outside[11:29, 13:31, 34:52] = False
    assert not result.difference.data[0][outside].any()
    np.testing.assert_array_equal(result.restored.data[0][outside], scan.data[0][outside])


def test_scans_without_a_unit_and_voxels_without_a_value() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(300, 50, (1, 16, 16, 16)).astype(np.float32)
    data[0, 3, 3, 3] = np.nan
    volume = Volume(data, Geometry((16, 16, 16)), "MR", None, "head")
    work = anomaly_volume(volume, air(intensity=Percentile()), AnomalySettings(device="cpu"), lungs_from="none")
    result = ended(work)
    assert np.isfinite(result.difference.data).all()
    assert np.isfinite(result.score.data).all()
    assert "mean_value" in rows(result.regions, None)[0]


@pytest.mark.parametrize("after", [0, 1, 3])
def test_stopped_nothing_is_written(files: dict[str, Path], tmp_path: Path, after: int) -> None:
    asked = iter(range(1000))
    events = list(anomaly(config(files, tmp_path / "out"), lambda: "stop" if next(asked) >= after else "run"))
    assert isinstance(events[-1], Finished)
    assert events[-1].cancelled
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_half_written_has_no_report(files: dict[str, Path], tmp_path: Path, monkeypatch: Any) -> None:
    scan, _ = chest()
    result = mapped(scan, air())
    list(write_map(result, tmp_path))
    assert {p.name for p in tmp_path.iterdir()} == set(FILES)

    def full(self: Any, *_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ScanError, match="No space left on device"):
        list(write_map(result, tmp_path))
    left = {p.name for p in tmp_path.iterdir()}
    assert "report.json" not in left
    assert left <= set(FILES)  # and no part of a file


def test_restore_writes_one_file(files: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "restored.nrrd"
    values = {"scan": str(files["scan"]), "model": str(files["model"]), "out": str(out), "device": "cpu"}
    events = list(restore(RestoreConfig(**values, precision="32")))
    restored, scan = read_volume(out), read_volume(files["scan"])
    assert restored.geometry.matches(scan.geometry)
    assert isinstance(events[-1], Finished)
    model = read_model(files["model"])
    assert -1000 <= restored.data.min() <= restored.data.max() <= 1000
    assert np.ptp(restored.data) > 0
    assert model.card.title == "tiny"
    orders = iter(["run", "run", "stop"])
    out.unlink()
    events = list(restore(RestoreConfig(**values), lambda: next(orders)))
    assert events[-1] == Finished(cancelled=True)
    assert not out.exists()


def refusals() -> Iterator[tuple[str, type[GenesisError], dict[str, Any]]]:
    yield "found nothing there", ModelError, {"model": "nowhere.safetensors"}
    yield "expected a mask on the grid of turned", GeometryError, {"lungs": "MASK"}
    yield "no such file or folder", ScanError, {"scan": "nowhere.nii.gz"}
    yield "expected one that is here", GenesisError, {"device": "cuda:77"}
    yield "multiples of 8", GenesisError, {"window": (12, 16, 16)}


@pytest.mark.parametrize(("sentence", "error", "changes"), list(refusals()))
def test_wrong_input_is_refused(
    files: dict[str, Path], tmp_path: Path, sentence: str, error: type[GenesisError], changes: dict[str, Any]
) -> None:
    changes = {key: str(files["mask"]) if value == "MASK" else value for key, value in changes.items()}
    with pytest.raises(error, match=sentence):
        list(anomaly(config(files, tmp_path, **changes)))
    assert not (tmp_path / "report.json").exists()


def test_model_and_scan_must_fit() -> None:
    scan, _ = chest()
    mr = Volume(scan.data, scan.geometry, "MR", None, "head")
    with pytest.raises(DomainError, match="head: expected a CT in HU, on which the model was trained, got MR"):
        mapped(mr, air())
    with pytest.raises(DomainError, match="found no lungs"):
        mapped(scan.with_data(np.full_like(scan.data, 40)), air())
    two = Volume(np.repeat(scan.data, 2, axis=0), scan.geometry, "CT", "HU", "two")
    with pytest.raises(ModelError, match=r"two: expected 1 channel\(s\) by the model, got 2"):
        mapped(two, air())
    with pytest.raises(DomainError, match="got one without any voxel"):
        mapped(scan, air(), scan.with_data(np.zeros(SHAPE, np.uint8)))


def test_what_differs_from_the_training_is_said() -> None:
    scan, _ = chest()
    settings = AnomalySettings(device="cpu", overlap=0.0)
    events = list(anomaly_volume(scan, air(spacing=(2.0, 0.7, 0.7)), settings))
    assert any("differ from those the model was trained on (0.70 x 0.70 x 2.00 mm)" in e.message
               for e in events if isinstance(e, Warned))  # fmt: skip
    events = list(anomaly_volume(scan, air(intensity=Percentile()), settings))
    assert any("not trained on CT in HU" in e.message for e in events if isinstance(e, Warned))
