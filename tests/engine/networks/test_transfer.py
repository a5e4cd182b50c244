from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest
import torch

from genesis3d.errors import ModelError
from genesis3d.labels import LabelClass
from genesis3d.networks import Network
from genesis3d.networks.classifier import Classifier
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.networks.resnet3d import ResNet3d
from genesis3d.networks.transfer import target_network, transfer
from genesis3d.networks.unet3d import UNet3d

GENESIS = UNet3d(width=4)


def saved(folder: Path, network: Network, seed: int = 1, title: str = "Genesis") -> str:
    """A model file whose weights and statistics are all different from a new network's."""
    module = network.build(seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.add_(torch.rand(value.shape, generator=generator) * 0.1 + 0.01)
    path = folder / f"{network.name}-{seed}.safetensors"
    write_model(path, module, ModelCard(network=network, title=title))
    return str(path)


def weights(model: str) -> dict[str, torch.Tensor]:
    from genesis3d.networks.model_file import read_model

    return dict(read_model(model).module.state_dict())


def test_encoder_and_decoder_are_the_models_and_the_head_is_new(tmp_path: Path) -> None:
    model = saved(tmp_path, GENESIS)
    network = target_network(model, 3)
    assert network == GENESIS.replaced(out_channels=3)
    module, fresh, theirs = network.build(5), network.build(5).state_dict(), weights(model)
    given = transfer(model, network, module)
    for name, value in module.state_dict().items():
        assert torch.equal(value, fresh[name] if name.startswith("out_tr") else theirs[name]), name
    assert len(given.matched) == 104
    assert given.parent == f"Genesis (SHA-256 {sha256(Path(model).read_bytes()).hexdigest()})"
    assert given.card.network == GENESIS
    assert given.sentence == (
        "104 of 106 weights (99.9% of their values: encoder and decoder) are those of Genesis; the head is new."
    )


def test_the_encoder_alone_goes_into_another_decoder(tmp_path: Path) -> None:
    model = saved(tmp_path, GENESIS)
    network = GENESIS.replaced(out_channels=2, decoder="nearest")
    module, fresh, theirs = network.build(5), network.build(5).state_dict(), weights(model)
    given = transfer(model, network, module, "encoder")
    for name, value in module.state_dict().items():
        assert torch.equal(value, theirs[name] if name.startswith("down_tr") else fresh[name]), name
    assert "the encoder) are those of Genesis; the rest is new." in given.sentence
    with pytest.raises(ModelError, match=r"got one of network.decoder=transpose \(here: nearest\)"):
        transfer(model, network, module)


@pytest.mark.parametrize("network", [GENESIS, ResNet3d(width=4, depth=10, dilated=True)], ids=lambda n: n.name)
def test_repeated_channels_give_the_activations_of_one(tmp_path: Path, network: Network) -> None:
    model = saved(tmp_path, network)
    wide = target_network(model, 2, in_channels=3)
    module, one = wide.build(5), network.build()
    given = transfer(model, wide, module)
    one.load_state_dict(weights(model))
    x = torch.rand(1, 1, network.stride, 2 * network.stride, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        ours, theirs = module.eval().encode(x.repeat(1, 3, 1, 1, 1)), one.eval().encode(x)
    for mine, their in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, their, atol=1e-5, rtol=1e-4)
    assert "its first convolution is repeated from 1 to 3 channel(s)" in given.sentence


def test_two_channels_become_four_each_keeping_its_own_weights(tmp_path: Path) -> None:
    model = saved(tmp_path, GENESIS.replaced(in_channels=2))
    network = target_network(model, 2, in_channels=4)
    module, first = network.build(), "down_tr64.ops.0.conv1.weight"
    transfer(model, network, module)
    theirs = weights(model)[first]
    assert torch.equal(module.state_dict()[first], torch.cat([theirs, theirs], dim=1) / 2)
    fewer = target_network(model, 2, in_channels=1)
    module = fewer.build()
    transfer(model, fewer, module)
    torch.testing.assert_close(module.state_dict()[first], theirs.sum(dim=1, keepdim=True))


def test_a_segmentation_of_the_same_classes_keeps_its_head(tmp_path: Path) -> None:
    network = GENESIS.replaced(out_channels=3)
    model = saved(tmp_path, network)
    module = network.build(5)
    given = transfer(model, network, module, "all")
    assert all(torch.equal(value, weights(model)[name]) for name, value in module.state_dict().items())
    assert given.sentence == "106 of 106 weights (100.0% of their values: the whole network) are those of Genesis."
    other = GENESIS.replaced(out_channels=4)
    with pytest.raises(ModelError, match=r"got one of network.out_channels=3 \(here: 4\)"):
        transfer(model, other, other.build(), "all")
    named = tmp_path / "named.safetensors"
    names = ("background", "liver", "spleen")
    classes = tuple(LabelClass(value=value, name=name) for value, name in enumerate(names))
    write_model(named, network.build(2), ModelCard(network=network, classes=classes))
    transfer(str(named), network, module, "all", classes)
    transfer(str(named), network, module, "all", classes[1:])  # the background goes without saying
    with pytest.raises(ModelError, match="of the classes spleen, liver to keep its head, got one of liver, spleen"):
        transfer(str(named), network, module, "all", (classes[0], classes[2], classes[1]))


def test_an_encoder_goes_into_a_classifier_and_back(tmp_path: Path) -> None:
    model = saved(tmp_path, GENESIS)
    network = target_network(model, 2, purpose="classification", head="linear")
    assert network == Classifier(out_channels=2, encoder=GENESIS, head="linear")
    module, theirs = network.build(5), weights(model)
    given = transfer(model, network, module)  # encoder and decoder: it has no decoder
    assert all(torch.equal(module.state_dict()[name], theirs[name.removeprefix("encoder.")]) for name in given.matched)
    assert len(given.matched) == 56
    assert given.sentence.endswith("the encoder) are those of Genesis; the head is new.")
    again = saved(tmp_path, network, seed=2, title="a classifier")
    back = target_network(again, 3)
    assert back == GENESIS.replaced(out_channels=3)
    unet = back.build(6)
    given = transfer(again, back, unet)
    assert all(torch.equal(unet.state_dict()[name], weights(again)[f"encoder.{name}"]) for name in given.matched)
    same = network.build(7)
    assert len(transfer(again, network, same, "all").matched) == len(same.state_dict())


def test_another_network_is_refused_naming_what_differs(tmp_path: Path) -> None:
    model = saved(tmp_path, GENESIS)
    for changes, said in (({"width": 8}, "network.width=4 (here: 8)"), ({"norm": "instance"}, "network.norm=batch")):
        network = GENESIS.replaced(out_channels=2, **changes)
        module = network.build()
        before = {name: value.clone() for name, value in module.state_dict().items()}
        with pytest.raises(ModelError) as error:
            transfer(model, network, module)
        assert said in str(error.value)
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    other = ResNet3d(width=4, depth=10)
    with pytest.raises(ModelError, match=r"network\.name=unet3d"):
        transfer(model, other, other.build(), "encoder")
    with pytest.raises(ModelError, match="found nothing there"):
        target_network(str(tmp_path / "nothing.safetensors"), 2)


def test_without_a_model_the_network_is_a_new_one() -> None:
    assert target_network(None, 4, 2) == UNet3d(width=16, in_channels=2, out_channels=4)
    assert target_network(None, 2, purpose="classification") == Classifier(encoder=UNet3d(width=16))


def test_the_head_of_an_opacity_model_finds_the_first_class(tmp_path: Path) -> None:
    network = UNet3d(width=2, out_channels=2)
    theirs = network.build(3).eval()
    path = tmp_path / "opacity.safetensors"
    write_model(path, theirs, ModelCard(network=network, task={"name": "opacity"}, activation="opacity"))
    ours = network.build(4).eval()
    lesion = (LabelClass(value=0, name="background"), LabelClass(value=1, name="lesion"))
    given = transfer(str(path), network, ours, "all", lesion)
    assert "what it calls opacity is the first class" in given.sentence
    x = torch.rand(1, 1, 16, 16, 16)
    with torch.inference_mode():
        torch.testing.assert_close(ours(x).softmax(1)[:, 1], theirs(x)[:, 1].sigmoid())
    with pytest.raises(ModelError, match=r"got one of network.out_channels=2 \(here: 3\)"):
        transfer(str(path), network.replaced(out_channels=3), network.replaced(out_channels=3).build(), "all")
