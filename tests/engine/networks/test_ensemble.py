"""Several models as one: the mean of what they say, in every way a model is used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError, ModelError
from genesis3d.events import Finished, Saved
from genesis3d.inference.classes import ClassPredictor
from genesis3d.inference.predictor import Predictor
from genesis3d.intensity import Window
from genesis3d.labels import LabelClass
from genesis3d.networks.card import Activation, DataSource
from genesis3d.networks.ensemble import Ensemble
from genesis3d.networks.model_file import ModelCard, read_model, write_model
from genesis3d.networks.transfer import target_network
from genesis3d.networks.unet3d import UNet3d
from genesis3d.workflows.ensembling import EnsembleConfig, ensemble_models

CLASSES = tuple(LabelClass(value=i, name=name) for i, name in enumerate(("background", "left", "right")))
NETWORK = UNet3d(width=2, norm="batch")


def member(folder: Path, seed: int, activation: Activation = "opacity", **changes: object) -> str:
    """A model of random weights, and of statistics that are not those of a new network."""
    outputs = {"opacity": 2, "softmax": 3}.get(activation, 1)
    network = NETWORK.replaced(out_channels=outputs)
    module = network.build(seed)
    with torch.no_grad():
        module(torch.rand(2, 1, 16, 16, 16, generator=torch.Generator().manual_seed(seed)))
    task = {"opacity": "opacity", "softmax": "segmentation"}.get(activation, "restoration")
    card = ModelCard(
        title="lungs", network=network, activation=activation, task={"name": task}, modality="CT", patch=(16, 16, 16),
        classes=CLASSES if activation == "softmax" else (), intensity=Window(low=-1000, high=200), licence=f"CC{seed}",
        attribution=(DataSource(name="Chests"), DataSource(name=f"Set {seed}")),
    )  # fmt: skip
    path = folder / f"{activation}-{seed}.safetensors"
    write_model(path, module, card.replaced(**changes))
    return str(path)


def together(models: list[str], out: Path, half: bool = False) -> str:
    events = list(ensemble_models(EnsembleConfig(models=tuple(models), out=str(out), half=half)))
    assert isinstance(events[-2], Saved)
    assert isinstance(events[-1], Finished)
    return str(out)


@pytest.mark.parametrize("activation", ["opacity", "softmax", "sigmoid", "linear", "residual"])
def test_its_answer_is_the_mean_of_its_members(tmp_path: Path, activation: Activation) -> None:
    models = [member(tmp_path, seed, activation) for seed in (1, 2, 3)]
    whole = read_model(together(models, tmp_path / "all.safetensors"))
    windows = np.random.default_rng(0).random((2, 1, 16, 16, 16), np.float32)
    if activation == "softmax":
        predictors = [ClassPredictor(read_model(model), "cpu", "32") for model in models]
        answers = [predictor(windows, (2,)).softmax(1).numpy() for predictor in predictors[:1]]
        alone = [predictor(windows).softmax(1).numpy() for predictor in predictors]
        found = ClassPredictor(whole, "cpu", "32")(windows).softmax(1).numpy()
        assert answers[0].shape == found.shape
    else:
        alone = [Predictor(read_model(model), "cpu", "32")(windows) for model in models]
        found = Predictor(whole, "cpu", "32")(windows)
    assert np.abs(alone[0] - alone[1]).max() > 1e-3
    np.testing.assert_allclose(found, np.mean(alone, axis=0), atol=2e-5)


def test_half_precision_halves_the_file_and_hardly_changes_the_answer(tmp_path: Path) -> None:
    models = [member(tmp_path, seed) for seed in (1, 2)]
    full, half = (together(models, tmp_path / f"{half}.safetensors", half) for half in (False, True))
    assert Path(half).stat().st_size < 0.62 * Path(full).stat().st_size
    loaded = read_model(half)
    assert {value.dtype for value in loaded.module.state_dict().values()} <= {torch.float32, torch.int64}
    windows = np.random.default_rng(0).random((1, 1, 16, 16, 16), np.float32)
    wanted, found = (Predictor(read_model(path), "cpu", "32")(windows) for path in (full, half))
    np.testing.assert_allclose(found, wanted, atol=5e-3)


def test_its_card_says_where_it_comes_from(tmp_path: Path) -> None:
    models = [member(tmp_path, seed) for seed in (1, 2)]
    card = read_model(together(models, tmp_path / "all.safetensors")).card
    assert card.network.parameters() == 2 * read_model(models[0]).card.network.parameters()
    assert (card.purpose, card.activation, card.patch) == ("opacity", "opacity", (16, 16, 16))
    assert [source.name for source in card.attribution] == ["Chests", "Set 1", "Set 2"]
    assert card.licence == "CC1; CC2"
    assert len(card.parents) == 2
    assert all("SHA-256" in parent for parent in card.parents)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"intensity": Window(low=-900, high=200)}, "intensity"),
        ({"working_spacing": (6.0, 2.0, 2.0)}, "working spacing"),
        ({"task": {"name": "restoration"}}, "task"),
    ],
)
def test_members_that_differ_are_refused_in_one_sentence(
    tmp_path: Path, changes: dict[str, object], named: str
) -> None:
    models = [member(tmp_path, 1), member(tmp_path, 2, **changes)]
    with pytest.raises(ModelError, match=rf"opacity-2.safetensors: expected the {named} of .*opacity-1"):
        together(models, tmp_path / "all.safetensors")
    assert not (tmp_path / "all.safetensors").exists()


def test_other_networks_and_ensembles_are_no_members(tmp_path: Path) -> None:
    one, other = member(tmp_path, 1), member(tmp_path, 2, "softmax")
    with pytest.raises(ModelError, match="expected the network of"):
        together([one, other], tmp_path / "all.safetensors")
    both = together([one, member(tmp_path, 3)], tmp_path / "both.safetensors")
    with pytest.raises(ModelError, match="got an ensemble"):
        together([both, one], tmp_path / "all.safetensors")
    with pytest.raises(ModelError, match="take a member"):
        target_network(both, 3)
    with pytest.raises(ModelError, match="is there already"):
        together([one, one], tmp_path / "both.safetensors")
    with pytest.raises(ConfigError, match="of one member"):
        Ensemble.parse({"network": Ensemble().to_dict()})
