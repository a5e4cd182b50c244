"""The Preview dock: what the transformations do to a sub-volume of an open scan, live."""

from __future__ import annotations

from functools import partial
from secrets import randbelow
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Layer
from qtpy.compat import isalive
from qtpy.QtWidgets import QApplication, QWidget

from genesis3d.rng import Address
from genesis3d.transforms import chain_preset
from napari_genesis.widgets.box import Grid, ScanBox
from napari_genesis.widgets.preview import model
from napari_genesis.widgets.preview.engine import Resolver
from napari_genesis.widgets.preview.face import CHAIN, SIZE, PreviewFace, collect_soon
from napari_genesis.widgets.preview.scan import LayerScan, refusal
from napari_genesis.widgets.preview.training import Training, same_scan
from napari_genesis.widgets.shared import offer_chain

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["PreviewDock"]

EMPTY = "open a scan (File > Open, or Open Sample > Genesis), then tune its transformations here"


class PreviewDock(PreviewFace):
    """Original, transformed and difference of a sub-volume, under a chain that is tuned while it shows."""

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._start: model.Triple = (0, 0, 0)
        self._shape: model.Triple | None = None  # of the scan the box lies in
        self._frame: model.Frame | None = None
        self._at: tuple[float, float, float] | None = None
        self._training: Training | None = None
        self.scan = LayerScan(self)
        self.box = ScanBox(self.viewer, self)
        self.resolver = Resolver(self)
        self._connect()
        self._on_theme()
        self._on_view()
        self._choose_layer()
        offer_chain(self.current_chain)

    def start(self) -> None:
        """Draw anew: another seed."""
        self.address.draw()

    def reset(self) -> None:
        """Return to the official chain, 64x64x32 in the middle, seed 0."""
        self.source.use_box()
        self.address.set_value(0, 0, 0)
        self.place.set_size(SIZE)
        self.chain.set_value(chain_preset(CHAIN))
        self._on_centre()
        self._update()

    def shutdown(self) -> None:
        """Give the viewer back as it was and stop everything."""
        if self.closed:
            return
        super().shutdown()
        self.store_settings()
        for event in self.dims_events():
            event.disconnect(self._on_dims)
        self.source.close()
        self.resolver.close()
        self.scan.close()
        self.box.remove()
        self.views.shut()
        collect_soon()

    @property
    def frame(self) -> model.Frame | None:
        """What is shown, or being made; None without a scan."""
        return self._frame

    def copy_python(self) -> None:
        """Put Python that makes these voxels on the clipboard."""
        if self._frame is None:
            self.show_error("copy as Python: expected a box in a scan, got none")
            return
        QApplication.clipboard().setText(model.python_snippet(self._frame))
        self.status.show_facts("Python copied to the clipboard")

    def _connect(self) -> None:
        self.layers.changed.connect(self._on_layer)
        self.scan.changed.connect(self._on_scan)
        self.scan.contrast.connect(self._on_window)
        self.box.moved.connect(self._on_dragged)
        self.box.picked.connect(partial(self.place.pick_button.setChecked, False))
        self.place.pick.connect(self.box.pick_next)
        self.place.resized.connect(self._on_resized)
        self.place.centre.connect(self._on_centre)
        self.place.random.connect(self._on_random)
        self.place.go.connect(self.box.go)
        self.chain.changed.connect(self._update)
        self.chain.failed.connect(self.show_error)
        self.address.changed.connect(self._update)
        self.looks.changed.connect(self._on_view)
        self.resolver.resolved.connect(self._on_shown)
        self.resolver.failed.connect(self._on_failed)
        self.source.changed.connect(self._on_source)
        self.source.failed.connect(self.show_error)
        self.source.started.connect(self.watch)
        for event in self.dims_events():
            event.connect(self._on_dims)

    def _choose_layer(self) -> None:
        """Begin with the uppermost layer that can be shown."""
        usable = self.usable_layers()
        if usable and self.layers.layer is not usable[0]:
            self.layers.set_layer(usable[0])
        else:
            self._on_layer(self.layers.layer)

    def _on_layer(self, layer: Layer | None) -> None:
        if self.closed:
            return
        gone = self.scan.layer is not None and self.scan.layer not in self.viewer.layers
        if gone and layer is not None and refusal(layer):  # napari chose it, not the user
            usable = self.usable_layers()
            if usable:
                self.layers.set_layer(usable[0])
                return
        self.scan.set_layer(layer)

    def _on_scan(self) -> None:
        """Another layer, other data, or none."""
        volume = self.scan.volume
        if self._training is None:
            self.resolver.forget()
        if volume is None:
            self._on_no_scan()
            return
        self.show_error("")
        self.status.show_warning("  ".join(volume.notes))
        self.set_primary(self.verb)
        if self._shape != volume.geometry.shape:
            self._shape = volume.geometry.shape
            self._start = model.centred(self.place.size3, self._shape)
        self._update()
        self._on_window()

    def _on_no_scan(self) -> None:
        self._shape = None
        self.box.hide()
        self.show_error(self.scan.error)
        if self._training is None:
            self._frame = None
            self.views.clear()
            self.outcome.setText("" if self.scan.error else EMPTY)
            self.set_primary(self.verb, False, EMPTY)

    def _on_dragged(self, start: model.Triple) -> None:
        self._start = start
        self._moved()

    def _on_resized(self) -> None:
        """The box grows and shrinks about its middle."""
        size = self.place.size3
        before = self._frame.size if self._frame is not None else size
        self._start = tuple(s + (n - m) // 2 for s, n, m in zip(self._start, before, size, strict=True))
        self._update()

    def _on_centre(self) -> None:
        if self.scan.volume is not None:
            self._start = model.centred(self.place.size3, self.scan.volume.geometry.shape)
            self._moved()

    def _on_random(self) -> None:
        if self.scan.volume is not None and self.scan.scale is not None:
            address = Address(randbelow(2**31))
            self._start = model.random_start(self.place.size3, self.scan.volume, self.scan.scale, address)
            self._moved()
            self.box.go()

    def _moved(self) -> None:
        if self.address.lock.isChecked():
            self._update()
        else:
            self.address.next()

    # what is shown

    def _update(self) -> None:
        """Something that decides the voxels changed: wish for new ones."""
        if self.closed:
            return
        self.remember.start()
        seed, step, slot = self.address.value
        chain = self.chain.value
        if self._training is not None:
            maker = self._training.maker
            voxels = int(np.prod(self._training.patch))
            self.resolver.ask(partial(model.resolve_training, maker, chain, seed, step, slot), voxels)
            return
        if self.scan.volume is None or self.scan.scale is None or self.scan.grid is None:
            return
        size = self.place.size3
        self._start = model.clip_start(self._start, size, self.scan.grid.shape)
        self._frame = model.Frame(self.scan.volume, self.scan.scale, self._start, size, chain, seed, step, slot)
        self._show_box(self.scan.grid, self._start, size)
        self.resolver.ask(partial(model.resolve, self._frame), int(np.prod(size)))

    def _show_box(self, grid: Grid, start: model.Triple, size: model.Triple) -> None:
        self.box.show(grid, start, size)
        self.place.set_place(f"first voxel (x, y, z) {start[2]}, {start[1]}, {start[0]}")

    def _on_shown(self, shown: model.Shown) -> None:
        if self.closed:
            return
        self.show_error("")
        fresh = self._at != shown.geometry.origin  # elsewhere: the viewer's slices are others of the sub-volume
        self._at = shown.geometry.origin
        self.views.show_voxels(shown.arrays, shown.geometry, shown.unit)
        self.outcome.setText(f"outcome: {shown.outcome}")
        self.chain.set_drawn(shown.pairs.params)
        if self._training is not None:
            self._show_place_of(shown)
        if fresh:
            self._follow()

    def _on_failed(self, sentence: str) -> None:
        """What was shown no longer belongs to the settings: say so, and why."""
        self.outcome.setText("outcome: none with these settings")
        self.show_error(sentence)

    def _on_window(self) -> None:
        scale, unit = self.scan.scale, self.scan.unit
        if self._training is not None:
            sampler = self._training.maker.sampler
            scale, unit = sampler.scales[0], sampler.volumes[0].unit or ""
        if scale is not None:
            whole = (scale.low, scale.high)
            self.looks.set_hu(unit == "HU")
            self.views.set_window(*self.looks.window(self.scan.window or whole, whole))
            self.chain.set_scale(scale, unit)

    def _on_view(self) -> None:
        self.views.set_overlay(self.looks.overlay)
        self.views.set_cut(self.looks.cut.isChecked())
        self._on_window()
        self._follow()
        self.remember.start()

    def _on_dims(self, event: Any = None) -> None:
        if isalive(self) and not self.closed:
            self._follow()

    def _follow(self) -> None:
        """Show slices or volumes as wished, in the plane and at the place of the viewer."""
        dims = self.viewer.dims
        wished = self.looks.ndisplay
        self.views.set_ndisplay(dims.ndisplay if wished is None else wished)
        extra = dims.ndim - 3
        if extra < 0 or self.scan.grid is None:
            return
        order = tuple(axis - extra for axis in dims.order if axis >= extra)
        self.views.set_order(order)
        if self._frame is not None and self._training is None:
            index = self.scan.grid.to_index(np.asarray(dims.point[extra:], dtype=float))
            self.views.set_index(tuple(index - np.asarray(self._frame.start)))

    def _on_source(self, training: Training | None) -> None:
        """Show a training's own sub-volumes from now on, or the box again."""
        self._training = training
        self.place.setEnabled(training is None)
        self.address.slot.setMaximum(2**31 - 1 if training is None else training.config.batch - 1)
        self.resolver.forget()
        if training is not None:
            self.chain.set_value(training.config.chain)
            self.address.set_value(training.config.seed, self.address.step.value(), self.address.slot.value())
            self.set_primary(self.verb)
        self._on_window()
        self._update()

    def _show_place_of(self, shown: model.Shown) -> None:
        """Say which case the training drew from, and draw the box where that scan is open."""
        training = self._training
        sampler, place = training.maker.sampler, shown.pairs.locations[0]
        volume = sampler.volumes[place.case]
        size, address = training.patch, self.address.value
        self._frame = model.Frame(volume, sampler.scales[place.case], place.start, size, self.chain.value, *address)
        notes = training.describe(place.case, self.address.seed.value(), self.chain.value)
        if self.scan.volume is not None and self.scan.grid is not None and same_scan(self.scan.volume, volume):
            corner = self.scan.volume.geometry.to_index(shown.geometry.origin)
            start = tuple(int(v) for v in np.round(corner))
            self._show_box(self.scan.grid, start, shown.original.shape)
        else:
            self.box.hide()
            notes.append("not the picked layer, so without a box")
        self.source.say("; ".join(notes))
