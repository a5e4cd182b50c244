from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from torch import nn

from genesis3d.errors import ModelError
from genesis3d.intensity import Percentile
from genesis3d.networks.model_file import ModelCard, model_path, read_card, read_model, write_model
from genesis3d.networks.unet3d import UNet3d

NETWORK = UNet3d(width=2, norm="instance")


def card(**changes: object) -> ModelCard:
    fields = {"network": NETWORK, "activation": "residual", "intensity": Percentile(low=1), "patch": (16, 16, 16)}
    return ModelCard.parse(fields | {"metrics": {"ratio": 0.5}, "step": 7} | changes)


@pytest.fixture(scope="module")
def module() -> nn.Module:
    return NETWORK.build(4)


@pytest.fixture
def path(tmp_path: Path, module: nn.Module) -> Path:
    write_model(tmp_path / "model.safetensors", module, card())
    return tmp_path / "model.safetensors"


def test_a_file_rebuilds_its_network(path: Path, module: nn.Module) -> None:
    loaded = read_model(path)
    x = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        torch.testing.assert_close(loaded.module(x), module.eval()(x), atol=0, rtol=0)
    assert not loaded.module.training
    assert loaded.card == card(created=loaded.card.created)
    assert read_card(path) == loaded.card


def test_half_precision_storage_is_read_as_float32(tmp_path: Path, module: nn.Module) -> None:
    write_model(tmp_path / "half", module, card(), dtype="float16")
    write_model(tmp_path / "full", module, card())
    loaded = read_model(tmp_path / "half").module
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    for ours, theirs in zip(loaded.parameters(), module.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    assert (tmp_path / "half").stat().st_size < 0.75 * (tmp_path / "full").stat().st_size


def test_the_card_is_read_without_torch(path: Path) -> None:
    code = (
        "import sys; from genesis3d.networks.model_file import read_card\n"
        f"assert read_card({str(path)!r}).step == 7; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_writing_returns_the_digest_and_leaves_no_other_file(tmp_path: Path, module: nn.Module) -> None:
    digest = write_model(tmp_path / "a.safetensors", module, card())
    assert digest == sha256((tmp_path / "a.safetensors").read_bytes()).hexdigest()
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_a_full_disk_leaves_the_earlier_file(path: Path, module: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ModelError, match=r"model\.safetensors: .* No space left"):
        write_model(path, module, card(step=8))
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == [path.name]


def test_a_run_gives_its_best_else_its_last(tmp_path: Path, module: nn.Module) -> None:
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(ModelError, match=r"best\.safetensors or last"):
        read_card(tmp_path)
    write_model(tmp_path / "checkpoints/last.safetensors", module, card(step=9))
    assert read_card(tmp_path).step == 9
    write_model(tmp_path / "checkpoints/best.safetensors", module, card(step=5))
    assert read_model(tmp_path).card.step == 5
    assert model_path(tmp_path).name == "best.safetensors"


def rewritten(path: Path, change: dict[str, object]) -> None:
    data = path.read_bytes()
    n = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + n])
    values = json.loads(header["__metadata__"]["genesis3d"]) | change
    header["__metadata__"]["genesis3d"] = json.dumps(values)
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + n :])


@pytest.mark.parametrize("read", [read_card, read_model])
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "expected a safetensors file"),
        (b"PK\x03\x04 not a model at all", "expected a safetensors file"),
        (struct.pack("<Q", 2**60) + b"{}", "expected a safetensors file"),
        (struct.pack("<Q", 200_002) + b"[" * 200_001 + b"]", "expected a safetensors file"),
        (struct.pack("<Q", 2) + b"{}", "expected a model of this project"),
        (struct.pack("<Q", 21) + b'{"a":{"data_offsets"}', "expected a safetensors file"),
        (struct.pack("<Q", 26) + b'{"a":{"data_offsets":[9]}}', "expected a safetensors file"),
    ],
)
def test_foreign_bytes_are_refused(tmp_path: Path, read: object, content: bytes, match: str) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=rf"x\.safetensors: {match}"):
        read(tmp_path / "x.safetensors")  # type: ignore[operator]


@pytest.mark.parametrize("read", [read_card, read_model])
@pytest.mark.parametrize("keep", [4, 100, 0.5, 0.999])
def test_a_truncated_file_is_refused(path: Path, read: object, keep: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else int(keep)])
    with pytest.raises(ModelError, match=r"model\.safetensors: .*truncated"):
        read(path)  # type: ignore[operator]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"network": {"name": "resnet99"}}, "expected one of unet3d, resnet3d, classifier, ensemble, got 'resnet99'"),
        ({"network": {"name": "unet3d", "width": 3, "norm": "instance"}}, "expected down_tr.* of shape"),
        ({"network": {"name": "unet3d", "width": 2, "norm": "none"}}, "expected the .* weights of unet3d"),
        ({"schema_version": 99}, "schema_version"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_a_card_that_does_not_fit_is_refused(path: Path, change: dict[str, object], match: str) -> None:
    rewritten(path, change)
    with pytest.raises(ModelError, match=rf"model\.safetensors.*{match}"):
        read_model(path)


def test_weights_that_are_not_finite_are_neither_written_nor_read(path: Path) -> None:
    broken = NETWORK.build()
    with torch.no_grad():
        next(broken.parameters())[0] = float("nan")
    with pytest.raises(ModelError, match="NaN or infinity in down_tr64"):
        write_model(path, broken, card())
    with torch.no_grad():
        next(broken.parameters())[0] = 1e6
    with pytest.raises(ModelError, match="infinity"):
        write_model(path, broken, card(), dtype="float16")
    data = bytearray(path.read_bytes())
    data[-4:] = struct.pack("<f", float("nan"))
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"model\.safetensors: expected finite weights"):
        read_model(path)


def test_another_network_is_not_written_under_a_card(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected"):
        write_model(tmp_path / "m", UNet3d(width=4, norm="instance").build(), card())
    assert not list(tmp_path.iterdir())


def test_nothing_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="found nothing there"):
        read_model(tmp_path / "none.safetensors")
