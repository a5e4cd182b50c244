"""The maps a dock keeps: shown one at a time, compared, flicked between, seen in linked views."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, Signal
from qtpy.QtWidgets import QPushButton

from napari_genesis.widgets.anomaly.compare import ComparePanel
from napari_genesis.widgets.parts import fold, main_window

if TYPE_CHECKING:
    from napari.layers import Layer

    from napari_genesis.widgets.anomaly.kept import KeptMap
    from napari_genesis.widgets.anomaly.results import ResultPanel
    from napari_genesis.widgets.anomaly.views import LinkedViews

__all__ = ["Keeping"]


class Keeping(QObject):
    """Knows every map; tells panel, table and views which one is shown.

    Signals
    -------
    changed() : maps, or what they hold, are others than before
    """

    changed = Signal()

    def __init__(self, panel: ResultPanel) -> None:
        super().__init__(panel)
        self.panel = panel
        self.maps: list[KeptMap] = []
        self.views: LinkedViews | None = None
        self._scans: dict[int, ref[Layer]] = {}
        self.compare = ComparePanel()
        self.compare_fold = fold("Maps made so far", self.compare, "maps-fold")
        self.views_button = QPushButton("Show scan | restored | score", objectName="views", checkable=True)
        self.views_button.setToolTip("linked views beside each other: one slice, one zoom, one window")
        self.views_button.toggled.connect(self._on_views)
        self.compare.picked.connect(self.show_kept)
        self.compare.dropped.connect(self.drop)
        panel.counted.connect(self.refresh)

    def add(self, kept: KeptMap, scan: Layer | None) -> None:
        """Keep a map and show it."""
        if scan is not None:
            self._scans[id(kept)] = ref(scan)
        self.maps = [each for each in self.maps if each.layers.alive] + [kept]
        self.show_kept(kept)

    def replace(self, key: tuple[str, str, str]) -> None:
        """Take away the maps that were made of the same scan, by the same model and recipe."""
        for each in [each for each in self.maps if each.key == key]:
            self._forget(each)

    def show_kept(self, kept: KeptMap) -> None:
        """Show one of the maps; the layers of the others are hidden, as they are."""
        self.panel.settle()
        for each in self.maps:
            if each is not kept:
                each.layers.hide()
        kept.layers.unhide()
        self.panel.show_map(kept)
        if self.views is not None:
            self.views.show_map(kept, self.scan_of(kept))
        self.refresh()

    def drop(self, kept: KeptMap) -> None:
        """Take a map and its layers away; the one before it is shown."""
        if kept is self.panel.kept:
            self.panel.show_none()
        self._forget(kept)
        if self.maps and self.panel.kept is None:
            self.show_kept(self.maps[-1])
        elif not self.maps:
            self._no_views()
        self.refresh()

    def refresh(self) -> None:
        """Say in the table what the maps hold now; with a single map there is nothing to compare."""
        if isalive(self):
            self.compare_fold.setVisible(len(self.maps) > 1)
            self.views_button.setVisible(bool(self.maps))
            self.compare.show_maps(self.maps, self.panel.kept)
            self.changed.emit()

    def scan_of(self, kept: KeptMap) -> Layer | None:
        """Return the layer of the scan that a map was made of, while it is in the viewer."""
        known = self._scans.get(id(kept))
        layer = None if known is None else known()
        return layer if layer is not None and layer in self.panel.viewer.layers else None

    def close_down(self) -> None:
        """Close the views and forget the maps; their layers stay, they are the user's."""
        self._no_views()
        self.compare.close_down()
        self.maps.clear()
        self._scans.clear()

    def _forget(self, kept: KeptMap) -> None:
        kept.layers.remove()
        self.maps.remove(kept)
        self._scans.pop(id(kept), None)

    def _on_views(self, wanted: bool) -> None:
        if not wanted:
            self._no_views()
            return
        kept = self.panel.kept
        if kept is None or self.views is not None:
            return
        from napari_genesis.widgets.anomaly.views import LinkedViews

        viewer: Any = self.panel.viewer
        self.views = LinkedViews(viewer)
        self.views.show_map(kept, self.scan_of(kept))
        self.views.closed.connect(self._on_views_closed)
        viewer.window.add_dock_widget(self.views, name="Map", area="bottom")
        self._corner(Qt.DockWidgetArea.RightDockWidgetArea)

    def _no_views(self) -> None:
        views, self.views = self.views, None
        if views is not None and isalive(views):
            views.shut()
            self._corner(Qt.DockWidgetArea.BottomDockWidgetArea)
            self.panel.viewer.window.remove_dock_widget(views)
        self._uncheck()

    def _corner(self, area: Qt.DockWidgetArea) -> None:
        """Let docks at the right keep their height while the views are below, and give the corner back."""
        window = main_window(self.panel)
        if window is not None:
            window.setCorner(Qt.Corner.BottomRightCorner, area)

    def _on_views_closed(self) -> None:
        self.views = None
        self._uncheck()

    def _uncheck(self) -> None:
        if isalive(self.views_button):
            self.views_button.blockSignals(True)
            self.views_button.setChecked(False)
            self.views_button.blockSignals(False)
