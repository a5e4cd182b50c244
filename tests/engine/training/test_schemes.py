"""Presets and the schemes of the paper's section 4.1, as values and as commands."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from genesis3d.cli import build_app
from genesis3d.data.cases import Case
from genesis3d.errors import ConfigError
from genesis3d.io import write_volume
from genesis3d.training.rundir import RunDir
from genesis3d.transforms import CHAIN_PRESETS, chain_preset
from genesis3d.workflows.pretrain import PretrainConfig, pretrain_preset
from genesis3d.workflows.pretrain_config import SCHEMES, scheme_chain

Make = Callable[..., PretrainConfig]


def call(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(build_app(), ["pretrain", *map(str, arguments)], catch_exceptions=True)
    if isinstance(result.exception, Exception):
        raise result.exception
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory, balls: list[Case]) -> Path:
    path = tmp_path_factory.mktemp("scans") / "ball.nii.gz"
    write_volume(balls[0].load(), path)
    return path


def test_the_schemes_are_those_of_the_paper() -> None:
    assert list(SCHEMES) == ["combined", "identity", "nonlinear", "shuffling", "inpainting", "outpainting"]
    assert set(SCHEMES.values()) <= set(CHAIN_PRESETS)
    for name in list(SCHEMES)[1:]:
        steps = scheme_chain(name).steps
        assert [option.name.replace("_", "") for option in steps[0].options] in ([name], [f"local{name}"])
        assert len(steps) == 1
    assert len(scheme_chain("combined").steps) > 2
    with pytest.raises(ConfigError, match="scheme: expected one of combined, identity"):
        scheme_chain("rotation")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_trains_from_the_command_line(
    tmp_path: Path, scan: Path, tiny: Make, little_measuring: None, scheme: str
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(tiny(steps=1, batch=1, validation={"windows": 1}).to_yaml())
    code, said = call(scan, "--run-dir", tmp_path / "run", "--config", settings, "--scheme", scheme)
    assert code == 0, said
    assert "finished" in said
    config = PretrainConfig.parse(RunDir(tmp_path / "run").config())
    assert config.chain == chain_preset(SCHEMES[scheme])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scheme", "rotation"], "scheme: expected one of combined, identity, nonlinear"),
        (["--scheme", "identity", "--chain", "official"], "--chain and --scheme: expected one of them"),
        (["--set", "accumulate=99"], "accumulate: expected at most the batch (4) micro-batches, got 99"),
    ],
)
def test_what_does_not_go_together_is_one_sentence(tmp_path: Path, arguments: list[object], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        call("scan.nii", "--run-dir", tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_the_published_keras_recipe_and_the_papers() -> None:
    keras, paper = pretrain_preset("official-keras"), pretrain_preset("paper")
    assert keras.network.parameters() == paper.network.parameters() == 16_320_257
    for preset in (keras, paper):
        o = preset.optimiser
        assert (o.name, o.lr, o.momentum, o.weight_decay, o.clip, o.warmup) == ("sgd", 1, 0.9, 0, None, 0)
        assert (o.schedule, o.decay_factor, o.plateau_patience, o.plateau_delta, o.lowest) == (
            "plateau", 0.5, 10, 1e-4, 1e-6,
        )  # fmt: skip
        assert (preset.batch, preset.validation.patience, preset.validation.every) == (6, 50, 2373)
        assert preset.network.norm_eps == "keras"  # type: ignore[attr-defined]  # a 3D U-Net
    assert (keras.chain, keras.sampling.rule) == (chain_preset("official"), "official")
    assert (paper.chain, paper.sampling.rule) == (chain_preset("paper"), "paper")
