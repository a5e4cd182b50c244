"""The sentence on a primary button: in one line where it fits, else in two, a long name shortened."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakMethod

from qtpy.compat import isalive
from qtpy.QtCore import QEvent, QObject, Qt, QTimer
from qtpy.QtWidgets import QPushButton, QSizePolicy

if TYPE_CHECKING:
    from napari_genesis.widgets.shell import Dock

__all__ = ["Resized", "say"]


def say(dock: Dock, what: str, name: str, where: str) -> None:
    """Put ``what`` (with ``{}`` for ``name``) and ``where`` on the primary button of ``dock``."""
    button = dock.primary
    metrics = button.fontMetrics()
    room = int(0.9 * button.width()) - 16  # the theme's button text is bolder than its metrics
    line = f"{what.format(name)} {where}"
    if metrics.horizontalAdvance(line) > room:
        spare = max(60, room - metrics.horizontalAdvance(what.format("")))
        short = metrics.elidedText(name, Qt.TextElideMode.ElideMiddle, spare)
        button.setMinimumHeight(2 * metrics.height() + 14)
        dock.set_primary(f"{what.format(short)}\n{where}", why=line)
    else:
        button.setMinimumHeight(32)
        dock.set_primary(line, why=line)


class Resized(QObject):
    """Lets ``button`` be as narrow as its dock, and calls the dock's bound method ``act`` when its room changed."""

    def __init__(self, button: QPushButton, act: Callable[[], Any]) -> None:
        super().__init__(button)
        self._act = WeakMethod(act)
        self._width = button.width()
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        button.installEventFilter(self)
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._tell)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # Qt's name
        """Notice another width."""
        if event.type() == QEvent.Type.Resize and watched.width() != self._width:  # type: ignore[attr-defined]
            self._width = watched.width()  # type: ignore[attr-defined]
            self._later.start(0)
        return False

    def _tell(self) -> None:
        act = self._act()
        dock = None if act is None else act.__self__
        if dock is not None and isalive(dock) and not dock.closed and not dock.running:
            act()
