"""A scan through a segmentation model: labels on its own grid, what is refused, what is kept when stopped."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from genesis3d.errors import ConfigError, DomainError, GeometryError, ModelError, ScanError
from genesis3d.events import Event
from genesis3d.labels import LabelClass
from genesis3d.networks.model_file import LoadedModel, ModelCard, read_model, write_model
from genesis3d.networks.unet3d import UNet3d
from genesis3d.volume import Geometry, Volume
from genesis3d.workflows.segment import Canvas, Segmentation, SegmentSettings, segment_volume

SHAPE = (24, 40, 44)
CLASSES = (
    LabelClass(value=0, name="background"),
    LabelClass(value=5, name="dark", colour="#ff0000"),
    LabelClass(value=300, name="bright"),
)
WINDOW = (16, 24, 24)


def scan() -> Volume:
    rng = np.random.default_rng(0)
    hu = rng.normal(-600, 30, SHAPE)
    hu[6:20, 8:30, 10:24] += 700
    hu[4:12, 20:36, 26:40] += 1100
    return Volume(hu.astype(np.int16)[None], Geometry(SHAPE, (2.5, 0.8, 0.8), (3, 4, 5)), "CT", "HU", "scan")


def card(**changes: Any) -> ModelCard:
    network = UNet3d(width=2, norm="none", out_channels=3)
    fields = {"network": network, "task": {"name": "segmentation"}, "activation": "softmax", "classes": CLASSES}
    return ModelCard(**fields | {"title": "tiny", "patch": (16, 16, 16)} | changes)


def balanced(module: torch.nn.Module) -> torch.nn.Module:
    """Shift the last biases so that every class is somewhere the best."""
    unit = torch.from_numpy((scan().data[None].astype(np.float32) + 1000) / 2000)
    with torch.inference_mode():
        logits = module(torch.nn.functional.pad(unit, (0, 4)))
        head = module.out_tr.final_conv
        spread = logits.std(dim=(0, 2, 3, 4))
    with torch.no_grad():
        head.weight *= (1 / spread)[:, None, None, None, None] * 3
        head.bias.zero_()
        head.bias -= module(torch.nn.functional.pad(unit, (0, 4))).mean(dim=(0, 2, 3, 4))
    return module


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    path = tmp_path_factory.mktemp("models") / "tiny.safetensors"
    write_model(path, balanced(card().network.build(1)), card())
    return read_model(path)


def settings(**changes: Any) -> SegmentSettings:
    return SegmentSettings(device="cpu", precision="32", **{"window": WINDOW, "skip_air": False} | changes)


def run(work: Generator[Event, None, Segmentation]) -> tuple[list[Event], Segmentation]:
    events: list[Event] = []
    while True:
        try:
            events.append(next(work))
        except StopIteration as end:
            return events, end.value


def test_labels_are_the_best_class_of_the_averaged_logits(model: LoadedModel) -> None:
    events, found = run(segment_volume(scan(), model, settings(probabilities=True, entropy=True)))
    assert events[0].kind == "started"
    assert found.complete
    assert found.covered.all()
    assert set(np.unique(found.labels.data)) == {0, 5, 300}
    assert found.labels.geometry == scan().geometry
    assert found.probabilities is not None
    assert found.entropy is not None
    best = np.array([0, 5, 300])[found.probabilities.data.argmax(0)]
    assert (best == found.labels.data[0]).mean() > 0.999  # float16 may tie
    np.testing.assert_allclose(found.probabilities.data.astype(float).sum(0), 1, atol=2e-3)
    assert 0 <= found.entropy.data.min() <= found.entropy.data.max() <= 1
    steps = [event for event in events if event.kind == "stepped"]
    assert steps[-1].step == steps[-1].total == events[0].total


def test_the_canvas_ends_as_the_labels_and_begins_at_the_focus(model: LoadedModel) -> None:
    canvas = Canvas(np.zeros(SHAPE, np.uint16))
    work = segment_volume(scan(), model, settings(), focus=(20, 35, 40), canvas=canvas)
    next(work)
    next(work)
    first = canvas.take()
    assert all(part.start <= f < part.stop for part, f in zip(first[0], (20, 35, 40), strict=True))
    _, found = run(work)
    assert canvas.take()
    np.testing.assert_array_equal(canvas.labels, found.labels.data[0])


def test_stopped_it_keeps_what_is_done(model: LoadedModel) -> None:
    orders = iter(["run", "run", "run"])
    _, whole = run(segment_volume(scan(), model, settings(overlap=0.0)))
    _, found = run(segment_volume(scan(), model, settings(overlap=0.0), control=lambda: next(orders, "stop")))
    assert not found.complete
    assert found.covered.any()
    assert not found.covered.all()
    same = found.labels.data[0] == whole.labels.data[0]
    assert same[found.covered].mean() > 0.9  # where a window was to come the answer is its neighbour's alone
    assert (found.labels.data[0][~found.covered] == 0).all()


def test_only_the_region_is_segmented(model: LoadedModel) -> None:
    inside = np.zeros(SHAPE, bool)
    inside[5:12, 20:36, 20:40] = True
    _, found = run(segment_volume(scan(), model, settings(), inside=inside))
    assert (found.labels.data[0][~inside] == 0).all()
    assert (found.labels.data[0][inside] > 0).any()
    np.testing.assert_array_equal(found.covered, inside)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": {"name": "restoration"}}, "got one for restoration; fine-tune it on labelled scans first"),
        ({"task": {"name": "classification"}}, "got one for classification"),
        ({"activation": "sigmoid"}, "expected a softmax over background and classes"),
        ({"classes": CLASSES[:2]}, "expected a class for each of its 3 outputs, got 2"),
    ],
)
def test_other_models_are_refused(model: LoadedModel, changes: dict[str, Any], message: str) -> None:
    other = LoadedModel(model.module, card(**changes), Path("other.safetensors"))
    with pytest.raises(ModelError, match=message):
        next(segment_volume(scan(), other, settings()))


def test_other_scans_are_refused(model: LoadedModel) -> None:
    plain = scan()
    with pytest.raises(ModelError, match=r"expected 1 channel\(s\) by the model, got 4 \(time points"):
        next(segment_volume(plain.with_data(np.repeat(plain.data, 4, 0)), model, settings()))
    with pytest.raises(DomainError, match="expected a CT in HU, on which the model was trained, got MR"):
        next(segment_volume(plain.with_data(plain.data, modality="MR", unit=None), model, settings()))
    with pytest.raises(DomainError, match="got none but NaN"):
        next(segment_volume(plain.with_data(np.full((1, *SHAPE), np.nan, np.float32)), model, settings()))
    with pytest.raises(GeometryError, match="expected the grid of scan"):
        next(segment_volume(plain, model, settings(), inside=np.ones((3, 3, 3), bool)))
    with pytest.raises(DomainError, match="empty mask"):
        next(segment_volume(plain, model, settings(), inside=np.zeros(SHAPE, bool)))


def test_voxels_without_a_value_are_said_and_taken_as_dark(model: LoadedModel) -> None:
    data = scan().data.astype(np.float32)
    data[0, 3, 4, 5] = np.nan
    events, found = run(segment_volume(scan().with_data(data), model, settings(probabilities=True)))
    assert "1 voxels of scan have no value (NaN): taken as the darkest." in found.warnings
    assert any(event.kind == "warned" for event in events)
    assert found.probabilities is not None
    assert np.isfinite(found.probabilities.data).all()


def test_the_working_spacing_is_left_again(model: LoadedModel) -> None:
    """A card that works on coarser voxels: labels, probabilities and canvas lie on the scan's own grid all the same."""
    coarse = LoadedModel(model.module, card(working_spacing=(2.5, 1.6, 1.6)), Path("coarse.safetensors"))
    canvas = Canvas(np.zeros(SHAPE, np.uint16))
    inside = np.zeros(SHAPE, bool)
    inside[2:20, 4:36, 3:40] = True
    wanted = settings(probabilities=True, entropy=True)
    _, found = run(segment_volume(scan(), coarse, wanted, focus=(12, 20, 20), canvas=canvas, inside=inside))
    assert found.labels.geometry == scan().geometry
    assert found.probabilities is not None
    assert found.entropy is not None
    assert found.probabilities.data.shape == (3, *SHAPE)
    assert found.entropy.data.shape == (1, *SHAPE)
    best = np.array([0, 5, 300])[found.probabilities.data.argmax(0)]
    assert (best == found.labels.data[0])[inside].mean() > 0.999
    assert not found.labels.data[0][~inside].any()
    np.testing.assert_array_equal(canvas.labels, found.labels.data[0])
    assert len(np.unique(found.labels.data)) > 1
    stopped = iter(["run"])
    _, part = run(segment_volume(scan(), coarse, settings(), control=lambda: next(stopped, "stop")))
    assert 0 < part.covered.mean() < 1
    assert not part.labels.data[0][~part.covered].any()


def test_mirror_images_never_swap_sides(model: LoadedModel) -> None:
    sided = (CLASSES[0], LabelClass(value=1, name="left lung"), LabelClass(value=2, name="Right_lung"))
    both = LoadedModel(model.module, card(classes=sided), Path("sided.safetensors"))
    _, found = run(segment_volume(scan(), both, settings(quality="best", overlap=0.0)))
    assert any("left from right" in text for text in found.warnings)
    _, plain = run(segment_volume(scan(), model, settings(mirror="dhw", overlap=0.0)))
    assert not plain.warnings
    assert 0.5 < (np.searchsorted([0, 5, 300], plain.labels.data) == found.labels.data).mean() < 1


def test_the_air_around_a_ct_is_left_out(model: LoadedModel) -> None:
    wide = np.full((1, 24, 96, 96), -1000, np.int16)
    wide[:, :, 30:70, 28:72] = scan().data + 700
    volume = Volume(wide, Geometry((24, 96, 96), (2.5, 0.8, 0.8)), "CT", "HU", "wide")
    all_of_it, _ = run(segment_volume(volume, model, settings(window=(16, 16, 16))))
    events, found = run(segment_volume(volume, model, settings(window=(16, 16, 16), skip_air=True)))
    assert events[0].total < 0.6 * all_of_it[0].total
    assert found.covered.all()
    assert not found.labels.data[0, :, :8].any()


def test_tidied(model: LoadedModel) -> None:
    from genesis3d.io.itk_filters.components import components

    _, rough = run(segment_volume(scan(), model, settings()))
    _, found = run(segment_volume(scan(), model, settings(largest=True, fill=True)))
    for value in (5, 300):
        assert len(components(rough.labels.data[0] == value)[1]) > 1
        assert len(components(found.labels.data[0] == value)[1]) == 1


def test_out_of_memory_is_said_and_nothing_is_lost(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    from genesis3d.inference.classes import ClassPredictor

    _, whole = run(segment_volume(scan(), model, settings()))
    forward, calls = ClassPredictor._forward, [0]

    def failing(self: ClassPredictor, x: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        if calls[0] == 3:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return forward(self, x)

    monkeypatch.setattr(ClassPredictor, "_forward", failing)
    events, found = run(segment_volume(scan(), model, settings()))
    said = [event.message for event in events if event.kind == "warned"]
    assert said == list(found.warnings)
    assert said == ["The memory of cpu did not suffice: going on with half precision; nothing done so far is lost."]
    assert found.complete
    assert (found.labels.data == whole.labels.data).mean() > 0.9
    assert found.precision == "bf16"
    monkeypatch.undo()
    assert run(segment_volume(scan(), model, settings()))[1].precision == "32"  # the next one starts afresh


def test_a_store_takes_the_results_in_place_of_memory(model: LoadedModel, tmp_path: Path) -> None:
    import zarr

    _, whole = run(segment_volume(scan(), model, settings(probabilities=True)))
    _, found = run(segment_volume(scan(), model, settings(probabilities=True), out_store=tmp_path / "s.zarr"))
    assert not isinstance(found.labels.data, np.ndarray)
    group = zarr.open_group(tmp_path / "s.zarr", mode="r")
    np.testing.assert_array_equal(np.asarray(group["labels"]), whole.labels.data)
    np.testing.assert_array_equal(np.asarray(group["probabilities"]), whole.probabilities.data)
    assert [one["name"] for one in group.attrs["classes"]] == ["background", "dark", "bright"]
    assert tuple(group.attrs["spacing_zyx_mm"]) == scan().geometry.spacing
    with pytest.raises(ScanError, match="expected a new or empty folder"):
        run(segment_volume(scan(), model, settings(), out_store=tmp_path / "s.zarr"))
    with pytest.raises(ConfigError, match="out_store: expected"):
        run(segment_volume(scan(), model, settings(fill=True), out_store=tmp_path / "t.zarr"))
