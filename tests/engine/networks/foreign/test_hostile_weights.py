"""Every way in which a weight file can lie: each is refused in one sentence, nothing in it is run."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genesis3d.errors import ModelError
from genesis3d.networks.card import ModelCard
from genesis3d.networks.foreign.reading import read_foreign
from genesis3d.networks.model_file import LoadedModel
from genesis3d.networks.unet3d import UNet3d
from genesis3d.workflows.weights import export_weights, import_weights

Maker = Callable[[Path], None]


class Program:
    """What a hostile pickle does: leave a trace when it is opened."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (self.trace,)


def small() -> dict[str, torch.Tensor]:
    return {f"module.{key}": value for key, value in UNet3d(width=2).build().state_dict().items()}


def saved(content: object, *, zipped: bool = True) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=zipped)
    return buffer.getvalue()


def rewritten(data: bytes, change: Callable[[str, bytes], bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(out, "w", compression) as target:
        for member in source.infolist():
            target.writestr(member.filename, change(member.filename, source.read(member)))
    return out.getvalue()


def with_pickle(data: bytes, pickled: bytes) -> bytes:
    return rewritten(data, lambda name, old: pickled if name.endswith(".pkl") else old)


def overlapping() -> bytes:
    """An archive whose directory names one entry many times: small, and large when unpacked."""
    data = bytearray(saved({"state_dict": {"a": torch.zeros(4096)}}))
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as source, zipfile.ZipFile(out, "w") as target:
        for member in source.infolist():
            target.writestr(member.filename, source.read(member))
        big = next(m for m in target.infolist() if m.file_size > 9000)
        for i in range(50):
            copy = zipfile.ZipInfo(f"{big.filename}{i}")
            for name in ("header_offset", "file_size", "compress_size", "CRC"):
                setattr(copy, name, getattr(big, name))
            target.filelist.append(copy)
            target.NameToInfo[copy.filename] = copy
        target._didModify = True
    return out.getvalue()


def broken(key: str, value: torch.Tensor) -> bytes:
    return saved({"state_dict": small() | {key: value}})


CONV = "module.down_tr64.ops.0.conv1.weight"
NAN = torch.full((2, 1, 3, 3, 3), torch.nan)
TORCH: dict[str, tuple[Callable[[str], bytes], str]] = {
    "empty": (lambda t: b"", "got something else"),
    "text": (lambda t: b"epoch,loss\n1,0.5\n" * 9, "got something else"),
    "truncated": (lambda t: saved({"state_dict": small()})[:-500], "truncated or damaged"),
    "truncated old": (lambda t: saved({"state_dict": small()}, zipped=False)[:-500], "refuses|truncated"),
    "pickle": (lambda t: pickle.dumps(Program(t), 2), r"names 'posix.mkdir'; nothing of it was run"),
    "new pickle": (lambda t: pickle.dumps(Program(t), 4), "builds objects; nothing of it was run"),
    "plain pickle": (lambda t: pickle.dumps({"state_dict": 1}, 2), "got another pickle"),
    "pickle bomb": (
        lambda t: with_pickle(saved({"a": torch.zeros(1)}), pickle.dumps({"state_dict": Program(t)}, 2)),
        "names 'posix.mkdir'",
    ),
    "pickle bomb old": (lambda t: saved({"a": torch.zeros(1), "b": Program(t)}, zipped=False), "names 'posix.mkdir'"),
    "bytearray": (
        lambda t: with_pickle(saved({}), b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."),
        "names '__builtin__.bytearray'",
    ),
    "damaged pickle": (lambda t: with_pickle(saved({"a": torch.zeros(1)}), b"\x80\x02}q\x00X\xff\xff"), "damaged"),
    "zip bomb": (
        lambda t: rewritten(saved({"a": torch.zeros(10**6)}), lambda n, d: d, zipfile.ZIP_DEFLATED),
        "compressed ones",
    ),
    "overlapping zip": (lambda t: overlapping(), "claim more than the file's"),
    "many entries": (lambda t: many_entries(), "at most 20000 entries"),
    "other zip": (lambda t: rewritten(saved({}), lambda n, d: d).replace(b"data.pkl", b"data.txt"), "another archive"),
    "list": (lambda t: saved([torch.zeros(3)]), "expected a dictionary of weights, got list"),
    "no tensors": (lambda t: saved({"epoch": 3, "state_dict": {}}), "found none"),
    "NaN": (lambda t: broken(CONV, NAN), "got NaN or infinity in down_tr64.ops.0.conv1.weight"),
    "infinity": (lambda t: broken(CONV, NAN.nan_to_num(torch.inf)), "NaN or infinity"),
    "negative variance": (
        lambda t: broken("module.down_tr64.ops.0.bn1.running_var", -torch.ones(2)), "got a negative one"
    ),
    "one voxel as a terabyte": (lambda t: broken("x", torch.zeros(1).expand(2**20, 2**20)), "more than the file"),
    "sparse": (lambda t: broken("module.x", torch.eye(3).to_sparse()), "names 'torch._utils._rebuild_sparse_tensor'"),
    "meta": (lambda t: broken("module.x", torch.empty(2, device="meta")), "names 'torch._utils._rebuild_meta"),
    "complex": (lambda t: broken("module.x", torch.zeros(2, dtype=torch.complex64)), "refuses|another kind|names"),
    "twice": (lambda t: broken(CONV.removeprefix("module."), NAN), "got two behind different prefixes"),
    "storage of a terabyte": (lambda t: longer_storage(), "refuses"),
    "nnU-Net v1": (
        lambda t: saved({"state_dict": {"conv_blocks_context.0.blocks.0.conv.weight": torch.zeros(1)}}),
        r"weights of nnU-Net v1 \(Generic_UNet.*no network here can host",
    ),
    "Swin": (lambda t: saved({"state_dict": {"module.swinViT.patch_embed.proj.weight": torch.zeros(1)}}), "Swin UNETR"),
    "other network": (lambda t: saved({"fc.weight": torch.zeros(3, 3)}), r"expected weights of a 3D U-Net .* got 1 "),
}  # fmt: skip


def many_entries() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for i in range(20_001):
            archive.writestr(str(i), b"")
    return out.getvalue()


def longer_storage() -> bytes:
    """A file whose list promises 2**31 - 1 values where 8 are stored."""
    data = saved({"state_dict": {"a": torch.zeros(8)}})
    return rewritten(
        data, lambda name, old: old.replace(b"K\x08tq", b"J\xff\xff\xff\x7ftq") if name[-1] == "l" else old
    )


@pytest.mark.parametrize("kind", TORCH)
def test_a_hostile_torch_file_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    make, message = TORCH[kind]
    trace = tmp_path / "trace"
    path = tmp_path / "weights.pt"
    path.write_bytes(make(str(trace)))
    with pytest.raises(ModelError, match=message) as refused:
        import_weights(path)
    assert str(path) in str(refused.value)
    assert len(str(refused.value)) < 500
    assert "\n" not in str(refused.value)
    assert not trace.exists()


@pytest.mark.parametrize("wide", [1, 40])
def test_wrong_shapes_are_refused(wide: int, tmp_path: Path) -> None:
    state = {key: torch.zeros(wide, *value.shape) for key, value in small().items()}
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"expected the shapes of"):
        import_weights(tmp_path / "weights.pt")


def test_too_few_weights_are_refused_with_their_share(tmp_path: Path) -> None:
    state = {key: value for key, value in small().items() if "down_tr" in key}
    torch.save({"state_dict": state}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"expected at least 60% .* got (3|4)\d%; the first that does not: up_tr256"):
        import_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_is_no_file_is_refused(what: str, tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    if what == "folder":
        path.mkdir()
    with pytest.raises(ModelError, match="expected a file of weights, found none"):
        read_foreign(path)


def group(file: h5py.File) -> h5py.Group:
    created = file.create_group("model_weights/depth_0_conv/depth_0_conv")
    assert isinstance(created, h5py.Group)
    return created


def external_link(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.zeros(3)
    with h5py.File(path, "w") as file:
        group(file)["kernel:0"] = h5py.ExternalLink("other.h5", "/secret")


def soft_link(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group(file)["kernel:0"] = h5py.SoftLink("/elsewhere")


def loop(path: Path) -> None:
    with h5py.File(path, "w") as file:
        inner = group(file)
        inner["again"] = file["model_weights"]


def virtual(path: Path) -> None:
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["secret"] = np.zeros(3)
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(path.with_name("other.h5"), "secret", (3,))
    with h5py.File(path, "w") as file:
        group(file).create_virtual_dataset("kernel:0", layout)


def outside(path: Path) -> None:
    path.with_name("raw").write_bytes(b"\0" * 12)
    with h5py.File(path, "w") as file:
        group(file).create_dataset("kernel:0", (3,), "f4", external=[(str(path.with_name("raw")), 0, 12)])


def dataset(**options: object) -> Maker:
    def make(path: Path) -> None:
        with h5py.File(path, "w") as file:
            group(file).create_dataset("kernel:0", **options)

    return make


def truncated(path: Path) -> None:
    dataset(data=np.zeros((3, 3, 3, 1, 2), "f4"))(path)
    path.write_bytes(path.read_bytes()[:-300])


def two_heads(path: Path) -> None:
    with h5py.File(path, "w") as file:
        group(file)["kernel:0"] = np.zeros((3, 3, 3, 1, 2), "f4")
        for name in ("conv3d_1", "conv3d_2"):
            file[f"model_weights/{name}/{name}/kernel:0"] = np.zeros((1, 1, 1, 2, 1), "f4")


KERAS: dict[str, tuple[Maker, str]] = {
    "truncated": (truncated, "truncated or damaged"),
    "external link": (external_link, "got a link at model_weights"),
    "soft link": (soft_link, "got a link at"),
    "endless groups": (loop, "groups without end"),
    "virtual": (virtual, "kept elsewhere"),
    "outside": (outside, "kept elsewhere"),
    "compression bomb": (dataset(data=np.zeros(10**6, "f4"), compression="gzip"), "compressed"),
    "a petabyte, unwritten": (dataset(shape=(2**48,), dtype="f4", chunks=(2**20,)), r"claims .* more than the file"),
    "text": (dataset(data=np.array(b"lambda x: x")), "expected numbers"),
    "objects": (dataset(data=["code"], dtype=h5py.string_dtype()), "expected numbers"),
    "NaN": (dataset(data=np.full((3, 3, 3, 1, 2), np.nan, "f4")), "NaN or infinity in depth_0_conv/kernel"),
    "wrong shape": (dataset(data=np.zeros((3, 3), "f4")), "expected the shapes of"),
    "too little": (dataset(data=np.zeros((3, 3, 3, 1, 2), "f4")), "expected at least 60%"),
    "two heads": (two_heads, "expected one last convolution"),
    "nothing": (lambda path: h5py.File(path, "w").close(), "found none"),
}  # fmt: skip


@pytest.mark.parametrize("kind", KERAS)
def test_a_hostile_keras_file_is_refused_in_one_sentence(kind: str, tmp_path: Path) -> None:
    make, message = KERAS[kind]
    path = tmp_path / "weights.h5"
    make(path)
    with pytest.raises(ModelError, match=message) as refused:
        import_weights(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_code_in_a_keras_file_is_never_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["model_config"] = b'{"class_name": "Lambda"}'
        group(file)["kernel:0"] = np.zeros((3, 3, 3, 1, 2), "f4")
    monkeypatch.setattr(h5py.AttributeManager, "__getitem__", lambda *_: pytest.fail("an attribute was read"))
    assert list(read_foreign(tmp_path / "weights.h5").tensors) == ["depth_0_conv/kernel"]


def lying_header(path: Path) -> None:
    save_file({"a": torch.zeros(4)}, path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"[4]", b"[9]"))


def long_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**60) + b"{" + b" " * 50)


def half(path: Path) -> None:
    save_file({"a": torch.zeros(400)}, path)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize("make", [lying_header, long_header, half])
def test_a_damaged_safetensors_file_is_refused(make: Maker, tmp_path: Path) -> None:
    make(tmp_path / "weights.safetensors")
    with pytest.raises(ModelError, match="truncated or damaged"):
        read_foreign(tmp_path / "weights.safetensors")


def test_a_model_of_this_project_is_not_foreign(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(4)}, tmp_path / "m.safetensors", metadata={"genesis3d": "{}"})
    with pytest.raises(ModelError, match="a model of this project already"):
        import_weights(tmp_path / "m.safetensors")


def test_a_damaged_card_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": small(), "genesis3d": "{no json"}, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match="the card in it is damaged"):
        import_weights(tmp_path / "weights.pt")


@pytest.mark.parametrize("kind", ["zip", "old", "keras", "safetensors"])
def test_a_file_with_wrong_bytes_anywhere_is_read_or_refused(kind: str, tmp_path: Path) -> None:
    network = UNet3d(width=2, decoder="nearest")
    path, module = tmp_path / "weights", network.build()
    if kind == "keras":
        export_weights(LoadedModel(module, ModelCard(network=network), path), path, "keras")
    elif kind == "safetensors":
        save_file(module.state_dict(), path)
    else:
        path.write_bytes(saved({"state_dict": module.state_dict()}, zipped=kind == "zip"))
    whole, draw = path.read_bytes(), np.random.default_rng(5)
    for _ in range(15):
        damaged = bytearray(whole)
        for place in draw.integers(0, 6000, 4):  # where the structure is; the rest are values
            damaged[place] = draw.integers(256)
        path.write_bytes(bytes(damaged))
        with suppress(ModelError):  # any other exception fails
            assert import_weights(path).report.share >= 0.6
