"""For tests of the plugin: a real viewer under a (virtual) display, and gates against what a dock may leave behind.

Use the fixture ``viewer``, or napari's ``make_napari_viewer(show=True)`` where pixels matter.  Give neither the viewer
nor a dock inside it to ``qtbot.addWidget``: the viewer's own fixture closes them.
"""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

os.environ["NAPARI_CONFIG"] = ""  # settings live in memory: no test may touch the user's
os.environ.setdefault("NAPARI_ASYNC", "0")

if importlib.util.find_spec("napari") is None:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(autouse=True)
def _nothing_left_behind(qapp: Any, request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test after which a window, timer or thread of the plugin is still alive."""
    yield
    if not {"qtbot", "make_napari_viewer"} & set(request.fixturenames):  # the search takes a while
        return
    if getattr(getattr(request.node, "rep_call", None), "failed", False):
        return
    held = list(request.node.funcargs.values())  # a dock that a fixture returned lives as long as the test's item
    left = _left_behind(held)
    if left:  # widgets deleted later, and cycles, are no leaks: let both go, then look again
        gc.collect()
        for _ in range(3):
            qapp.sendPostedEvents(None, 0)
            qapp.processEvents()
        left = _left_behind(held)
    assert not left, f"{request.node.nodeid} left behind: {left}"


def _left_behind(held: Sequence[Any] = ()) -> list[str]:
    from qtpy.QtCore import QThread, QTimer
    from qtpy.QtWidgets import QApplication

    windows = [w for w in QApplication.topLevelWidgets() if _alive(w) and _ours(w)]
    left = [f"window {_kind(w)}" for w in windows if w.isVisible() or not any(owner in held for owner in _owners(w))]
    for thing in gc.get_objects():
        # by type(): isinstance asks objects for their __class__, which some of torch's answer with a warning
        if not issubclass(type(thing), QThread | QTimer) or not _alive(thing):
            continue
        if isinstance(thing, QThread):
            if thing.isRunning() and thing is not QThread.currentThread() and _ours(thing):
                left.append(f"thread {_kind(thing)}")
        elif thing.isActive() and _ours(thing):
            left.append(f"timer of {_kind(thing.parent() or thing)}")
    return left


def _alive(thing: Any) -> bool:
    from qtpy.compat import isalive

    return bool(isalive(thing))


def _kind(thing: Any) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _owners(thing: Any) -> Iterator[Any]:
    while thing is not None:
        yield thing
        thing = thing.parent()


def _ours(thing: Any) -> bool:
    """Whether it, or what owns it, is a class of the plugin."""
    return any(type(owner).__module__.startswith("napari_genesis") for owner in _owners(thing))


@pytest.fixture
def viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    """A real napari viewer, not shown, closed afterwards."""
    return make_napari_viewer()


@pytest.fixture
def known_plugin(npe2pm: Any) -> None:
    """The plugin as napari finds it, from the manifest of this tree."""
    from npe2 import PluginManifest

    npe2pm.register(PluginManifest.from_file(Path(__file__).resolve().parents[2] / "napari_genesis" / "napari.yaml"))


@pytest.fixture
def fake_finetuning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tunings are a child process that behaves as one, without torch."""
    import sys

    from napari_genesis import jobs

    spawn, script = jobs.spawn_training, str(Path(__file__).with_name("fake_finetuning.py"))

    def spawned(run: Path, resume: bool, _: Any) -> Any:
        return spawn(run, resume, [sys.executable, script, str(run), *(["--resume"] if resume else [])])

    monkeypatch.setattr(jobs, "spawn_training", spawned)


@pytest.fixture
def ct() -> Callable[..., Any]:
    """A small noisy CT with a dense block and a softer one: ``ct(seed, name, shape)``."""
    import numpy as np

    from genesis3d.volume import Geometry, Volume

    def made(seed: int = 0, name: str = "ct", shape: tuple[int, int, int] = (12, 24, 20)) -> Any:
        data = np.random.default_rng(seed).normal(-700, 40, shape).astype(np.int16)
        data[:, 4:12, 4:12] = 300
        data[:, 14:20, 4:12] = -100
        return Volume(data[None], Geometry(shape, (2.5, 0.7, 0.7)), modality="CT", unit="HU", name=name)

    return made


@pytest.fixture
def paint() -> Callable[..., None]:
    """Paint the blocks of such a CT as 1 and 2 on some slices, by the layer's own editing."""
    import numpy as np

    def painted(layer: Any, slices: Sequence[int] = (4, 6)) -> None:
        for z in slices:
            for value, rows in ((1, slice(4, 12)), (2, slice(14, 20))):
                index = np.mgrid[z : z + 1, rows, 4:12].reshape(3, -1)
                layer.data_setitem(tuple(index), value)

    return painted


@pytest.fixture
def segmentation_model(tmp_path: Path) -> Path:
    """A model of two structures that goes by the intensity alone: above 120 HU value 3, organ; above 440, 7, bone."""
    import torch

    from genesis3d.labels import LabelClass
    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    network = UNet3d(width=2, norm="none", out_channels=3)
    module = network.build(0)
    state = {name: torch.zeros_like(value) for name, value in module.state_dict().items()}
    passed_on = (("down_tr64.ops.0", 0), ("down_tr64.ops.1", 0), ("up_tr64.ops.0", 8), ("up_tr64.ops.1", 0))
    for name, source in passed_on:  # the intensity itself, by the uppermost skip
        state[f"{name}.conv1.weight"][0, source, 1, 1, 1] = 1
    low, high, steep = 0.56, 0.72, 200.0
    state["out_tr.final_conv.weight"][1:, 0, 0, 0, 0] = torch.tensor([steep, 2 * steep])
    state["out_tr.final_conv.bias"][1:] = torch.tensor([-steep * low, -steep * (low + high)])
    module.load_state_dict(state)
    classes = tuple(
        LabelClass(value=value, name=name, colour=colour)
        for value, name, colour in ((0, "background", None), (3, "organ", "#3fa7f5"), (7, "bone", None))
    )
    card = ModelCard(
        title="organs", network=network, task={"name": "segmentation"}, activation="softmax", classes=classes,
        patch=(16, 16, 16), spacing=(2.0, 1.5, 1.5), step=7, metrics={"dice": 0.91},
    )  # fmt: skip
    path = tmp_path / "organs.safetensors"
    write_model(path, module, card)
    return path


@pytest.fixture
def chest() -> Callable[..., Any]:
    """Two lungs in a body with an opacity of -300 HU in the left one: ``chest(both, shift, name, radius)``.

    ``both``: a smaller one in the right lung too; ``shift``: the patient lies that many mm further to the left;
    ``radius`` of the first opacity in mm.
    """
    import numpy as np

    from genesis3d.volume import Geometry, Volume

    shape, spacing = (40, 44, 60), (6.0, 5.0, 5.0)

    def made(both: bool = False, shift: float = 0.0, name: str = "chest", radius: float = 20.0) -> Any:
        d, h, w = np.indices(shape)
        w = w - shift / spacing[2]
        hu = np.full(shape, -1000, np.int16)
        hu[((h - 22) / 19) ** 2 + ((w - 30) / 27) ** 2 <= 1] = 40
        hu[:, 34:38][(w >= 27)[:, 34:38] & (w < 33)[:, 34:38]] = 400
        for centre in (17, 43):
            hu[((d - 20) / 17) ** 2 + ((h - 22) / 13) ** 2 + ((w - centre) / 9) ** 2 <= 1] = -860
        for middle, size in (((20, 22, 43), radius), ((16, 24, 17), 15.0))[: 2 if both else 1]:
            place = [((a - m) * s) ** 2 for a, m, s in zip((d, h, w), middle, spacing, strict=True)]
            hu[sum(place) <= size**2] = -300
        return Volume(hu[None], Geometry(shape, spacing, (-100.0, 20.0, 3.0)), "CT", "HU", name)

    return made


@pytest.fixture
def air_model(tmp_path: Path) -> Path:
    """A model that restores every voxel to -840 HU."""
    import math

    import torch

    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    network = UNet3d(width=2, norm="none")
    module = network.build(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        list(module.parameters())[-1].fill_(math.log(0.08 / 0.92))
    path = tmp_path / "air.safetensors"
    write_model(
        path, module, ModelCard(title="air", network=network, patch=(16, 16, 16), spacing=(6.0, 5.0, 5.0), step=7)
    )
    return path


@pytest.fixture
def opacity_model(tmp_path: Path) -> Path:
    """A model that finds opacity by the intensity alone: sure above -400 HU, and changes nothing."""
    import torch

    from genesis3d.intensity import Window
    from genesis3d.networks.model_file import ModelCard, write_model
    from genesis3d.networks.unet3d import UNet3d

    network = UNet3d(width=2, norm="none", out_channels=2)
    module = network.build(0)
    state = {name: torch.zeros_like(value) for name, value in module.state_dict().items()}
    passed_on = (("down_tr64.ops.0", 0), ("down_tr64.ops.1", 0), ("up_tr64.ops.0", 8), ("up_tr64.ops.1", 0))
    for name, source in passed_on:  # the intensity itself, by the uppermost skip
        state[f"{name}.conv1.weight"][0, source, 1, 1, 1] = 1
    state["out_tr.final_conv.weight"][1, 0, 0, 0, 0] = 40.0
    state["out_tr.final_conv.bias"][1] = -20.0
    module.load_state_dict(state)
    card = ModelCard(
        title="dense", network=network, task={"name": "opacity"}, activation="opacity", patch=(16, 16, 16),
        spacing=(6.0, 5.0, 5.0), working_spacing=(6.0, 5.0, 5.0), intensity=Window(low=-1000, high=200), step=7,
    )  # fmt: skip
    path = tmp_path / "dense.safetensors"
    write_model(path, module, card)
    return path


@pytest.fixture
def finish(qtbot: Any) -> Callable[[Any], None]:
    """Wait until nothing goes on in an Anomaly dock."""

    def finished(dock: Any) -> None:
        def done() -> bool:
            panel = dock.panel
            waiting = panel._settle.isActive() or panel._edit.isActive()
            return not (dock.running or waiting or panel.busy or panel.figures.busy or dock.keeping.compare.busy)

        qtbot.waitUntil(done, timeout=120_000)

    return finished


@pytest.fixture
def run_map(finish: Callable[[Any], None]) -> Callable[[Any], None]:
    """Press the primary button of an Anomaly dock, and wait; nothing may go wrong."""

    def ran(dock: Any) -> None:
        dock.primary.click()
        finish(dock)
        assert dock.status.error.text() == ""

    return ran


@pytest.fixture
def anomaly_dock(viewer: Any, chest: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An Anomaly dock in a viewer with a chest of two opacities; nothing ships, so the recipe is that of the HU."""
    from genesis3d.networks import library
    from napari_genesis.layers import add_volume
    from napari_genesis.widgets.anomaly.dock import AnomalyDock

    monkeypatch.setattr(library, "SHIPPED", tmp_path / "shipped")
    add_volume(viewer, chest(both=True))
    made = AnomalyDock(viewer)
    viewer.window.add_dock_widget(made, name="Anomaly map")
    made.lungs_picker.set_way("classical")
    return made
