"""As training: the preview shows what the trainer's own sampler and chain make, bit for bit."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari")

from napari.components import ViewerModel

from genesis3d.errors import ConfigError
from genesis3d.events import keep_running
from genesis3d.io import read_volume, write_volume
from genesis3d.transforms import Chain, NonLinear, Step
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.pretrain_config import PretrainConfig
from genesis3d.workflows.pretrain_setup import read_cases, training_pairs
from napari_genesis.layers import add_volume
from napari_genesis.widgets import shared
from napari_genesis.widgets.preview import face as preview_face
from napari_genesis.widgets.preview.dock import PreviewDock
from napari_genesis.widgets.preview.training import read_config, same_scan

SHAPE = (48, 56, 64)
PATCH = (16, 24, 32)


@pytest.fixture(autouse=True)
def _no_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the test before are let go here and not at each closing, for pytest holds them until its end."""
    monkeypatch.setattr(preview_face, "_collect", int)
    gc.collect()


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scans")
    paths = []
    for index in range(3):
        data = np.random.default_rng(index).integers(-1000, 900, SHAPE).astype(np.int16)
        volume = Volume(data[None], Geometry(SHAPE, (2.5, 0.75, 0.75), (10.0 * index, 0.0, 0.0)), "CT", "HU")
        paths.append(folder / f"scan-{index}.nii.gz")
        write_volume(volume, paths[-1])
    return paths


@pytest.fixture
def config(scans: list[Path]) -> PretrainConfig:
    values = {"cases": [str(path) for path in scans], "sampling": {"patch": PATCH}, "seed": 7, "batch": 3, "steps": 5}
    return PretrainConfig.parse(values)


@pytest.fixture
def dock(qtbot: Any) -> Iterator[PreviewDock]:
    made = PreviewDock(ViewerModel())
    qtbot.addWidget(made)
    yield made
    made.shutdown()


def settle(qtbot: Any, dock: PreviewDock) -> None:
    qtbot.waitUntil(lambda: not dock.resolver.busy and dock.source._loader._job is None, timeout=30_000)


def unit_voxels(dock: PreviewDock) -> tuple[np.ndarray, np.ndarray]:
    """What the views show, from HU back to [0, 1]."""
    scale = dock.frame.scale
    original, transformed = (np.array(layer.data) for layer in dock.views.layers[:2])
    return scale.to_unit(transformed), scale.to_unit(original)


def run_of(config: PretrainConfig, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config.to_dict()))
    return folder / "config.json"


def test_a_runs_own_sub_volumes_bit_for_bit(
    dock: PreviewDock, config: PretrainConfig, tmp_path: Path, qtbot: Any
) -> None:
    seen: list[Any] = []
    dock.resolver.resolved.connect(seen.append)
    dock.source.use_run(str(run_of(config, tmp_path / "run")))
    settle(qtbot, dock)
    dock.address.set_value(7, 2, 1)
    dock._update()
    settle(qtbot, dock)
    maker, split = training_pairs(config, read_cases(config, None, keep_running))
    pairs = maker.pairs(2)
    assert seen[-1].pairs.input[0].equal(pairs.input[1])
    assert seen[-1].pairs.target[0].equal(pairs.target[1])
    np.testing.assert_array_equal(np.array(dock.views.layers[1].data), seen[-1].transformed)
    shown_input, shown_target = unit_voxels(dock)
    np.testing.assert_allclose(shown_input, pairs.input[1, 0].numpy(), atol=1e-6)
    np.testing.assert_allclose(shown_target, pairs.target[1, 0].numpy(), atol=1e-6)
    assert split.training.names[pairs.locations[1].case] in dock.source.info.text()
    assert dock.frame.start == pairs.locations[1].start
    assert dock.address.slot.maximum() == config.batch - 1


def test_a_chain_saved_here_trains_on_these_voxels(
    dock: PreviewDock, config: PretrainConfig, tmp_path: Path, qtbot: Any
) -> None:
    """Acceptance: saved from the dock, read by the command line, the trainer makes the voxels that are shown."""
    from genesis3d.cli.pretrain import _chain

    seen: list[Any] = []
    dock.resolver.resolved.connect(seen.append)
    dock.source.use_run(str(run_of(config, tmp_path / "run")))
    settle(qtbot, dock)
    dock.chain.set_value(Chain(steps=(Step(transform=NonLinear(control_points=(0.1, 0.8, 0.3, 0.9)), p=0.9),)))
    dock.chain.rows[0].chance.setValue(1.0)
    settle(qtbot, dock)
    dock.chain.save(str(tmp_path / "chain.yaml"))
    trained = PretrainConfig.parse(config.to_dict() | {"chain": _chain(str(tmp_path / "chain.yaml"), None)})
    maker, _ = training_pairs(trained, read_cases(trained, None, keep_running))
    assert seen[-1].pairs.input[0].equal(maker.pairs(0).input[0])
    assert "the chain differs from the training's" in dock.source.info.text()


def test_the_box_lies_where_the_training_looks(
    dock: PreviewDock, config: PretrainConfig, scans: list[Path], tmp_path: Path, qtbot: Any
) -> None:
    for path in scans:
        add_volume(dock.viewer, read_volume(path))
    settle(qtbot, dock)
    dock.source.use_run(str(run_of(config, tmp_path / "run")))
    settle(qtbot, dock)
    case = dock.frame.volume.source
    picked = next(layer for layer in dock.viewer.layers if layer.metadata["genesis"]["source"] == case)
    dock.layers.set_layer(picked)
    settle(qtbot, dock)
    start = np.array(dock.frame.start)
    np.testing.assert_allclose(dock.box.corners().min(axis=0), dock.box._grid.to_view(start - 0.5))
    other = next(layer for layer in dock.viewer.layers if layer is not picked)
    dock.layers.set_layer(other)
    settle(qtbot, dock)
    assert "without a box" in dock.source.info.text()
    dock.source.use_box()
    settle(qtbot, dock)
    assert dock.place.isEnabled()
    assert dock.frame.volume.name == other.name


def test_the_pretrain_docks_configuration(dock: PreviewDock, config: PretrainConfig, qtbot: Any) -> None:
    class Source:
        def config(self) -> PretrainConfig:
            return config

    dock.source.use_dock()
    assert "expected the Pre-train dock to be open" in dock.status.error.text()
    source = Source()
    shared.offer_pretrain_config(source.config)
    dock.source.use_dock()
    settle(qtbot, dock)
    assert dock.source.combo.currentIndex() == 1
    assert dock.views.layers[0].data.shape == PATCH


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "expected a YAML file"), ('{"steps": 3, "batch": -1}', "batch"), ('{"steps": 3}', "at least one scan")],
)
def test_configurations_that_cannot_be_used(
    dock: PreviewDock, tmp_path: Path, qtbot: Any, text: str, sentence: str
) -> None:
    file = tmp_path / "config.json"
    file.write_text(text)
    dock.source.use_run(str(file))
    settle(qtbot, dock)
    assert sentence in dock.status.error.text()
    assert dock.source.combo.currentIndex() == 0


def test_closing_while_scans_are_read(config: PretrainConfig, tmp_path: Path, qtbot: Any) -> None:
    dock = PreviewDock(ViewerModel())
    qtbot.addWidget(dock)
    dock.source.use_run(str(run_of(config, tmp_path / "run")))
    dock.shutdown()
    assert dock.source._loader._job is None


def test_configurations_are_read_from_a_run_folder(config: PretrainConfig, tmp_path: Path) -> None:
    run_of(config, tmp_path / "run")
    assert read_config(str(tmp_path / "run")) == config
    with pytest.raises(ConfigError, match=r"config\.json"):
        read_config(str(tmp_path))


def test_which_volumes_are_the_same_scan(scans: list[Path]) -> None:
    first, again, other = read_volume(scans[0]), read_volume(scans[0]), read_volume(scans[1])
    assert same_scan(first, again)
    assert not same_scan(first, other)
