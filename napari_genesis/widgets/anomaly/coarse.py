"""The first, coarse score of a map: shown within seconds, refined in place, gone when the map is there or stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from genesis3d.errors import GenesisError
from napari_genesis.layers import add_volume
from napari_genesis.widgets.anomaly.layers import show_bar
from napari_genesis.widgets.anomaly.looks import colour_limit, score_colours

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from napari.layers import Layer

    from genesis3d.volume import Volume

__all__ = ["CoarseScore"]


class CoarseScore:
    """A layer of a score that is still being made; a layer the user takes away stays away."""

    def __init__(self, viewer: ViewerModel, like: Layer | None, name: str, limit: float | None) -> None:
        self._viewer, self._like, self._name, self._limit = viewer, like, name, limit
        self._buffer: Volume | None = None
        self._layer: Layer | None = None

    @property
    def layer(self) -> Layer | None:
        """The layer, while it is in the viewer."""
        return self._layer if self._layer is not None and self._layer in self._viewer.layers else None

    @property
    def begun(self) -> bool:
        """Whether anything was shown."""
        return self._layer is not None

    def show(self, score: Volume) -> None:
        """Show ``score``, in the layer that is there."""
        if self._buffer is not None:
            np.copyto(self._buffer.data, score.data)
            if self.layer is not None:
                self.layer.refresh(extent=False, thumbnail=False, highlight=False)
            return
        self._buffer = score.with_data(score.data.astype(np.float32))
        like = self._like if self._like is not None and self._like in self._viewer.layers else None
        limit = self._limit or colour_limit(score, score.with_data(score.data > 0))
        looks = {"colormap": score_colours(), "contrast_limits": (0.0, limit), "blending": "translucent"}
        active = self._viewer.layers.selection.active
        try:
            self._layer = add_volume(self._viewer, self._buffer, like, kind="image", name=self._name, opacity=0.85,
                                     **looks)  # fmt: skip
        except GenesisError:  # the scan's layer was moved or turned meanwhile: said when the map is there
            return
        show_bar(self._layer)
        self._viewer.layers.selection.active = active if active in self._viewer.layers else None

    def discard(self) -> None:
        """Take the layer away."""
        if self.layer is not None:
            self._viewer.layers.remove(self.layer)
        self._layer = self._buffer = None
