"""The layers of one segmentation: labels that fill up while they are computed, probabilities and uncertainty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_genesis.layers import add_volume, volume_from_layer
from napari_genesis.segmentations import described
from napari_genesis.widgets.colours import coloured, one_sided

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Labels, Layer
    from numpy.typing import NDArray

    from genesis3d.labels import LabelClass
    from genesis3d.volume import Volume

__all__ = ["SegmentLayers"]

PARTIAL = " (part)"


class SegmentLayers:
    """What one segmentation shows in the viewer.

    Attributes
    ----------
    volume : the labels (1, D, H, W) uint16 on the scan's canonical grid, whose array the labels layer shows
    names : of scan and model
    edited : whether somebody painted in the labels
    """

    def __init__(
        self,
        viewer: ViewerModel,
        volume: Volume,
        like: Layer | None,
        names: tuple[str, str],
        classes: Sequence[LabelClass],
    ) -> None:
        self.viewer, self.volume, self.classes, self.names = viewer, volume, tuple(classes), names
        self.edited = False
        self._own = False
        self._labels: Labels | None = None
        self._further: dict[str, list[Layer]] = {}
        self._add(like)

    @property
    def labels(self) -> Labels | None:
        """The labels layer while it is in the viewer."""
        return self._labels if self._labels is not None and self._labels in self.viewer.layers else None

    @property
    def alive(self) -> bool:
        """Whether any of the layers is still in the viewer."""
        return self.labels is not None or any(self.further(role) for role in self._further)

    def further(self, role: str) -> list[Layer]:
        """Return the layers of ``probability`` or ``entropy`` that are in the viewer."""
        return [layer for layer in self._further.get(role, []) if layer in self.viewer.layers]

    def redraw(self) -> None:
        """Show what was written into the array."""
        layer = self.labels
        if layer is not None:
            layer.refresh(extent=False, thumbnail=False, highlight=False)

    def finish(self, labels: NDArray[Any], complete: bool) -> None:
        """Show the final ``labels`` (D, H, W); of a stopped segmentation the name says so."""
        if not np.shares_memory(self.volume.data, labels):
            np.copyto(self.volume.data[0], labels, casting="unsafe")
        layer = self.labels
        if layer is None:
            self._add(None)
            layer = self.labels
        if layer is not None:
            layer.name = self._name("segmentation") + ("" if complete else PARTIAL)
            layer.refresh()
            layer.editable = True

    def release(self) -> None:
        """Leave an unfinished layer to the user."""
        if self.labels is not None:
            self.labels.editable = True

    def current(self) -> Volume | None:
        """Return the labels as they are in the viewer now, corrections included; None once the layer is gone."""
        return None if self.labels is None else volume_from_layer(self.labels)

    def replace_values(self, labels: NDArray[Any]) -> int:
        """Show other ``labels`` (canonical D, H, W), as one step that napari's undo takes back; return the changes."""
        layer, now = self.labels, self.current()
        if layer is None or now is None:
            return 0
        changed = np.nonzero(now.data[0] != labels)
        if len(changed[0]):
            with self._by_us():
                layer.data_setitem(_stored(changed, layer, now), np.asarray(labels)[changed])
            layer.refresh()
        return len(changed[0])

    def undo(self) -> None:
        """Take back the last change of the labels."""
        layer = self.labels
        if layer is not None:
            with self._by_us():
                layer.undo()
            layer.refresh()

    def show_probabilities(self, volume: Volume) -> None:
        """Show the probability (K, D, H, W) of each class but the background, replacing those shown before."""
        self._drop("probability")
        for index, each in enumerate(self.classes):
            if index:
                one = volume.with_data(volume.data[index])
                self._show("probability", one, f"probability of {each.name}", visible=index == 1)

    def show_entropy(self, volume: Volume) -> None:
        """Show the uncertainty (1, D, H, W), from 0 to 1, replacing the one shown before."""
        self._drop("entropy")
        self._show("entropy", volume, "uncertainty", visible=True)

    def remove(self) -> None:
        """Take away what is left of the layers."""
        for role in list(self._further):
            self._drop(role)
        if self.labels is not None:
            self.viewer.layers.remove(self.labels)
        self._labels = None

    # inside

    def _name(self, what: str) -> str:
        scan, model = self.names
        return f"{scan} - {what} ({model})"

    def _add(self, like: Layer | None) -> None:
        """Add the labels layer where ``like`` lies; one that was taken away before comes back as it was."""
        if self._labels is not None:
            self.viewer.layers.append(self._labels)
            return
        known = coloured(self.classes)
        options = described(known, {})
        further = options.pop("metadata", {})
        options |= {"name": self._name("segmentation"), "opacity": 0.6}
        layer = add_volume(self.viewer, self.volume, like, kind="labels", **options)
        layer.metadata.update(further)
        if known:
            layer.selected_label = known[0].value
        layer.editable = False  # a stroke would be painted over
        for name in ("paint", "labels_update"):
            getattr(layer.events, name).connect(self._on_edit)
        self._labels = layer

    def _on_edit(self, _: Any = None) -> None:
        self.edited = self.edited or not self._own

    @contextmanager
    def _by_us(self) -> Iterator[None]:
        """Changes made meanwhile are no person's corrections."""
        self._own = True
        try:
            yield
        finally:
            self._own = False

    def _show(self, role: str, volume: Volume, what: str, visible: bool) -> None:
        active = self.viewer.layers.selection.active
        options = {"name": self._name(what), "contrast_limits": (0.0, 1.0), "blending": "translucent"}
        options |= {"colormap": one_sided(f"genesis {role}"), "opacity": 0.7, "visible": visible}
        layer = add_volume(self.viewer, volume, self.labels, kind="image", **options)
        layer.colorbar.visible = visible
        layer.metadata["genesis result"] = role
        self._further.setdefault(role, []).append(layer)
        self.viewer.layers.selection.active = active if active in self.viewer.layers else None

    def _drop(self, role: str) -> None:
        for layer in self.further(role):
            self.viewer.layers.remove(layer)
        self._further.pop(role, None)


def _stored(index: tuple[NDArray[Any], ...], layer: Layer, canonical: Volume) -> tuple[NDArray[Any], ...]:
    """Turn voxel indices of ``canonical``, read from ``layer``, into those of the layer's own array."""
    if layer.data.strides == canonical.data[0].strides:
        return index
    turn, size = canonical.orientation, canonical.data.shape[1:]
    turned = [index[0]] * 3
    for axis, source in enumerate(turn.permutation):
        turned[source] = size[axis] - 1 - index[axis] if turn.flips[axis] else index[axis]
    return tuple(turned)
