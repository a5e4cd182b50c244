from __future__ import annotations

import numpy as np
import pytest

from genesis3d.errors import ConfigError, DomainError
from genesis3d.intensity import (
    INTENSITIES,
    CtIntensity,
    Percentile,
    Scale,
    common_intensity,
    default_intensity,
    require_unit,
)
from genesis3d.volume import Geometry, Volume


def scan(values: np.ndarray, **known: str) -> Volume:
    return Volume(values.reshape(1, 1, 1, -1), Geometry((1, 1, values.size)), **known)  # type: ignore[arg-type]


def test_ct_maps_the_papers_window_to_the_unit_interval() -> None:
    scale = CtIntensity().fit(scan(np.array([0]), modality="CT", unit="HU"))
    unit = scale.to_unit(np.array([-2000, -1000, 0, 1000, 3000], dtype=np.int16))
    assert unit.tolist() == [0, 0, 0.5, 1, 1]
    assert unit.dtype == np.float32


def test_the_map_is_invertible_inside_its_window() -> None:
    scale = Scale(-160.0, 240.0)
    values = np.linspace(-160, 240, 99)
    assert np.allclose(scale.from_unit(scale.to_unit(values)), values, atol=1e-3)
    assert scale.width == 400


def test_percentiles_are_the_scans_own() -> None:
    scale = Percentile(low=1, high=99).fit(scan(np.arange(101.0)))
    assert (scale.low, scale.high) == (1, 99)


@pytest.mark.parametrize("name", ["percentile", "minmax"])
@pytest.mark.parametrize("values", [np.zeros(5), np.full(5, np.nan)])
def test_a_scan_without_contrast_is_refused(name: str, values: np.ndarray) -> None:
    with pytest.raises(DomainError, match="expected voxels of more than one finite value"):
        INTENSITIES.parse(name).fit(scan(values))


def test_nan_does_not_reach_the_percentiles() -> None:
    scale = INTENSITIES.parse("minmax").fit(scan(np.array([np.nan, 1, 3])))
    assert (scale.low, scale.high) == (1, 3)


def test_the_default_follows_modality_and_unit() -> None:
    assert default_intensity(scan(np.array([0]), modality="CT", unit="HU")).name == "ct"
    assert default_intensity(scan(np.array([0]), modality="CT")).name == "percentile"
    assert default_intensity(scan(np.array([0]), modality="MR")).name == "percentile"


def test_a_reversed_window_is_refused() -> None:
    with pytest.raises(ConfigError, match="low < high"):
        INTENSITIES.parse({"name": "ct", "low": 100, "high": -100})


def test_the_domain_is_a_rule() -> None:
    require_unit(0.0, 1.0, "sub-volume")
    with pytest.raises(DomainError, match=r"sub-volume: expected intensities in \[0, 1\].*got -2 to 3"):
        require_unit(-2.0, 3.0, "sub-volume")
    with pytest.raises(DomainError):
        require_unit(float("nan"), 1.0, "sub-volume")


def test_by_modality_is_the_default_of_each_scan() -> None:
    ct, mr = scan(np.array([-500, 500]), modality="CT", unit="HU"), scan(np.arange(1000), modality="MR")
    auto = INTENSITIES.parse("auto")
    assert auto.fit(ct) == CtIntensity().fit(ct)
    assert auto.fit(mr) == Percentile().fit(mr)
    assert common_intensity([CtIntensity(), CtIntensity()]) == CtIntensity()
    assert common_intensity([CtIntensity(), Percentile()]) == auto
