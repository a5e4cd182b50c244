"""The rows of the gallery: for each outcome the transformed, restored and error slice with their figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QRect, QSize, Qt, Signal
from qtpy.QtGui import QImage, QPainter
from qtpy.QtWidgets import QFrame, QGridLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from genesis3d.transforms.outcomes import outcome_label
from napari_genesis.widgets.pretrain.learnt_work import grey, warm

if TYPE_CHECKING:
    from genesis3d.workflows.gallery_rows import Frame, Row

__all__ = ["OutcomeRow", "RowList"]

HEADS = ("transformed", "restored", "error")
SMALLEST, LARGEST = 84, 200  # pixels of a picture's width


class Picture(QWidget):
    """A slice as a picture in its own proportions, as wide as there is room for."""

    def __init__(self, height_over_width: float, name: str) -> None:
        super().__init__()
        self.setObjectName(name)
        self._ratio = height_over_width
        self._image = QImage()
        self.setMinimumWidth(SMALLEST)
        policy = QSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setSizePolicy(policy)
        self._fit(SMALLEST)

    @property
    def shown(self) -> bool:
        """Whether there is something to see."""
        return not self._image.isNull()

    def show_colours(self, colours: np.ndarray) -> None:
        """Show (H, W, 3) uint8."""
        height, width = colours.shape[:2]
        self._image = QImage(colours.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888).copy()
        self.update()

    def sizeHint(self) -> QSize:  # Qt's name
        """A third of a narrow dock."""
        return QSize(SMALLEST, self.height())

    def resizeEvent(self, event: Any) -> None:  # Qt's name
        """Keep the proportions."""
        self._fit(self.width())
        super().resizeEvent(event)

    def paintEvent(self, _event: Any) -> None:  # Qt's name
        """Draw the slice, voxels as squares, to the left."""
        if self.shown:
            painter = QPainter(self)
            painter.drawImage(QRect(0, 0, self._wide(self.width()), self.height()), self._image)
            painter.end()

    def _fit(self, width: int) -> None:
        height = max(8, round(self._wide(width) * self._ratio))
        if height != self.height() or self.minimumHeight() != height:
            self.setFixedHeight(height)

    def _wide(self, width: int) -> int:
        return min(max(width, SMALLEST), LARGEST)


class OutcomeRow(QFrame):
    """One outcome.

    Signals
    -------
    picked(object) : the :class:`Row`, by a click, or Enter or Space on it
    """

    picked = Signal(object)

    def __init__(self, row: Row, label: str, frame: Frame) -> None:
        super().__init__()
        from genesis3d.workflows.gallery_picture import middle, score_text
        from genesis3d.workflows.gallery_rows import INPUT

        self.row, self._label = row, label
        self.setObjectName("outcome-row")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        name = outcome_label(row.name)
        self.setToolTip(f"{row.said}\nclick to choose this row")
        self.setAccessibleName(name)
        self.title = QLabel(name, objectName="outcome-name", wordWrap=True)
        spacing, (height, width) = frame.geometry.spacing, row.target.shape[2:]
        ratio = height * spacing[1] / (width * spacing[2])
        self.pictures = [Picture(ratio, f"picture-{head}") for head in HEADS]
        off = np.abs(row.restored[label] - row.target)
        unit = f" {frame.unit}" if frame.unit else ""
        mean = f"{float(off.mean()) * frame.width:.3g}{unit}" if frame.unit else f"{float(off.mean()):.3f}"
        said = [score_text(row.shown[INPUT]), score_text(row.shown[label]), f"mean {mean}"]
        self.figures = [QLabel(text, objectName=f"figures-{head}") for head, text in zip(HEADS, said, strict=True)]
        for text in self.figures:
            text.setStyleSheet("font-size: 8pt; background: transparent")
        self._error = middle(off)
        self.pictures[0].show_colours(grey(middle(row.input)))
        self.pictures[1].show_colours(grey(middle(row.restored[label])))
        grid = QGridLayout(self)
        grid.setContentsMargins(4, 3, 4, 3)
        grid.setHorizontalSpacing(4)
        grid.setVerticalSpacing(1)
        grid.addWidget(self.title, 0, 0, 1, 3)
        for column, (picture, text) in enumerate(zip(self.pictures, self.figures, strict=True)):
            grid.addWidget(picture, 1, column)
            grid.addWidget(text, 2, column)
            grid.setColumnStretch(column, 1)
        self.choose(False, "transparent")

    @property
    def error(self) -> np.ndarray:
        """The slice of the error, (H, W) in [0, 1]."""
        return self._error

    def show_error(self, limit: float) -> None:
        """Draw the error with ``limit`` at the bright end of the colours."""
        self.pictures[2].show_colours(warm(self._error, limit))

    def choose(self, chosen: bool, accent: str) -> None:
        """Show whether this is the row chosen: a frame of the colour ``accent`` and a mark."""
        self.chosen = chosen
        name = outcome_label(self.row.name)
        self.title.setText(f"<b>▸ {name}</b>" if chosen else name)
        colour = accent if chosen else "transparent"
        self.setStyleSheet(f"#outcome-row {{ border: 2px solid {colour}; border-radius: 3px }}")

    def mousePressEvent(self, event: Any) -> None:  # Qt's name
        """A click chooses."""
        self.picked.emit(self.row)
        super().mousePressEvent(event)

    def keyPressEvent(self, event: Any) -> None:  # Qt's name
        """Enter or Space chooses."""
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space):
            self.picked.emit(self.row)
        else:
            super().keyPressEvent(event)


class RowList(QWidget):
    """The rows under each other, one scale of errors for all.

    Signals
    -------
    chosen(object) : the :class:`Row` chosen
    """

    chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.items: list[OutcomeRow] = []
        self._frame: Frame | None = None
        self._label, self._accent = "", "#4055aa"
        self.scale = QLabel(objectName="error-scale", wordWrap=True)
        self.scale.setStyleSheet("font-size: 8pt")
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(2)
        self._column.addWidget(self.scale)
        self._column.addWidget(self._heads())
        self.hide()

    def begin(self, frame: Frame, label: str) -> None:
        """Forget the rows; those that come are of the model called ``label``."""
        self.clear()
        self._frame, self._label = frame, label

    def clear(self) -> None:
        """Take all rows away."""
        for item in self.items:
            self._column.removeWidget(item)
            item.hide()
            item.deleteLater()
        self.items = []
        self.hide()

    def add(self, row: Row) -> None:
        """Add a row below the others; the first is chosen."""
        if self._frame is None:
            return
        item = OutcomeRow(row, self._label, self._frame)
        item.picked.connect(self.choose)
        self.items.append(item)
        self._column.addWidget(item)
        self._rescale()
        self.show()
        if len(self.items) == 1:
            self.choose(row)

    def choose(self, row: Row) -> None:
        """Choose ``row``."""
        for item in self.items:
            item.choose(item.row is row, self._accent)
        self.chosen.emit(row)

    def set_accent(self, colour: str) -> None:
        """Take the colour (``#rrggbb``) of the frame around the chosen row."""
        self._accent = colour
        for item in self.items:
            item.choose(item.chosen, colour)

    def _rescale(self) -> None:
        """Let the brightest error be the 99.5th percentile of all that is shown."""
        from genesis3d.workflows.gallery_picture import error_limit

        frame = self._frame
        if frame is None:
            return
        limit = error_limit([item.row for item in self.items])
        for item in self.items:
            item.show_error(limit)
        unit = f" {frame.unit}" if frame.unit else ""
        self.scale.setText(
            "PSNR and SSIM are of the whole sub-volume; "
            f"error from 0 (dark) to {limit * frame.width:.3g}{unit} (bright)."
        )

    def _heads(self) -> QWidget:
        box = QWidget()
        grid = QGridLayout(box)
        grid.setContentsMargins(5, 0, 5, 0)
        grid.setHorizontalSpacing(4)
        for column, text in enumerate(HEADS):
            label = QLabel(text)
            label.setMinimumWidth(SMALLEST)
            grid.addWidget(label, 0, column)
            grid.setColumnStretch(column, 1)
        return box
