"""Stores: what is read is what was written, and whatever is broken is one sentence."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genesis3d.data.cases import Case, case_of, find_cases, load_cases
from genesis3d.data.channels import Group
from genesis3d.data.lazy import LazyArray
from genesis3d.data.loading import joined
from genesis3d.data.phantoms import thorax
from genesis3d.data.preparation import PreparationSettings, prepare_case
from genesis3d.data.sampling import Location, Sampler, SamplingConfig
from genesis3d.data.shards import ATTRIBUTE, LEVELS, ShardReader, encode, shard_name
from genesis3d.data.storage import storage_at
from genesis3d.data.store import SCHEMA, ScanStore, StoreHeader, is_store, open_store, read_records, write_index
from genesis3d.errors import ConfigError, GenesisError, GeometryError, ScanError
from genesis3d.intensity import Window
from genesis3d.rng import Address
from genesis3d.volume import Geometry, Volume

SHAPE = (40, 70, 66)
PATCH = (8, 16, 16)


def scan(seed: int, modality: str = "CT") -> Volume:
    volume = thorax(SHAPE, seed=seed)
    if modality == "CT":
        return Volume(volume.data, volume.geometry, "CT", "HU", f"ct-{seed}")
    return Volume(volume.data * 3.0 + 4000, volume.geometry, modality, None, f"{modality.lower()}-{seed}")


def make(folder: Path | str, cases: list[Case], *, index: bool = True, **settings: Any) -> Path | str:
    storage, chosen = storage_at(folder), PreparationSettings.parse(settings)
    header = StoreHeader(schema_version=SCHEMA, settings=chosen.to_dict())
    storage.write("zarr.json", json.dumps(
        {"zarr_format": 3, "node_type": "group", "attributes": {ATTRIBUTE: header.to_dict()}}).encode())  # fmt: skip
    for case in cases:
        outcome = prepare_case(Group(case.name, case.key, (case,)), chosen, storage)
        assert outcome.record is not None, outcome.problem
    if index:
        write_index(storage, header, list(read_records(storage).values()))
    return folder


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return [case_of(scan(0)), case_of(scan(1)), case_of(scan(2, "MR"))]


@pytest.fixture(scope="module")
def made(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(make(tmp_path_factory.mktemp("store") / "set", cases, crop=False))


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "copy"))


def test_a_native_store_of_ct_gives_bit_for_bit_what_the_scans_give(cases: list[Case], made: Path) -> None:
    loaded, stored = load_cases(cases[:2]), open_store(made).loaded()
    assert [case.name for case in stored.cases] == ["ct-0", "ct-1", "mr-2"]
    assert [case.key for case in stored.cases[:2]] == [case.key for case in loaded.cases]
    config = SamplingConfig(patch=PATCH, rule="official", border=(2, 4, 4))
    files, store = (Sampler(config, part.volumes[:2], part.scales[:2]) for part in (loaded, stored))
    for step in range(20):
        location = files.locate(Address(3, step))
        assert store.locate(Address(3, step)) == location
        np.testing.assert_array_equal(store.cut(location), files.cut(location))


def test_other_scans_come_back_within_half_a_level(cases: list[Case], made: Path) -> None:
    volume, store = cases[2].load(), open_store(made)
    unit = load_cases(cases[2:]).scales[0].to_unit(volume.data)
    difference = np.abs(store.scale.to_unit(store.volume(2).data[...]) - unit)
    assert float(difference.max()) <= 0.5 / LEVELS + 1e-6
    case = store.cases[2]
    assert (case.modality, case.intensity.name, case.shape, case.channels) == ("MR", "percentile", SHAPE, 1)
    assert store.intensity.name == "auto"


@pytest.mark.parametrize("rule", ["default", "official", "paper", "anywhere"])
def test_an_address_gives_its_sub_volume_again_by_every_rule(made: Path, rule: str) -> None:
    config = SamplingConfig.parse({"patch": PATCH, "rule": rule, "border": (2, 4, 4), "balance": "modalities"})
    first, second = (open_store(made).loaded() for _ in range(2))
    a, b = (Sampler(config, part.volumes, part.scales) for part in (first, second))
    for step in range(10):
        location = a.locate(Address(0, step))
        assert b.locate(Address(0, step)) == location
        np.testing.assert_array_equal(a.cut(location), b.cut(location))


def test_any_zarr_reader_opens_a_case(made: Path) -> None:
    import zarr

    store = open_store(made)
    array = zarr.open_group(made, mode="r")[store.cases[1].key]
    np.testing.assert_array_equal(array[...], store.volume(1).data[...])
    assert array.chunks == (1, 32, 32, 32)


def test_slices_are_those_of_the_array(made: Path) -> None:
    data: Any = open_store(made).volume(0).data
    whole = np.asarray(data)
    assert (data.shape, data.size, data.ndim, data.dtype) == (whole.shape, whole.size, 4, whole.dtype)
    for index in (np.s_[:, 3:9, 30:34, 60:70], np.s_[0, 39], np.s_[..., -1], np.s_[0, :, 5:5], np.s_[0, 1, 2, 3],
                  np.s_[:], np.s_[:, -4:, ..., :7]):  # fmt: skip
        np.testing.assert_array_equal(data[index], whole[index])
    for wrong in (np.s_[:, ::2], np.s_[0, 40]):
        with pytest.raises(IndexError):
            data[wrong]


def test_a_crop_is_a_view_that_reads_nothing(made: Path) -> None:
    store = open_store(made)
    slab = store.volume(0).crop((32, 0, 0), (8, 70, 66)).crop((1, 2, 3), (4, 5, 6))
    assert isinstance(slab.data, LazyArray)
    whole = store.volume(0).data[...]
    np.testing.assert_array_equal(slab.data[...], whole[:, 33:37, 2:7, 3:9])
    np.testing.assert_allclose(slab.geometry.origin, store.volume(0).geometry.to_world((33, 2, 3)))
    with pytest.raises(GeometryError, match="inside"):
        store.volume(0).crop((38, 0, 0), (3, 1, 1))


def test_only_the_chunks_of_a_box_are_read(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage, taken = storage_at(made), []
    store = open_store(made)
    spans = storage.spans
    monkeypatch.setattr(storage, "spans", lambda name, wanted: taken.extend(wanted) or spans(name, wanted))
    reader, shape = ShardReader(storage), (1, *SHAPE)
    reader.read(store.cases[0].key, shape, (0, 0, 0), (8, 16, 16))
    assert len(taken) == 1
    reader.read(store.cases[0].key, shape, (0, 16, 0), (8, 40, 16))
    assert len(taken) == 2  # the first chunk is remembered
    assert sum(length for _, length in taken) < 2 * 2 * 32**3 + 100


def test_threads_read_the_same(made: Path) -> None:
    store = open_store(made)
    whole = [store.volume(i).data[...] for i in range(3)]
    fresh = open_store(made)

    def same(n: int) -> bool:
        d, h, w = n % 30, n % 50, (7 * n) % 50
        return np.array_equal(fresh.volume(n % 3).data[:, d : d + 8, h : h + 9, w : w + 9],
                              whole[n % 3][:, d : d + 8, h : h + 9, w : w + 9])  # fmt: skip

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(same, range(60)))


def test_balance_by_modality_and_the_draws_of_before() -> None:
    data = np.random.default_rng(0).integers(-1000, 1000, (1, 20, 30, 30)).astype(np.int16)
    volumes = [Volume(data, Geometry((20, 30, 30)), kind) for kind in ("CT", "CT", "CT", "CT", "MR")]
    scales = load_cases([case_of(volumes[0])]).scales[:1] * 5
    old, new = (Sampler(SamplingConfig.parse({"patch": PATCH, "balance": b}), volumes, scales)
                for b in ("scans", "modalities"))  # fmt: skip
    counts = [sum(s.locate(Address(1, step)).case == 4 for step in range(400)) / 400 for s in (old, new)]
    assert counts[0] == pytest.approx(0.2, abs=0.06)
    assert counts[1] == pytest.approx(0.5, abs=0.08)
    assert len({new.locate(Address(1, step)).case for step in range(60)}) == 5
    # drawn before balance existed
    assert [old.locate(Address(5, step)).case for step in range(12)] == [
        int((Address(5, step) / "case").generator().integers(5)) for step in range(12)
    ]


def test_a_store_at_a_url(cases: list[Case], made: Path) -> None:
    url = f"memory://{made.parent.name}/set"
    make(url, cases, crop=False)
    assert is_store(url)
    there, here = open_store(url), open_store(made)
    assert there.fingerprint == here.fingerprint
    np.testing.assert_array_equal(
        there.volume(1).data[:, 5:13, 20:36, 30:46], here.volume(1).data[:, 5:13, 20:36, 30:46]
    )
    with pytest.raises(ScanError, match="found none"):
        open_store(url + "-else")
    with pytest.raises(ConfigError, match="fsspec package"):
        open_store("nosuchthing://bucket/store")


def test_the_fingerprint_follows_from_settings_and_voxels_alone(cases: list[Case], made: Path, tmp_path: Path) -> None:
    before = open_store(made).fingerprint
    renamed = [Case("other", f"{i:016x}", volume=case.volume) for i, case in enumerate(reversed(cases))]
    assert open_store(make(tmp_path / "a", renamed, crop=False)).fingerprint == before
    assert open_store(make(tmp_path / "b", cases[:2], crop=False)).fingerprint != before
    assert open_store(make(tmp_path / "c", cases, crop=True, margin=200)).fingerprint != before


def test_neither_paths_nor_the_folder_s_name_are_in_a_store(tmp_path: Path) -> None:
    from genesis3d.io import write_volume

    folder = tmp_path / "doe_jane_1960"
    folder.mkdir()
    write_volume(scan(0), folder / "scan.nii.gz")
    store = Path(make(tmp_path / "out", list(find_cases(folder))))
    for file in store.rglob("*"):
        assert not file.is_file() or b"doe_jane" not in file.read_bytes()


def test_a_store_without_index_is_read_case_by_case_and_says_so(cases: list[Case], made: Path, copied: Path) -> None:
    (copied / "index.jsonl").unlink()
    store = open_store(copied)
    assert not store.finished
    assert store.cases == open_store(made).cases
    assert "has not come to an end" in store.loaded().warnings[0]


def rewrite(path: Path, change: Callable[[Any], Any]) -> None:
    values = json.loads(path.read_text())
    change(values)
    path.write_text(json.dumps(values))


def cut(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda p: (p / "index.jsonl").write_text('{"cases": [{'), "index.jsonl: expected the list of cases"),
        (lambda p: cut(p / "index.jsonl", lambda raw: raw.rpartition(b"\n")[0]), "fingerprint"),
        (lambda p: cut(p / "index.jsonl", lambda raw: raw[:-9]), "index.jsonl"),
        (lambda p: (p / "index.jsonl").write_bytes(b"\xff\n[3]\n7"), "index.jsonl"),
        (lambda p: (p / "index.jsonl").write_bytes(b""), "index.jsonl"),
        (lambda p: (p / "zarr.json").write_text("{"), "other Zarr data"),
        (lambda p: rewrite(p / "zarr.json", lambda v: v.update(attributes={})), "other Zarr data"),
        (lambda p: rewrite(p / "zarr.json", lambda v: v["attributes"][ATTRIBUTE].update(schema_version=9)), "sion 9"),
        (lambda p: rewrite(p / "zarr.json", lambda v: v["attributes"][ATTRIBUTE].update(levels=9)), "8000 for 1.0"),
        (lambda p: (p / "zarr.json").unlink(), "found none"),
        (lambda p: [shutil.rmtree(p), p.write_text("x")], "got a file"),
        (lambda p: [shutil.rmtree(q) if q.is_dir() else q.unlink() for q in p.glob("[0-9a-fi]*")], "empty store"),
    ],
)  # fmt: skip
def test_a_broken_store_is_refused_in_one_sentence(copied: Path, break_it: Callable[[Path], Any], said: str) -> None:
    break_it(copied)
    with pytest.raises(ScanError, match=said) as refused:
        open_store(copied)
    assert str(copied) in str(refused.value)
    assert "\n" not in str(refused.value)


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x55
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("break_it", "said"),
    [
        (lambda p: flip(p / "c/0/0/0/0", 40), "checksum"),
        (lambda p: flip(p / "c/0/0/0/0", -20), "checksum"),
        (lambda p: (p / "c/0/0/0/0").write_bytes((p / "c/0/0/0/0").read_bytes()[:5000]), "checksum"),
        (lambda p: (p / "c/0/0/0/0").unlink(), "missing"),
        (lambda p: (p / "c/0/0/0/0").write_bytes(b""), "checksum"),
        (lambda p: (p / "zarr.json").unlink(), "missing"),
        (lambda p: (p / "zarr.json").write_text("[]"), "got None of None"),
        (lambda p: shutil.rmtree(p), "missing"),
        (lambda p: rewrite(p / "zarr.json", lambda v: v.update(data_type="float16")), "expected uint16"),
        (lambda p: rewrite(p / "zarr.json", lambda v: v.update(shape=[1, 2, 3, 4])), "expected uint16 of"),
        (lambda p: rewrite(p / "zarr.json", lambda v: v.update(codecs=[])), "expected one shard"),
    ],
)  # fmt: skip
def test_a_damaged_case_is_named_when_it_is_read(copied: Path, break_it: Callable[[Path], Any], said: str) -> None:
    store = open_store(copied)
    break_it(copied / store.cases[1].key)
    np.testing.assert_array_equal(store.volume(0).data[:, :8, :8, :8].shape, (1, 8, 8, 8))
    with pytest.raises(ScanError, match=said) as refused:
        store.volume(1).data[...]
    assert f"case ct-1 ({store.cases[1].key})" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_chunk_of_another_size_is_refused_before_it_is_unpacked(copied: Path) -> None:
    import google_crc32c

    store = open_store(copied)
    path = copied / shard_name(store.cases[0].key)
    content = bytearray(path.read_bytes())
    grid = 2 * 3 * 3
    index = np.frombuffer(bytes(content[-16 * grid - 4 : -4]), "<u8").reshape(-1, 2)
    offset, length = (int(n) for n in index[0])
    content[offset + 4 : offset + 8] = (2**31 - 1).to_bytes(4, "little")
    body = bytes(content[offset : offset + length - 4])
    content[offset + length - 4 : offset + length] = google_crc32c.value(body).to_bytes(4, "little")
    path.write_bytes(bytes(content))
    with pytest.raises(ScanError, match="expected a chunk of 65536 bytes"):
        store.volume(0).data[:, :4, :4, :4]


def test_several_channels_lie_together() -> None:
    data = np.random.default_rng(0).integers(0, LEVELS, (3, 35, 40, 33)).astype(np.uint16)
    shard, header = encode(data)
    storage = storage_at("memory://channels-test")
    storage.write(shard_name("k"), shard)
    storage.write("k/zarr.json", json.dumps(header).encode())
    box = ShardReader(storage).read("k", data.shape, (30, 3, 20), (35, 40, 33))
    np.testing.assert_array_equal(box, data[:, 30:35, 3:40, 20:33])


def test_stores_and_scans_together(cases: list[Case], made: Path, tmp_path: Path) -> None:
    stored, loaded = open_store(made).loaded(), load_cases(cases[:1])
    both = joined([stored, loaded])
    assert len(both) == 4
    assert both.intensity.name == "auto"
    assert both.fingerprint == stored.fingerprint
    assert both.nbytes == loaded.nbytes
    assert joined([loaded]) is loaded
    window = load_cases(cases[:1], Window(low=0, high=9))
    with pytest.raises(ConfigError, match="alike"):
        joined([stored, window])
    two = Volume(np.repeat(cases[0].load().data, 2, axis=0), cases[0].load().geometry, "CT", "HU")
    with pytest.raises(ConfigError, match="channels"):
        joined([stored, load_cases([case_of(two)])])


def test_a_folder_of_scans_with_a_store_in_it(made: Path, tmp_path: Path) -> None:
    from genesis3d.io import write_volume

    write_volume(scan(0), tmp_path / "a.mha")
    shutil.copytree(made, tmp_path / "below" / "set")
    found = find_cases(tmp_path)
    assert [case.name for case in found] == ["a"]
    with pytest.raises(GenesisError, match="store of prepared scans"):
        find_cases(made)


def test_a_location_beyond_a_small_scan_is_padded_as_in_memory(cases: list[Case], made: Path) -> None:
    config = SamplingConfig(patch=(64, 64, 64), rule="anywhere")
    loaded, stored = load_cases(cases[:1]), open_store(made).loaded()
    a, b = Sampler(config, loaded.volumes, loaded.scales), Sampler(config, stored.volumes[:1], stored.scales[:1])
    location = a.locate(Address(0))
    assert isinstance(location, Location)
    np.testing.assert_array_equal(a.cut(location), b.cut(location))


MEASURE = """
import json, sys, psutil
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.data.store import open_store
from genesis3d.rng import Address
loaded = open_store(sys.argv[1]).loaded()
sampler = Sampler(SamplingConfig(patch=(16, 48, 48), rule="anywhere"), loaded.volumes, loaded.scales)
for step in range(150):
    sampler.cut(sampler.locate(Address(0, step)))
process = psutil.Process()
print(json.dumps([process.memory_info().rss, len(process.open_files()), "torch" in sys.modules]))
"""


def test_memory_and_open_files_do_not_grow_with_the_number_of_cases(tmp_path: Path) -> None:
    import subprocess
    import sys

    make(tmp_path / "one", [case_of(thorax((64, 128, 128)))], crop=False)
    storage = storage_at(tmp_path / "one")
    (record,) = read_records(storage).values()
    header = json.loads(storage.read(f"{record.key}/zarr.json"))
    found = []
    for count in (12, 60):
        many = storage_at(tmp_path / f"{count}")
        many.write("zarr.json", storage.read("zarr.json"))
        for number in range(count):
            own = record.replaced(key=f"{number:016x}", name=f"case {number}")
            (tmp_path / f"{count}" / shard_name(own.key)).parent.mkdir(parents=True)
            os.link(tmp_path / "one" / shard_name(record.key), tmp_path / f"{count}" / shard_name(own.key))
            many.write(f"{own.key}/zarr.json", json.dumps(header | {"attributes": {ATTRIBUTE: own.to_dict()}}).encode())
        command = [sys.executable, "-c", MEASURE, many.url]
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    (little, _, _), (much, files, torch) = found
    # the 48 cases more are 96 MiB of voxels
    assert much - little < 24 * 2**20
    assert files == 0
    assert not torch


def test_a_store_is_told_by_its_name_or_its_content(made: Path, tmp_path: Path) -> None:
    assert is_store(made)
    assert is_store(tmp_path / "new.zarr")
    assert is_store("s3://bucket/set")
    assert not is_store(tmp_path)
    assert isinstance(open_store(str(made)), ScanStore)
