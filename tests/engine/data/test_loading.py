from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import numpy as np
import psutil
import pytest

from genesis3d.data.cases import case_of, find_cases
from genesis3d.data.loading import load_cases, memory_estimate
from genesis3d.data.phantoms import thorax
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.errors import ScanError
from genesis3d.intensity import CtIntensity, Percentile
from genesis3d.io import write_volume
from genesis3d.rng import Address
from genesis3d.volume import Volume

SMALL = (24, 40, 40)


def test_scans_on_disk_become_sub_volumes(tmp_path: Path) -> None:
    write_volume(thorax(SMALL), tmp_path / "one.nii.gz")
    write_volume(thorax(SMALL, seed=1), tmp_path / "two.mha")
    (tmp_path / "bad.nrrd").write_bytes(b"NRRD0004 and then nothing of use")
    loaded = load_cases(find_cases(tmp_path))
    assert [case.name for case in loaded.cases] == ["one", "two"]
    assert any("bad is left out" in sentence for sentence in loaded.warnings)
    np.testing.assert_array_equal(loaded.volumes[0].data, thorax(SMALL).data)
    sampler = Sampler(SamplingConfig(patch=(8, 16, 16)), loaded.volumes, loaded.scales)
    cut = sampler.cut(sampler.locate(Address(0)))
    assert cut.shape == (1, 8, 16, 16)
    assert cut.std() > 0.01


def test_memory_is_estimated_from_headers(tmp_path: Path) -> None:
    write_volume(thorax(SMALL), tmp_path / "one.nii.gz")
    on_disk = find_cases(tmp_path)
    in_memory = case_of(thorax(SMALL))
    assert memory_estimate(on_disk) == 4 * 24 * 40 * 40
    assert memory_estimate([*on_disk, in_memory]) == 6 * 24 * 40 * 40
    (tmp_path / "one.nii.gz").unlink()
    assert memory_estimate(on_disk) == 0


def test_scans_that_leave_no_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = namedtuple("memory", "total available")(100 * 2**30, 1 * 2**30)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    with pytest.raises(ScanError, match=r"the first 1 scans take .* expected fewer or smaller"):
        load_cases([case_of(thorax(SMALL))])


@pytest.mark.real
def test_real_scans_are_found_and_sampled(real_data: Path) -> None:
    found = find_cases([real_data / "open/chest_ct", real_data / "open/dicom"])
    assert len(found) >= 9
    loaded = load_cases(found[:3])
    sampler = Sampler(SamplingConfig(rule="official"), loaded.volumes, loaded.scales)
    for step in range(6):
        cut = sampler.cut(sampler.locate(Address(0, step)))
        assert cut.shape == (1, 32, 64, 64)
        assert cut.std() > 0.01


def test_ct_and_mr_are_each_mapped_by_their_modality() -> None:
    ct = thorax(SMALL)
    mr = Volume(ct.data * 2 + 3000, ct.geometry, "MR", name="mr")
    both = load_cases([case_of(mr), case_of(ct)])
    assert both.intensity.name == "auto"
    assert both.scales[0] == Percentile().fit(mr)
    assert both.scales[1] == CtIntensity().fit(ct)
    assert load_cases([case_of(mr)]).intensity == Percentile()
    assert load_cases([case_of(ct)]).intensity == CtIntensity()
    assert load_cases([case_of(mr), case_of(ct)], Percentile()).intensity == Percentile()
