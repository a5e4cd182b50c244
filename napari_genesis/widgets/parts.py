"""Small things all docks share: layouts, folds, a scroll area that cuts nothing, the theme, pages of help."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QSize, Qt, QTimer
from qtpy.QtGui import QIcon, QStandardItemModel
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QMainWindow,
    QScrollArea,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)
from superqt import QCollapsible

__all__ = ["Fold", "Scroll", "add_heading", "fold", "form_layout", "main_window", "page_text", "show_page",
           "side_by_side", "theme_kind", "unwrapped"]  # fmt: skip


def form_layout() -> QFormLayout:
    """Return a form layout whose long rows wrap, as all docks use it."""
    layout = QFormLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(6)
    layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return layout


class Fold(QCollapsible):
    """A fold whose arrow is text, so that it has the theme's colour."""

    def __init__(self, title: str, name: str) -> None:
        super().__init__(title)
        self._title = title
        self.setObjectName(name)
        self.setDuration(0)
        self.setExpandedIcon(QIcon())
        self.setCollapsedIcon(QIcon())
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.toggleButton().setStyleSheet("text-align: left; background: transparent; border: none; font-weight: bold")
        self.toggled.connect(self._on_toggled)
        self._on_toggled(False)

    def _on_toggled(self, is_open: bool) -> None:
        self.setText(f"{'▾' if is_open else '▸'}  {self._title}")


def fold(title: str, content: QWidget, name: str, is_open: bool = False) -> Fold:
    """Return ``content`` under a fold called ``title``."""
    made = Fold(title, name)
    made.addWidget(content)
    if is_open:
        made.expand(animate=False)
    return made


class Scroll(QScrollArea):
    """Scrolls up and down only, and is never narrower than what it holds."""

    def __init__(self, body: QWidget) -> None:
        super().__init__()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setWidget(body)
        self._brought = body

    def minimumSizeHint(self) -> QSize:  # Qt's name
        """As wide as the body needs, 200 px high at least."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self.widget().minimumSizeHint().width() + bar, 200)

    def sizeHint(self) -> QSize:  # Qt's name
        """A modest width: the viewer needs the rest."""
        return QSize(max(340, self.minimumSizeHint().width()), 600)

    def bring_up(self, widget: QWidget) -> None:
        """Scroll, once layouts are done, until ``widget`` stands at the top or nothing is left below."""
        self._brought = widget
        QTimer.singleShot(0, self._bring)

    def _bring(self) -> None:
        inside = self.widget()
        if inside is not None and inside.isAncestorOf(self._brought):
            self.verticalScrollBar().setValue(self._brought.mapTo(inside, QPoint(0, 0)).y() - 8)


def add_heading(combo: QComboBox, text: str) -> None:
    """Add ``text`` to the entries of ``combo`` as a heading, which cannot be chosen."""
    combo.addItem(text)
    model = combo.model()
    assert isinstance(model, QStandardItemModel)
    item = model.item(combo.count() - 1)
    item.setEnabled(False)
    font = item.font()
    font.setBold(True)
    item.setFont(font)


def theme_kind(viewer: ViewerModel) -> str:
    """Return ``"dark"`` or ``"light"``: how the viewer's theme looks."""
    from napari.utils.theme import get_theme

    red, green, blue = get_theme(viewer.theme).background.as_rgb_tuple()[:3]
    return "dark" if (0.299 * red + 0.587 * green + 0.114 * blue) < 128 else "light"


def page_text(page: str) -> str:
    """Return the text of a page of docs, which lies beside the package in a checkout and inside it in a wheel."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "docs", package.parent / "docs"):
        if page and (folder / f"{page}.md").is_file():
            return (folder / f"{page}.md").read_text(encoding="utf-8")
    return ""


def show_page(parent: QWidget, title: str, page: str, otherwise: str = "") -> None:
    """Open a page of docs in a window of its own; ``otherwise`` is shown where the page is missing."""
    dialog = QDialog(parent, objectName="help-dialog")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setWindowTitle(title)
    browser = QTextBrowser(openExternalLinks=True)
    browser.setMarkdown(page_text(page) or otherwise or f"# {title}")
    QVBoxLayout(dialog).addWidget(browser)
    dialog.resize(560, 620)
    dialog.open()


def main_window(widget: QWidget) -> QMainWindow | None:
    """Return napari's window that ``widget`` is in, docked or floating; None outside of one."""
    parent = widget.parent()
    while parent is not None and not (isinstance(parent, QMainWindow) and parent.parent() is None):
        parent = parent.parent()
    return parent


def unwrapped(thing: Any) -> Any:
    """Return what is inside napari's proxy for plugins, in which a layer is not identical with itself."""
    while hasattr(thing, "__wrapped__"):
        thing = thing.__wrapped__
    return thing


def side_by_side(first: QWidget, second: QWidget, stretch: tuple[int, int] = (1, 1)) -> QWidget:
    """Return one widget of two beside each other."""
    box = QWidget()
    row = QHBoxLayout(box)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(first, stretch[0])
    row.addWidget(second, stretch[1])
    return box
