from __future__ import annotations

import pytest
import torch
from torch import nn

from genesis3d.data.cases import Case, load_cases
from genesis3d.data.sampling import Sampler, SamplingConfig
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.restoration import Restoration
from genesis3d.training.pairs import PairMaker
from genesis3d.training.statistics import WINDOWS, measure_statistics
from genesis3d.transforms import chain_preset

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def pairs(balls: list[Case]) -> PairMaker:
    loaded = load_cases(balls)
    sampler = Sampler(SamplingConfig(patch=(16, 16, 16)), loaded.volumes, loaded.scales)
    return PairMaker(sampler, chain_preset("official"), 0, 8, stream="statistics")


def test_the_statistics_are_those_of_the_present_weights_whatever_the_averages_were(pairs: PairMaker) -> None:
    task = Restoration().build(UNet3d(width=4))
    measure_statistics(task, pairs, CPU, half=False)
    first = {name: value.clone() for name, value in task.state_dict().items()}
    convolution, norm = task.network.down_tr64.ops[0].conv1, task.network.down_tr64.ops[0].bn1
    with torch.no_grad():
        seen = [convolution(pairs.pairs(step).input) for step in range(WINDOWS // 8)]
    mean = torch.stack([x.mean(dim=(0, 2, 3, 4)) for x in seen]).mean(dim=0)
    assert torch.allclose(norm.running_mean, mean, atol=1e-5)
    assert norm.momentum == 0.1
    for other in task.modules():
        if isinstance(other, nn.BatchNorm3d):
            other.running_mean.add_(3.0)  # type: ignore[union-attr]  # it tracks
    measure_statistics(task, pairs, CPU, half=False)
    assert all(torch.equal(value, first[name]) for name, value in task.state_dict().items())


def test_networks_without_running_statistics_are_left_as_they_are(pairs: PairMaker) -> None:
    for norm in ("group", "batch_statistics"):
        task = Restoration().build(UNet3d(width=4, norm=norm))  # type: ignore[arg-type]
        before = {name: value.clone() for name, value in task.state_dict().items()}
        measure_statistics(task, pairs, CPU, half=False)
        assert all(torch.equal(value, before[name]) for name, value in task.state_dict().items())
