"""The model library: names, listing without torch, adding checked copies, cards of today and of before."""

from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from genesis3d.errors import ModelError
from genesis3d.files import home
from genesis3d.intensity import Percentile
from genesis3d.networks import library as library_module
from genesis3d.networks.card import DataSource
from genesis3d.networks.describe import card_rows, figure_lines, scans_line
from genesis3d.networks.library import Library, is_name, mismatches
from genesis3d.networks.model_file import ModelCard, has_card, model_path, read_card, read_model, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume

NETWORK = UNet3d(width=2, norm="none")


def card(**changes: object) -> ModelCard:
    fields = {"network": NETWORK, "title": "tiny", "spacing": (2.5, 0.7, 0.7), "step": 7, "modality": "CT"}
    return ModelCard.parse(fields | changes)


def write(path: Path, **changes: object) -> Path:
    write_model(path, NETWORK.build(1), card(**changes))
    return path


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of models that ship, with one."""
    folder = tmp_path / "shipped"
    write(folder / "genesis-test.safetensors", title="shipped")
    monkeypatch.setattr(library_module, "SHIPPED", folder)
    return folder


@pytest.mark.parametrize("name", ["a", "Genesis-chest_CT.v2", "9", "x" * 80])
def test_names(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a/b", "a\\b", "../a", "a b", "a.", "nul", "COM1", "aux.x", "x" * 81, "a\n",
     "é", "a.safetensors", "a.SafeTensors", "C:a"],
)  # fmt: skip
def test_what_is_no_name_is_refused(name: str, shipped: Path) -> None:
    with pytest.raises(ModelError, match="name: expected up to 80 letters"):
        Library().place(name)
    assert not home().joinpath("models").exists()


def test_a_model_is_added_found_by_name_and_removed(tmp_path: Path, shipped: Path) -> None:
    file = write(tmp_path / "mine.safetensors")
    library = Library()
    added = library.add(file, "mine")
    assert added.path == home() / "models" / "mine.safetensors"
    assert added.path.read_bytes() == file.read_bytes()
    assert [(model.name, model.shipped) for model in library.models()] == [("genesis-test", True), ("mine", False)]
    assert model_path("mine") == library.find("mine") == added.path
    assert read_model("genesis-test").card.title == "shipped"
    with pytest.raises(ModelError, match="'mine': is in the library already"):
        library.add(file, "mine")
    with pytest.raises(ModelError, match="'MINE': is in the library already"):
        library.add(file, "MINE")
    library.add(write(tmp_path / "other.safetensors", title="other"), "mine", overwrite=True)
    assert read_card("mine").title == "other"
    library.remove("mine")
    with pytest.raises(ModelError, match=r"mine: expected .*a model of the library \(genesis-test\)"):
        model_path("mine")
    with pytest.raises(ModelError, match=r"'mine': expected a model of the library \(genesis-test\)"):
        library.remove("mine")


def test_a_shipped_model_is_neither_replaced_nor_removed(tmp_path: Path, shipped: Path) -> None:
    file = write(tmp_path / "mine.safetensors")
    for overwrite in (False, True):
        with pytest.raises(ModelError, match="'genesis-test': expected another name, this one ships"):
            Library().add(file, "genesis-test", overwrite)
    with pytest.raises(ModelError, match="'genesis-test': ships with the project and is never removed"):
        Library().remove("genesis-test")
    (home() / "models").mkdir()
    (home() / "models" / "genesis-test.safetensors").write_bytes(file.read_bytes())  # one that was there before
    assert [(model.shipped, model.card and model.card.title) for model in Library().models()] == [(False, "tiny")]
    Library().remove("genesis-test")
    assert Library().models()[0].shipped


def test_a_file_or_run_wins_over_a_name(tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("genesis-test").mkdir()
    assert model_path("genesis-test") == shipped / "genesis-test.safetensors"  # a folder that is no run
    write(Path("genesis-test/checkpoints/last.safetensors"), title="run")
    assert read_card("genesis-test").title == "run"
    with pytest.raises(ModelError, match="found nothing there"):
        model_path("../shipped/genesis-test")


def test_a_broken_file_is_listed_with_its_problem(shipped: Path) -> None:
    folder = home() / "models"
    folder.mkdir()
    (folder / "broken.safetensors").write_bytes(b"\0" * 40)
    (folder / ".mine.safetensors.12.part").write_bytes(b"half")
    (folder / ".hidden.safetensors").write_bytes(b"half")
    (folder / "notes.txt").write_text("no model")
    (folder / "folder.safetensors").mkdir()
    broken, odd = Library().models()[1:]
    assert (broken.name, broken.card) == ("broken", None)
    assert "expected a safetensors file" in broken.problem
    assert odd.card is None
    with pytest.raises(ModelError, match="cannot be removed"):
        Library().remove("folder")
    Library().remove("broken")


def test_what_is_no_whole_model_does_not_enter(tmp_path: Path, shipped: Path) -> None:
    data = write(tmp_path / "mine.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(data[:-8])
    nan = bytearray(data)
    nan[-4:] = struct.pack("<f", float("nan"))
    (tmp_path / "nan.safetensors").write_bytes(nan)
    for name, match in (("cut", "truncated"), ("nan", "finite"), ("none", "found nothing there")):
        with pytest.raises(ModelError, match=match):
            Library().add(tmp_path / f"{name}.safetensors", "new")
    assert Library().names() == ["genesis-test"]


def test_a_full_disk_leaves_the_old_model(tmp_path: Path, shipped: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Library().add(write(tmp_path / "mine.safetensors"), "mine")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match="No space left"):
        Library().add(write_free(tmp_path), "mine", overwrite=True)
    assert os.listdir(home() / "models") == ["mine.safetensors"]
    assert read_card("mine").title == "tiny"


def write_free(tmp_path: Path) -> Path:
    """A model beside the library, written although the disk is full."""
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "mine.safetensors").read_bytes())
    return tmp_path / "other.safetensors"


def test_another_card_leaves_the_weights_as_they_are(tmp_path: Path, shipped: Path) -> None:
    file = tmp_path / "half.safetensors"
    write_model(file, NETWORK.build(1), card(), dtype="float16")
    model = Library().add(file, "half", card=card(title="renamed", licence="CC0"))
    assert read_card("half").title == "renamed"
    ours, theirs = (p.read_bytes() for p in (model.path, file))
    n = 2 * NETWORK.parameters()
    assert ours[-n:] == theirs[-n:]
    assert struct.unpack("<Q", ours[:8])[0] % 8 == 0
    read_model("half")
    with pytest.raises(ModelError, match="a card of the network it holds"):
        Library().add(file, "wrong", card=ModelCard(network=UNet3d(width=4)))


def test_listing_loads_no_torch(tmp_path: Path, shipped: Path) -> None:
    Library().add(write(tmp_path / "mine.safetensors"), "mine")
    code = (
        "import sys; from genesis3d.networks.library import Library\n"
        "assert [m.name for m in Library().models()][-1] == 'mine'; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_card_of_before_still_opens(tmp_path: Path) -> None:
    """The fields of the first published header, and no other."""
    values = card().to_dict()
    for name in ("modality", "description", "limits", "trained_by", "attribution", "parents"):
        del values[name]
    old = ModelCard.parse(values)
    assert old.schema_version == 1
    assert old.modalities == ("CT",)
    assert ModelCard.parse(values | {"intensity": {"name": "percentile"}}).modalities == ()


def test_a_shared_card_says_how_many_cases_not_which() -> None:
    data = {"cases": 3, "training": ["0a", "1b"], "held_out": ["2c"], "voxels": 9, "fingerprint": "ab",
            "store": {"keys": ["0a"], "spacing": [1.0, 2.0]}}  # fmt: skip
    shared = card(data=data).anonymous()
    assert shared.data == {
        "cases": 3,
        "training": 2,
        "held_out": 1,
        "voxels": 9,
        "store": {"keys": 1, "spacing": [1.0, 2.0]},
    }
    assert shared.anonymous() == shared
    assert "0a" not in json.dumps(shared.to_dict())


def test_what_is_a_model_of_ours(tmp_path: Path) -> None:
    assert has_card(write(tmp_path / "a.safetensors"))
    (tmp_path / "b").write_bytes(b"PK\x03\x04")
    assert not has_card(tmp_path / "b")
    with pytest.raises(ModelError, match="cannot be read"):
        has_card(tmp_path / "c")


def volume(
    modality: str | None = "CT", unit: str | None = "HU", spacing: tuple[float, ...] = (2.5, 0.7, 0.7), c: int = 1
):
    return Volume(np.zeros((c, 4, 4, 4), np.int16), Geometry((4, 4, 4), spacing), modality, unit)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("scan", "changes", "expected"),
    [
        (volume(), {}, []),
        (volume(None, "HU"), {}, []),
        (volume(spacing=(3.7, 0.7, 0.5)), {}, []),
        (volume("MR", None), {}, ["trained on CT, the scan is MR"]),
        (volume(None, None), {}, ["trained on CT in HU, the scan has no HU"]),
        (volume("MR", None), {"modality": "CT, MR", "intensity": Percentile()}, []),
        (volume(), {"modality": "MR", "intensity": Percentile()}, ["trained on MR, the scan is CT"]),
        (volume(), {"modality": "", "intensity": Percentile()}, ["not trained on CT in HU"]),
        (volume("PT", None), {"modality": "CT, MR", "intensity": Percentile()}, ["on CT and MR, the scan is PT"]),
        (volume(spacing=(4.0, 0.7, 0.7)), {}, [r"(0.70 x 0.70 x 4.00 mm) differ from those"]),
        (volume(spacing=(2.5, 0.7, 0.4)), {}, [r"(0.40 x 0.70 x 2.50 mm) differ"]),
        (volume(spacing=(4.0, 0.7, 0.7)), {"spacing": None}, []),
        (volume(c=2), {}, ["takes 1 channel(s), the scan has 2"]),
        (volume("MR", None, (9.0, 1.0, 1.0), 2), {}, ["is MR", "differ", "channel"]),
    ],
)
def test_what_differs_is_said(scan: Volume, changes: dict[str, object], expected: list[str]) -> None:
    said = mismatches(card(**changes), scan)
    assert len(said) == len(expected)
    for sentence, part in zip(said, expected, strict=True):
        assert part in sentence


def test_the_spacing_is_compared_along_the_body_s_axes() -> None:
    """A sagittal series: its slices lie along L."""
    turned = Geometry((4, 4, 4), (0.7, 2.5, 0.7), direction=((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))
    assert mismatches(card(), Volume(np.zeros((1, 4, 4, 4)), turned, "CT", "HU")) == []


def test_a_card_as_text() -> None:
    full = card(
        description="Restores chests.", limits="Few scans.", trained_by="A group", patch=(32, 64, 64), licence="CC0",
        attribution=(DataSource(name="Chests", licence="CC BY 4.0", by="B. Ody", url="https://example.org", scans=3),),
        metrics={"loss": 0.01, "ratio": 0.25, "official_ratio": 0.5, "official_loss": 0.1, "odd": 2.0}
        | {"measured_at_step": 6.0},
        data={"cases": 3, "training": ["a", "b"], "held_out": 1, "voxels": 2_500_000}, parents=("genesis-test",),
    )  # fmt: skip
    rows = dict(card_rows(full))
    assert rows["Data"] == (
        "Chests (3 scans, B. Ody, CC BY 4.0, https://example.org)\n3 cases, 2 for training, 1 held out, 2.5 M voxels"
    )
    assert rows["Spacing"] == "0.70 x 0.70 x 2.50 mm (x by y by z)"
    assert rows["Patch"] == "64 x 64 x 32 voxels (x by y by z)"
    assert (rows["Trained by"], rows["Limits"], rows["Began with"]) == ("A group", "Few scans.", "genesis-test")
    assert scans_line(full) == "CT, -1000 to 1000 HU · 0.70 x 0.70 x 2.50 mm"
    lines = figure_lines(full)
    assert lines[0].startswith("ratio 0.25: error over that of the best constant")
    assert lines[2:] == ["ratio 0.5 under the official chain of transformations", "odd 2", "measured at step 6"]
    bare = dict(card_rows(ModelCard(network=NETWORK)))
    assert "Figures" not in bare
    assert "not for clinical use" in bare["Limits"]
