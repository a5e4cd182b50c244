"""The gallery: figures that are known beforehand, pictures that are pictures, tables, curves, and the command."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import matplotlib as mpl
import matplotlib.image
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.errors import ConfigError, GenesisError, ModelError, RunError
from genesis3d.events import Finished, Saved, Started, Stepped, Warned
from genesis3d.intensity import CtIntensity
from genesis3d.io import write_volume
from genesis3d.networks.model_file import LoadedModel, ModelCard, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.training.metrics import MetricsTable
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.curves import running_mean, write_curves
from genesis3d.workflows.gallery import GalleryConfig, gallery, labelled_models
from genesis3d.workflows.gallery_picture import gallery_picture
from genesis3d.workflows.gallery_rows import INPUT, GallerySettings, Row, gallery_rows, get_ready, mean_scores
from genesis3d.workflows.gallery_table import as_file, as_markdown, as_text, records

PATCH = (16, 16, 24)
NETWORK = UNet3d(width=2, norm="none")


def model(activation: str = "residual", low: float = -1000.0, bias: float = 0.0) -> LoadedModel:
    """A network that says ``bias`` everywhere: with ``residual`` and 0 it gives back its input."""
    module = NETWORK.build(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        list(module.parameters())[-1].fill_(bias)
    card = ModelCard(network=NETWORK, activation=activation, intensity=CtIntensity(low=low), patch=PATCH)
    return LoadedModel(module.eval(), card, Path("m.safetensors"))


def ct(shape: tuple[int, int, int] = (24, 40, 40), name: str = "Doe^Jane") -> Volume:
    rng = np.random.default_rng(1)
    hu = rng.normal(-700, 80, shape).astype(np.int16)
    hu[shape[0] // 3 :, 10:30, 10:30] = 40
    hu[:, :2], hu[:, 14:16, 14:16] = -1000, 300
    return Volume(hu[None], Geometry(shape, (2.5, 1.0, 1.0)), "CT", "HU", name)


def rows_of(settings: GallerySettings, **models: LoadedModel) -> list[Row]:
    ready = get_ready(ct(), models or {"same": model()}, settings)
    return [item for item in gallery_rows(ready) if isinstance(item, Row)]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return rows_of(GallerySettings(patch=PATCH, windows=2, seed=4), same=model(), half=model("linear", bias=0.5))


def test_a_model_that_changes_nothing_has_the_figures_of_its_input(rows: list[Row]) -> None:
    assert rows[0].name == "identity"
    assert len(rows) == 12
    for row in rows:
        np.testing.assert_array_equal(row.restored["same"], row.input)
        assert row.scores["same"] == row.scores[INPUT]
        np.testing.assert_array_equal(row.target, rows[0].target)
        assert row.start == rows[0].start
    assert rows[0].scores["same"].mse == 0
    assert rows[0].scores["same"].ssim == pytest.approx(1, abs=1e-5)
    assert rows[3].scores["same"].mse > rows[4].scores["same"].mse > 0  # out-painting hides more than in-painting


def test_figures_are_those_of_the_arrays_shown(rows: list[Row]) -> None:
    row = rows[3]
    error = np.mean((row.target.astype(np.float64) - 0.5) ** 2)
    shown = row.shown["half"]
    assert shown.mse == pytest.approx(error, rel=1e-5)
    assert shown.psnr == pytest.approx(-10 * np.log10(error), abs=1e-3)
    assert shown.constant == pytest.approx(row.target.var(), rel=1e-4)
    assert shown.ratio == pytest.approx(error / row.target.var(), rel=1e-4)
    assert shown != row.scores["half"]  # which is over two sub-volumes


def test_means_run_over_windows_and_outcomes(rows: list[Row]) -> None:
    one = rows_of(GallerySettings(patch=PATCH, windows=1, seed=4))
    for first, both in zip(one, rows, strict=True):
        np.testing.assert_array_equal(first.input, both.input)  # more sub-volumes leave the first as it is
    means = mean_scores(rows)
    assert means["half"].mse == pytest.approx(np.mean([row.scores["half"].mse for row in rows]))
    assert means["half"].ratio == pytest.approx(means["half"].mse / means["half"].constant)
    finite = [row.scores[INPUT].psnr for row in rows[1:]]
    assert means[INPUT].psnr == pytest.approx(np.mean(finite))


def test_a_place_is_taken_moved_inside_or_refused() -> None:
    at = GallerySettings(patch=PATCH, outcomes=("identity",), at=(12, 20, 20))
    (row,) = rows_of(at)
    assert row.start == (4, 12, 8)
    np.testing.assert_allclose(row.target, (ct().data[:, 4:20, 12:28, 8:32].clip(-1000, 1000) + 1000) / 2000, atol=1e-6)
    (corner,) = rows_of(at.replaced(at=(0, 39, 39)))
    assert corner.start == (0, 24, 16)
    with pytest.raises(ConfigError, match=r"inside \(24, 40, 40\), got \(24, 0, 0\)"):
        rows_of(at.replaced(at=(24, 0, 0)))
    ready = get_ready(ct((8, 40, 40)), {"m": model()}, at.replaced(at=(4, 20, 20)))
    assert "smaller than the sub-volume" in ready.warnings[-1]
    assert next(i for i in gallery_rows(ready) if isinstance(i, Row)).start[0] == -4


def test_a_chain_takes_the_place_of_the_outcomes() -> None:
    (row,) = rows_of(GallerySettings(patch=PATCH, chain="inpainting", windows=2))
    assert (row.name, row.said.partition(" (")[0]) == ("chain", "in-painting")


def test_models_must_share_their_intensities_and_fit() -> None:
    with pytest.raises(ModelError, match=r"b: expected the intensities of a .-1000 to 1000., got -900 to 1000"):
        rows_of(GallerySettings(patch=PATCH), a=model(), b=model(low=-900))
    with pytest.raises(ConfigError, match="multiples of 8"):
        rows_of(GallerySettings(patch=(16, 16, 20)))
    with pytest.raises(ConfigError, match="at least one"):
        get_ready(ct(), {}, GallerySettings())


def test_the_picture_is_one_and_names_no_scan(rows: list[Row]) -> None:
    ready = get_ready(ct(), {"same": model()}, GallerySettings(patch=PATCH)).frame
    few = rows[:2]
    png = gallery_picture(ready, few)
    assert png.startswith(b"\x89PNG")
    with mpl.rc_context({"svg.fonttype": "none"}):
        text = gallery_picture(ready, few, ".svg").decode()
    assert "Jane" not in text
    assert "transformed" in text
    assert gallery_picture(ready, few, ".pdf").startswith(b"%PDF")
    pixels = matplotlib.image.imread(io.BytesIO(png))
    assert pixels.shape[1] > pixels.shape[0] > 300  # six columns, two lines
    assert float(pixels.std()) > 0.1


def test_tables_say_the_same_in_every_form(rows: list[Row]) -> None:
    table = records(rows)
    assert len(table) == 13 * 3
    read = list(csv.DictReader(io.StringIO(as_file(table, ".csv").decode())))
    assert [r["outcome"] for r in read[-3:]] == ["mean"] * 3
    assert float(read[5]["mse"]) == table[5]["mse"]
    assert json.loads(as_file(table, ".json")) == table
    markdown = as_markdown(table, "ssim").splitlines()
    assert markdown[0] == "| outcome | transformed input | same | half |"
    assert len(markdown) == 15
    assert as_text(table, "psnr").splitlines()[-1].startswith("mean ")
    assert b"**SSIM**" in as_file(table, ".md")
    with pytest.raises(ConfigError, match="ending in"):
        as_file(table, ".xls")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("gallery")
    write_model(folder / "m.safetensors", model().module, model().card)
    write_volume(ct(), folder / "scan.nii.gz")
    return {"scan": str(folder / "scan.nii.gz"), "model": str(folder / "m.safetensors")}


def test_the_workflow_writes_files_and_tells_its_story(files: dict[str, str], tmp_path: Path) -> None:
    config = GalleryConfig(
        scan=files["scan"], models=(files["model"], f"again={files['model']}"), out=str(tmp_path / "a.png"),
        tables=(str(tmp_path / "a.csv"), str(tmp_path / "a.json")), patch=PATCH, outcomes=("identity", "shuffling"),
        windows=2, device="cpu",
    )  # fmt: skip
    events = list(gallery(config))
    started, last = events[0], events[-1]
    assert isinstance(started, Started)
    assert (started.total, started.detail["models"]) == (4, ["m", "again"])
    assert [e.step for e in events if isinstance(e, Stepped)] == [1, 2, 3, 4]
    assert [Path(e.path).name for e in events if isinstance(e, Saved)] == ["a.png", "a.csv", "a.json"]
    assert isinstance(last, Finished)
    assert last.result["table"] == json.loads((tmp_path / "a.json").read_text())
    assert {r["model"] for r in last.result["table"]} == {INPUT, "m", "again"}
    assert any(isinstance(e, Warned) for e in events)  # NIfTI knows no modality


def test_stopping_writes_nothing(files: dict[str, str], tmp_path: Path) -> None:
    config = GalleryConfig(scan=files["scan"], models=(files["model"],), out=str(tmp_path / "a.png"), patch=PATCH)
    asked = []

    def control() -> str:
        asked.append(1)
        return "stop" if len(asked) > 3 else "run"

    events = list(gallery(config, control))
    assert events[-1] == Finished(cancelled=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"out": "a.gif"}, "a.gif: expected a name ending in .png"),
        ({"tables": ("a.xls",)}, "a.xls: expected a name ending in .csv"),
        ({"out": "nowhere/a.png"}, "its folder does not exist"),
        ({"models": ("nothing.safetensors",)}, "nothing"),
    ],
)
def test_what_cannot_be_is_refused_before_the_scan_is_read(changes: dict, sentence: str) -> None:
    with pytest.raises(GenesisError, match=sentence):
        list(gallery(GalleryConfig(**({"scan": "none.nii", "models": ("none",)} | changes))))


def test_two_models_need_two_labels(files: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="'m' twice; write LABEL=MODEL"):
        labelled_models((files["model"], files["model"]))


def test_the_command(files: dict[str, str], tmp_path: Path) -> None:
    arguments = ["gallery", files["scan"], "--model", files["model"], "--out", str(tmp_path / "a.png"), "--at",
                 "12,20,20", "--outcomes", "identity,inpainting+shuffling", "--set", "patch=[16,16,24]"]  # fmt: skip
    done = CliRunner().invoke(build_app(), arguments)
    assert done.exit_code == 0, done.output
    assert "local shuffling + in-painting" in done.stdout
    assert (tmp_path / "a.png").is_file()
    as_json = CliRunner().invoke(build_app(), [*arguments, "--json"])
    assert json.loads(as_json.stdout.splitlines()[-1])["result"]["windows"] == 1
    bare = CliRunner().invoke(build_app(), ["gallery", files["scan"]])
    assert isinstance(bare.exception, ConfigError)
    assert "models" in str(bare.exception)


def test_curves_are_drawn_from_metrics(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        table = MetricsTable(tmp_path / name / "metrics.csv")
        for step in range(1, 40):
            table.append(step, {"loss": 1 / step})
            if step % 10 == 0:
                table.append(step, {"validation_loss": 1 / step, "validation_ratio": 20 / (step + 9)})
    one = write_curves([tmp_path / "a"], tmp_path / "one.png").read_bytes()
    two = CliRunner().invoke(
        build_app(), ["curves", str(tmp_path / "a"), str(tmp_path / "b"), "--out", str(tmp_path / "two.svg")]
    )
    assert one.startswith(b"\x89PNG")
    assert two.exit_code == 0
    assert (tmp_path / "two.svg").read_text().count("<path") > 10
    with pytest.raises(RunError, match="nothing: expected a run directory"):
        write_curves([tmp_path / "nothing"], tmp_path / "one.png")
    with pytest.raises(ConfigError, match="ending in"):
        write_curves([tmp_path / "a"], tmp_path / "one.gif")
    assert running_mean([2.0, 4.0, 6.0], 2) == [2.0, 3.0, 5.0]
