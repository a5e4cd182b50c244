"""Labels that appear while they are computed: looked for by a timer of the GUI thread, drawn a few times a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from qtpy.QtCore import QObject, QTimer

if TYPE_CHECKING:
    from genesis3d.inference.canvas import Canvas

__all__ = ["REFRESH_MS", "Painter"]

REFRESH_MS = 200


class Painter(QObject):
    """Calls the bound method ``redraw`` when something was painted on a canvas, at most every 200 ms."""

    def __init__(self, owner: QObject, redraw: Callable[[list[Any]], None]) -> None:
        super().__init__(owner)
        self._redraw = WeakMethod(redraw)
        self._canvas: Canvas | None = None
        self._timer = QTimer(self)
        self._timer.setInterval(REFRESH_MS)
        self._timer.timeout.connect(self.look)

    def follow(self, canvas: Canvas) -> None:
        """Look at ``canvas`` from now on."""
        self._canvas = canvas
        self._timer.start()

    def look(self) -> None:
        """Draw what is new."""
        boxes = [] if self._canvas is None else self._canvas.take()
        redraw = self._redraw()
        if boxes and redraw is not None:
            redraw(boxes)

    def end(self) -> None:
        """Look no more."""
        self._timer.stop()
        self._canvas = None
