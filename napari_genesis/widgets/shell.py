"""The family of docks: one shape, one look, one behaviour.

Header, inputs, settings (the rest under "More"), one primary button that says what it will do and becomes Stop,
status, results.  A dock overrides :meth:`Dock.start`, :meth:`Dock.stop`, :meth:`Dock.reset` and fills the layouts.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from napari.utils.theme import get_theme
from qtpy.compat import isalive
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QAbstractButton,
    QHBoxLayout,
    QLabel,
    QMainWindow,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from napari_genesis.jobs import Job, JobState, close_jobs, close_with
from napari_genesis.widgets.parts import Scroll, fold, form_layout, main_window, show_page, theme_kind, unwrapped
from napari_genesis.widgets.pickers import LayerPicker, describe_layer
from napari_genesis.widgets.shared import Store
from napari_genesis.widgets.status import StatusArea, duration, memory

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["Dock", "LayerPicker", "StatusArea", "describe_layer", "duration", "fold", "form_layout", "memory",
           "theme_kind"]  # fmt: skip


class Dock(QWidget):
    """Base of every dock.

    Class attributes
    ----------------
    title, summary : the header: name, and one line of what the dock does
    page : name of its page in docs (``pretrain-dock`` for docs/pretrain-dock.md), opened by ``?``
    verb : what the primary button says at first

    Layouts to fill: ``inputs``, ``settings``, ``more`` (form layouts), ``results`` (vertical).
    """

    title = "Genesis"
    summary = ""
    page = ""
    verb = "Start"

    # napari hands the viewer over by this very annotation (or the name napari_viewer)
    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.viewer = viewer = unwrapped(viewer)
        self.setObjectName(f"genesis-{type(self).__name__}")
        self.store = Store(type(self).__name__)
        self.closed = False
        self._docked = False
        self._jobs: list[Job] = []
        self._tended: list[Job] = []
        self._pickers: list[LayerPicker] = []
        self._label, self._possible = self.verb, True
        self._build()
        viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        close_with(self, self._jobs)
        close_with(self, self._tended)

    # what a dock overrides

    def start(self) -> None:
        """Do what the primary button says."""

    def stop(self) -> None:
        """Stop what runs, saving what there is."""
        for job in self._jobs:
            if job.running:
                job.stop()

    def reset(self) -> None:
        """Return the settings to their defaults (the remembered ones are forgotten already)."""

    def may_close(self) -> None:
        """Do what must be done, or asked, before napari's window closes; jobs are stopped afterwards anyway."""

    def on_ended(self, state: JobState) -> None:
        """Take the result of a watched job that has ended."""

    # what a dock uses

    def picker(self, **arguments: Any) -> LayerPicker:
        """Return a :class:`LayerPicker` on the dock's viewer that is let go with the dock."""
        made = LayerPicker(self.viewer, **arguments)
        self._pickers.append(made)
        return made

    def set_primary(self, text: str, possible: bool = True, why: str = "") -> None:
        """Say on the primary button what it will do; ``why`` (tooltip) when it cannot."""
        self._label, self._possible = text, possible
        self.primary.setToolTip(why)
        self._update_primary()

    def watch(self, job: Job) -> None:
        """Show ``job`` in the status area, let the primary button stop it, and end it with the dock."""
        self._jobs[:] = [each for each in self._jobs if each.running and each is not job] + [job]
        for signal, slot in ((job.changed, self._on_changed), (job.ended, self._on_job_ended)):
            with suppress(TypeError):  # watched before: once is enough
                signal.disconnect(slot)
            signal.connect(slot)
        self._listen_to_window()
        self._on_changed(job.state)

    def tend(self, job: Job) -> None:
        """End ``job``, which helps the dock and is not what its primary button does, with the dock."""
        self._tended[:] = [each for each in self._tended if each.running] + [job]

    def show_error(self, sentence: str, label: str = "", act: Any = None) -> None:
        """Show an error in red; ``label`` and the bound method ``act`` make a button that leads on."""
        self.status.show_error(sentence, label, act)

    @property
    def running(self) -> bool:
        """Whether a watched job is under way, or its process still on its way out."""
        return any(job.running for job in self._jobs)

    def shutdown(self) -> None:
        """Stop jobs and let go of the viewer; the dock is of no use afterwards."""
        if self.closed:
            return
        self.closed = True
        close_jobs(self._jobs)
        close_jobs(self._tended)
        self.viewer.events.theme.disconnect(self._on_theme)
        for picker in self._pickers:
            if isalive(picker):
                picker.disconnect_viewer()
        self._pickers.clear()

    # inside

    def _build(self) -> None:
        self.inputs, self.settings, self.more = form_layout(), form_layout(), form_layout()
        more = QWidget()
        more.setLayout(self.more)
        self.more_fold = fold("More", more, "more")
        self.primary = QPushButton(self.verb, objectName="primary")
        self.primary.setMinimumHeight(32)
        self.primary.clicked.connect(self._on_primary)
        self.status = StatusArea()
        self.results = QVBoxLayout()
        column = QVBoxLayout()
        column.setContentsMargins(8, 6, 8, 8)
        column.setSpacing(8)
        column.addLayout(self._header())
        for part in (self.inputs, self.settings):
            column.addLayout(part)
        column.addWidget(self.more_fold)
        self.actions = QHBoxLayout()  # a dock may put further buttons beside the primary one
        self.actions.addWidget(self.primary, 1)
        column.addLayout(self.actions)
        column.addWidget(self.status)
        column.addLayout(self.results)
        column.addStretch(1)
        body = QWidget(objectName="dock-body")
        body.setLayout(column)
        self.scroll = Scroll(body)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(self.scroll)

    def _header(self) -> QHBoxLayout:
        row = QHBoxLayout()
        text = QLabel(f"<b>{self.title}</b><br>{self.summary}", objectName="header", wordWrap=True)
        row.addWidget(text, 1)
        for name, label, tip, slot in (
            ("reset", "Reset", "return all settings of this dock to their defaults", self._on_reset),
            ("help", "?", "what this dock does", self.show_help),
        ):
            button = QToolButton(objectName=name)
            button.setText(label)
            button.setToolTip(tip)
            button.clicked.connect(slot)
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        return row

    def show_help(self) -> None:
        """Open the dock's page in a window of its own."""
        show_page(self, self.title, self.page, f"# {self.title}\n\n{self.summary}")

    def _update_primary(self) -> None:
        states = [job.state.state for job in self._jobs if job.running]
        if not states:
            self.primary.setText(self._label)
            self.primary.setEnabled(self._possible)
        elif "running" in states:
            self.primary.setText("Stop")
            self.primary.setEnabled(True)
        else:
            self.primary.setText("Stopping ..." if "cancelling" in states else "Finishing ...")
            self.primary.setEnabled(False)

    def _on_primary(self) -> None:
        if self.running:
            self.stop()
        else:
            self.show_error("")
            self.start()
        self._update_primary()

    def _on_reset(self) -> None:
        self.store.clear()
        self.reset()

    def _on_changed(self, state: JobState) -> None:
        self.status.show_state(state)
        self._update_primary()

    def _on_job_ended(self, state: JobState) -> None:
        self.status.show_state(state)
        self._update_primary()
        self.on_ended(state)

    def _on_theme(self, event: Any = None) -> None:
        if isalive(self):
            self.status.set_theme(theme_kind(self.viewer))
            accent = get_theme(self.viewer.theme).current.as_hex()
            self.primary.setStyleSheet(f"QPushButton:enabled {{ background-color: {accent}; font-weight: bold }}")

    def _listen_to_window(self) -> None:
        window = main_window(self)
        if window is not None:  # installing it again only moves it to the front
            window.installEventFilter(self)

    def eventFilter(self, watched: Any, event: QEvent) -> bool:  # Qt's name
        """Hear of napari's window closing before it does."""
        if event.type() == QEvent.Type.Close and not self.closed and isinstance(watched, QMainWindow):
            self.may_close()
        return super().eventFilter(watched, event)

    def showEvent(self, event: Any) -> None:  # Qt's name
        """A fold with nothing in it is not shown."""
        self._listen_to_window()
        self.more_fold.setVisible(self.more.rowCount() > 0)
        super().showEvent(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # Qt's name
        """Enter starts, or presses the button that has the focus; Esc stops."""
        enter = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter)
        escape = event.key() == Qt.Key.Key_Escape
        focus = self.focusWidget()
        if enter and isinstance(focus, QAbstractButton) and focus is not self.primary:
            focus.click()
        elif self.primary.isEnabled() and (escape if self.running else enter):
            self._on_primary()
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: Any) -> None:  # Qt's name
        """A dock that is a window of its own ends when it is closed."""
        self.shutdown()
        super().closeEvent(event)

    def event(self, event: QEvent) -> bool:
        """Notice being taken out of the viewer: napari then gives the widget no parent."""
        result = super().event(event)
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is not None:
                self._docked = True
            elif self._docked:
                self.shutdown()
        return result
