from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from genesis3d.errors import ConfigError
from genesis3d.labels import IGNORE
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.unet3d import UNet3d
from genesis3d.tasks.classification import Classification
from genesis3d.tasks.restoration import Restoration


class Fixed(nn.Module):
    def __init__(self, *foreground: float) -> None:
        super().__init__()
        p = torch.tensor(foreground)
        self.logits = nn.Parameter(torch.stack([(1 - p).log(), p.log()], dim=1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits


def run(target: list[int], *foreground: float, **settings: object) -> dict[str, torch.Tensor]:
    module = Classification.parse(settings).build(Fixed(*foreground))
    with torch.no_grad():
        return module(torch.zeros(len(target), 1, 8, 8, 8), torch.tensor(target))


def test_loss_and_figures_by_hand() -> None:
    result = run([1, 0, 0, IGNORE], 0.9, 0.2, 0.6, 0.9)
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.4)) / 3
    assert float(result["loss"]) == pytest.approx(expected, rel=1e-5)
    assert float(result["accuracy"]) == pytest.approx(2 / 3)
    assert result["intersection"].tolist() == [1, 1]
    assert result["predicted"].tolist() == [1, 2]
    assert result["reference"].tolist() == [2, 1]
    assert result["output"][:, 1].tolist() == pytest.approx([0.9, 0.2, 0.6, 0.9])
    assert not result["output"].requires_grad
    alike = run([1, 0, 0, IGNORE], 0.9, 0.2, 0.6, 0.9, class_weights="inverse")["loss"]
    assert float(alike) == pytest.approx((-math.log(0.9) - (math.log(0.8) + math.log(0.4)) / 2) / 2, rel=1e-5)


def test_a_batch_of_which_nothing_is_known_has_no_loss_and_no_gradient() -> None:
    module = Classification().build(Classifier(encoder=UNet3d(width=2), hidden=4))
    result = module(torch.rand(2, 1, 8, 8, 16), torch.tensor([IGNORE, IGNORE]))
    result["loss"].backward()
    assert float(result["loss"].detach()) == 0
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())


def test_the_network_is_an_encoder_an_average_and_a_head() -> None:
    network = Classifier(encoder=UNet3d(width=4), hidden=8)
    module = network.build(2).eval()
    x = torch.rand(2, 1, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        average = module.encode(x)[-1].mean(dim=(2, 3, 4))
        first, last = module.head[0], module.head[2]
        torch.testing.assert_close(module(x), last(first(average).relu()))
    assert not [name for name, _ in module.named_parameters() if "up_tr" in name or "out_tr" in name]
    assert isinstance(Classifier(encoder=UNet3d(width=4), head="linear").build().head[-1], nn.Linear)
    published = Classifier(encoder=UNet3d(width=32))
    assert [tuple(p.shape) for p in published.build().head.parameters()] == [(1024, 512), (1024,), (2, 1024), (2,)]


def test_a_model_file_rebuilds_a_classifier(tmp_path) -> None:  # type: ignore[no-untyped-def]
    from genesis3d.networks.model_file import ModelCard, read_model, write_model

    network = Classifier(in_channels=2, out_channels=3, encoder=UNet3d(width=4, norm="instance"), head="linear")
    module, path = network.build(4), tmp_path / "classifier.safetensors"
    write_model(path, module, ModelCard(network=network, task=Classification().to_dict(), activation="softmax"))
    found = read_model(path)
    assert found.card.network == network
    assert found.card.purpose == "classification"
    x = torch.rand(1, 2, 8, 8, 16)
    with torch.no_grad():
        assert torch.equal(found.module(x), module.eval()(x))


def test_what_does_not_fit_is_refused_in_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"one answer a sub-volume \(classifier\), got unet3d"):
        Classification().build(UNet3d(width=2, out_channels=2))
    with pytest.raises(ConfigError, match="at least 2 output channels"):
        Classification().build(Classifier(out_channels=1))
    with pytest.raises(ConfigError, match="an answer for every voxel, got a classifier"):
        Restoration().build(Classifier(out_channels=1))
    with pytest.raises(ConfigError, match="a network with an encoder of its own, got classifier"):
        Classifier.parse({"encoder": {"name": "classifier"}})
    with pytest.raises(ConfigError, match=r"a target of shape \(2,\), got \(2, 1\)"):
        Classification().build(Fixed(0.1, 0.2))(torch.zeros(2, 1, 8, 8, 8), torch.zeros(2, 1, dtype=torch.long))
    with pytest.raises(ConfigError, match="class indices from 0 to 1 or 255, got 4"):
        run([4, 0], 0.1, 0.2)


def test_its_card_says_whose_encoder_it_has() -> None:
    from genesis3d.networks.describe import network_line
    from genesis3d.networks.model_file import ModelCard

    line = network_line(ModelCard(network=Classifier(encoder=UNet3d(width=4), head="linear")))
    assert line == "classifier with the encoder of unet3d, width 4, 0.1 M parameters, batch norm, 1 channel to 2"
