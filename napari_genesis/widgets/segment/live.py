"""Labels that appear while they are computed: looked for by a timer of the GUI thread, drawn a few times a second."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakMethod

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from genesis3d.inference.canvas import Canvas

__all__ = ["REFRESH_MS", "Painter"]

REFRESH_MS = 200
REST_IN_3D = 2.0  # seconds: each change there uploads the whole volume


class Painter(QObject):
    """Calls the bound method ``redraw`` when something was painted on a canvas, at most every 200 ms, 2 s in 3D."""

    def __init__(self, owner: QObject, viewer: ViewerModel, redraw: Callable[[], None]) -> None:
        super().__init__(owner)
        self._viewer = viewer
        self._redraw = WeakMethod(redraw)
        self._canvas: Canvas | None = None
        self._changed, self._drawn = False, 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.look)

    def follow(self, canvas: Canvas) -> None:
        """Look at ``canvas`` from now on."""
        self._canvas, self._changed, self._drawn = canvas, False, 0.0
        self._timer.start()

    def look(self) -> None:
        """Draw what is new."""
        if self._canvas is not None and self._canvas.take():
            self._changed = True
        rest = REST_IN_3D if self._viewer.dims.ndisplay == 3 else 0.0
        redraw = self._redraw()
        if self._changed and redraw is not None and time.monotonic() >= self._drawn + rest:
            self._changed = False
            redraw()
            self._drawn = time.monotonic()

    def end(self) -> None:
        """Look no more."""
        self._timer.stop()
        self._canvas = None
