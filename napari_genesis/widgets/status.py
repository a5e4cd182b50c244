"""The status area of a dock: progress with time left, device and memory, and errors with a way out."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_genesis.job_state import JobState

__all__ = ["StatusArea", "duration", "memory"]

ERROR_COLOURS = {"dark": "#ff7b72", "light": "#b3261e"}
WARNING_COLOURS = {"dark": "#f0b849", "light": "#8a5a00"}


def duration(seconds: float) -> str:
    """Return seconds for people: ``45 s``, ``3 min 20 s``, ``2 h 05 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3600:
        return f"{round(whole / 60)} min"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def memory(count: float) -> str:
    """Return bytes for people: ``75 KiB``, ``640 MiB``, ``1.8 GiB``."""
    if count >= 2**30:
        return f"{count / 2**30:.1f} GiB"
    return f"{count / 2**20:.0f} MiB" if count >= 2**20 else f"{count / 2**10:.0f} KiB"


class StatusArea(QWidget):
    """Progress bar, one line of facts, warnings, and the last error with a button that leads on."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("status")
        self.bar = QProgressBar(objectName="progress", textVisible=True, visible=False)
        self.facts = QLabel(objectName="facts", wordWrap=True, visible=False)
        self.warning = QLabel(objectName="warning", wordWrap=True, visible=False)
        self.error = QLabel(objectName="error", wordWrap=True)
        self.error.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.way_out = QPushButton(objectName="way-out")
        self._act: Callable[[], None] | None = None
        self.way_out.clicked.connect(self._on_way_out)
        self._error_box = QWidget(visible=False)
        row = QHBoxLayout(self._error_box)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.error, 1)
        row.addWidget(self.way_out, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in (self.bar, self.facts, self.warning, self._error_box):
            layout.addWidget(widget)
        self.set_theme("dark")

    def set_theme(self, kind: str) -> None:
        """Take the colours that read well on a ``dark`` or ``light`` theme."""
        self.error.setStyleSheet(f"color: {ERROR_COLOURS[kind]}; font-weight: bold; background: transparent")
        self.warning.setStyleSheet(f"color: {WARNING_COLOURS[kind]}; background: transparent")

    def show_error(self, sentence: str, label: str = "", act: Callable[[], None] | None = None) -> None:
        """Show ``sentence`` in red; ``label`` and ``act`` (a bound method) make the button that leads on."""
        self.error.setText(f"✖ {sentence}" if sentence else "")
        self.way_out.setText(label)
        self.way_out.setVisible(bool(label and act))
        self._act = act
        self._error_box.setVisible(bool(sentence))

    def show_warning(self, sentence: str) -> None:
        """Show a sentence that stops nothing; empty hides it."""
        self.warning.setText(f"⚠ {sentence}" if sentence else "")
        self.warning.setVisible(bool(sentence))

    def show_facts(self, text: str) -> None:
        """Show the line under the bar (device, memory); empty hides it."""
        self.facts.setText(text)
        self.facts.setVisible(bool(text))

    def show_state(self, state: JobState) -> None:
        """Show a job: bar and facts while it runs, the error when it failed."""
        self.bar.setVisible(state.active)
        total = state.total or 0
        self.bar.setRange(0, total)
        self.bar.setValue(min(state.step, total))
        progress = _progress(state)
        self.bar.setFormat(progress)
        # a bar without a known end shows no text
        pieces = [progress if state.active and not total else "", state.device, _bits(state.precision)]
        pieces.append(memory(state.memory) if state.memory else "")
        if any(pieces):
            self.show_facts("  ·  ".join(piece for piece in pieces if piece))
        self.show_warning("\n⚠ ".join(state.warnings[-3:]))
        if state.state == "failed":
            self.show_error(state.message, self.way_out.text(), self._act)
        elif state.active:
            self.show_error("")

    def _on_way_out(self) -> None:
        if self._act is not None:
            self._act()


def _progress(state: JobState) -> str:
    """Return how far a job is, how fast, and how long it still takes, as far as is known."""
    if state.state == "cancelling":
        return "stopping ..."
    done = f" {state.step} / {state.total}" if state.total else f" {state.step}" if state.step else ""
    parts = [f"{state.unit}{done}" if done else (state.what or "working")]
    if state.rate:
        parts.append(f"{state.rate:.1f} /s" if state.rate >= 0.1 else f"{1 / state.rate:.0f} s each")
    if state.seconds_left is not None and state.state == "running":
        parts.append(f"{duration(state.seconds_left)} left")
    return "  ·  ".join(parts)


def _bits(precision: str) -> str:
    return f"{precision} bit" if precision.isdigit() else precision
