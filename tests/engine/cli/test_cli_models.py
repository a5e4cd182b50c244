"""``genesis3d models`` as a user runs it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from genesis3d.cli import main
from genesis3d.data.phantoms import thorax
from genesis3d.files import home
from genesis3d.io import write_volume
from genesis3d.networks import library as library_module
from genesis3d.networks.model_file import ModelCard, read_card, read_model, write_model
from genesis3d.networks.unet3d import UNet3d

NETWORK = UNet3d(width=2, norm="none")


@pytest.fixture(autouse=True)
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "shipped"
    write_model(folder / "genesis-test.safetensors", NETWORK.build(1), ModelCard(network=NETWORK, patch=(16, 16, 16)))
    monkeypatch.setattr(library_module, "SHIPPED", folder)


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    card = ModelCard(title="run", network=NETWORK, step=5, data={"cases": 2, "training": ["k1"], "held_out": ["k2"]})
    write_model(tmp_path / "run/checkpoints/best.safetensors", NETWORK.build(2), card)
    return tmp_path / "run"


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a command; return status, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["genesis3d", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


def test_a_run_enters_the_library_and_leaves_it_anonymous(cli: Any, run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "card.yaml").write_text("title: ours\nattribution:\n- {name: Chests, licence: CC0, scans: 2}\n")
    status, out, _ = cli("models", "import", run_dir, "--name", "mine", "--card", tmp_path / "card.yaml")
    assert (status, out) == (0, f"saved {home() / 'models' / 'mine.safetensors'}\n")
    status, out, _ = cli("models", "list")
    assert [line.split()[:2] for line in out.splitlines()[1:]] == [["genesis-test", "shipped"], ["mine", "yours"]]
    status, out, _ = cli("models", "list", "--json")
    assert [entry["name"] for entry in json.loads(out)] == ["genesis-test", "mine"]
    status, out, _ = cli("models", "show", "mine")
    assert "Title       ours\n" in out
    assert "Chests (2 scans, CC0)" in out
    assert json.loads(cli("models", "show", "mine", "--json")[1])["data"]["training"] == ["k1"]
    for option, training in (("--anonymous", 1), ("--with-keys", ["k1"])):
        status, out, err = cli("models", "export", "mine", tmp_path / f"{option}.safetensors", option)
        assert (status, err) == (0, "")
        assert read_card(tmp_path / f"{option}.safetensors").data["training"] == training
    cli("models", "export", "mine", tmp_path / "half.safetensors", "--half")
    sizes = [(tmp_path / f"{name}.safetensors").stat().st_size for name in ("half", "--anonymous")]
    assert sizes[0] < 0.8 * sizes[1]
    assert read_card(tmp_path / "half.safetensors").data["training"] == 1
    assert cli("models", "remove", "mine")[1] == "removed mine\n"
    assert "mine" not in cli("models", "list")[1]


def test_no_models_yet(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library_module, "SHIPPED", tmp_path / "none")
    status, out, err = cli("models", "list")
    assert status == 0
    assert "no models yet" in out
    assert str(home() / "models") in err


def test_a_licence_is_asked_for_and_given(cli: Any, run_dir: Path) -> None:
    assert "names no licence" in cli("models", "import", run_dir, "--name", "mine")[2]
    status, out, err = cli("models", "import", run_dir, "--name", "mine", "--overwrite", "--licence", "CC BY 4.0")
    assert (status, err) == (0, "")
    assert out.endswith("licence: CC BY 4.0\n")
    assert read_card("mine").licence == "CC BY 4.0"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("show", "nothing"),
            "expected a model file (.safetensors), a run directory or a model of the library (genesis-",
        ),
        (("remove", "genesis-test"), "ships with the project and is never removed"),
        (("import", "RUN", "--name", "../x"), "name: expected up to 80 letters"),
        (("import", "RUN", "--name", "genesis-test"), "this one ships with the project"),
        (("import", "RUN", "--name", "a", "--card", "CARD"), "expected a mapping with some of title,"),
        (("import", "nothing.pt", "--name", "a"), "found nothing there"),
        (("export", "genesis-test", "OUT.xyz"), "expected a name ending in .safetensors, .pt"),
        (("export", "genesis-test", "OUT.onnx", "--half"), "half: expected a safetensors file, got onnx"),
        (("export", "genesis-test", "CARD", "--kind", "safetensors"), "is there already"),
        (("export", "genesis-test", "x.safetensors", "--kind", "odd"), "kind"),
    ],
)
def test_what_cannot_be_is_one_sentence(
    cli: Any, run_dir: Path, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    (tmp_path / "card.yaml").write_text("network: unet3d\n")
    named = {"RUN": str(run_dir), "CARD": str(tmp_path / "card.yaml"), "OUT.xyz": str(tmp_path / "OUT.xyz")}
    status, out, err = cli("models", *(named.get(argument, argument) for argument in arguments))
    assert (status, out) == (2, "")
    assert sentence in err
    assert len(err.splitlines()) == 1


def test_a_name_is_a_model_for_restore_and_anomaly(cli: Any, tmp_path: Path) -> None:
    scan = thorax(shape=(24, 32, 32))
    write_volume(scan, tmp_path / "scan.nii.gz")
    where = ("--model", "genesis-test", "--device", "cpu", "--precision", "32")
    status, _, err = cli("restore", tmp_path / "scan.nii.gz", *where, "--out", tmp_path / "restored.nii.gz")
    assert status == 0, err
    out = tmp_path / "map"
    status, _, err = cli("anomaly", tmp_path / "scan.nii.gz", *where, "--lungs", "none", "--out-dir", out, "--json")
    assert status == 0, err
    assert (out / "report.json").is_file()


def test_the_published_layout_goes_out_and_comes_back(cli: Any, tmp_path: Path) -> None:
    network = UNet3d(width=2, norm="batch_statistics")
    module = network.build(3)
    card = ModelCard(network=network, title="ours", licence="CC0", data={"training": ["0123456789abcdef"]})
    write_model(tmp_path / "ours.safetensors", module, card)
    status, out, err = cli("models", "export", tmp_path / "ours.safetensors", tmp_path / "theirs.pt")
    assert (status, out) == (0, f"saved {tmp_path / 'theirs.pt'}\nlicence: CC0\n"), err
    assert b"0123456789abcdef" not in (tmp_path / "theirs.pt").read_bytes()
    status, out, err = cli("models", "import", tmp_path / "theirs.pt", "--name", "theirs", "--source", "a test")
    assert status == 0, err
    assert "106 of 106 entries match" in out
    assert "a test" in cli("models", "show", "theirs")[1]
    for ours, theirs in zip(module.parameters(), read_model("theirs").module.parameters(), strict=True):
        np.testing.assert_array_equal(ours.detach(), theirs.detach())
    (tmp_path / "bad.pt").write_bytes(b"PK\x03\x04 no weights")
    status, out, err = cli("models", "import", tmp_path / "bad.pt", "--name", "bad")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert not (home() / "models" / "bad.safetensors").exists()


def test_other_projects_weights_go_through_their_importer(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}

    def import_weights(path: str, **options: Any) -> Any:
        asked.update(options, path=path)
        card = ModelCard(network=NETWORK, licence=options["licence"], data={"training": ["k1"]})
        return SimpleNamespace(
            module=NETWORK.build(3), card=card, report=SimpleNamespace(text=lambda: "12 of 12 match")
        )

    def export_weights(model: Any, path: Path, kind: str) -> Any:
        path.write_text(f"{kind} {model.card.data}")
        return SimpleNamespace(notes=("terms of theirs", "NC"))

    fake = ModuleType("genesis3d.workflows.weights")
    fake.import_weights, fake.export_weights = import_weights, export_weights  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "genesis3d.workflows.weights", fake)
    np.save(tmp_path / "weights.pt", np.zeros(4))
    (tmp_path / "weights.pt.npy").rename(tmp_path / "weights.pt")
    arguments = ("--licence", "NC", "--scans", "a.nii", "--scans", "b.nii", "--in-channels", "2", "--source", "web")
    status, out, err = cli("models", "import", tmp_path / "weights.pt", "--name", "theirs", *arguments)
    assert status == 0, err
    assert "12 of 12 match\nlicence: NC\n" in out
    assert asked == {"path": str(tmp_path / "weights.pt"), "batch_norm": "running", "scans": ("a.nii", "b.nii"),
                     "in_channels": 2, "source": "web", "licence": "NC"}  # fmt: skip
    assert read_model("theirs").card.licence == "NC"
    cli("models", "import", tmp_path / "weights.pt", "--name", "theirs", "--overwrite")
    assert asked["batch_norm"] == "auto"
    assert cli("models", "export", "theirs", tmp_path / "x.pth")[2] == "warning: terms of theirs\nwarning: NC\n"
    assert (tmp_path / "x.pth").read_text() == "pytorch {'training': 1}"
