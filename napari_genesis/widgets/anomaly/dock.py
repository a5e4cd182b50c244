"""The Anomaly map dock: restore a scan in the background, see and measure what the network could not explain."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox, QFileDialog

from genesis3d.errors import GenesisError
from genesis3d.workflows.anomaly import AnomalySettings
from napari_genesis.forms import ConfigForm
from napari_genesis.guessing import likely_device, rounded
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.layers import volume_from_layer
from napari_genesis.widgets.anomaly.layers import MapLayers
from napari_genesis.widgets.anomaly.results import ResultPanel
from napari_genesis.widgets.anomaly.work import Request, guess_seconds, mapping, saving, work_of
from napari_genesis.widgets.models import ModelPicker, model_name
from napari_genesis.widgets.saying import Resized, say
from napari_genesis.widgets.shell import Dock, duration

if TYPE_CHECKING:
    import napari

    from genesis3d.volume import Volume
    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["AnomalyDock"]

FOUND, WHOLE = "found in the CT", "the whole scan (no CT in HU)"
SHOWN = ("overlap", "device")
MORE = ("window", "batch", "precision", "threads", "smooth", "rim_mm")


class AnomalyDock(Dock):
    """Maps a scan; the result's slider, table and layers act at once."""

    title = "Anomaly map"
    summary = "What a restoration network could not explain in a scan. Not for clinical use."
    page = "anomaly"
    verb = "Map"

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.models = ModelPicker(self.store, self.viewer, "restoration")
        self.layer_picker = self.picker()
        self.lungs_picker = self.picker(kinds=("labels",), optional=FOUND)
        self.form = ConfigForm(AnomalySettings, SHOWN, value=self._remembered())
        self.more_form = ConfigForm(AnomalySettings, MORE, value=self.form.value)
        self.replace_last = QCheckBox("replace the last map of this scan and model", checked=True)
        self.panel = ResultPanel(viewer)
        for name, part in (("Model", self.models), ("Scan", self.layer_picker), ("Lungs", self.lungs_picker)):
            self.inputs.addRow(name, part)
        self.settings.addRow(self.form)
        self.more.addRow(self.more_form)
        self.more.addRow(self.replace_last)
        self.results.addWidget(self.panel)
        self._request: Request | None = None
        self._named: tuple[str, str] = ("", "")
        self._maps: list[tuple[tuple[str, str], MapLayers]] = []
        self._like: Any = None
        Resized(self.primary, self._describe)
        self._connect()
        self._describe()

    @property
    def map(self) -> AnomalyMap | None:
        """The map shown, with the threshold, lungs and regions as they are now."""
        return self.panel.result

    @property
    def config(self) -> AnomalySettings:
        """The settings as the two forms say them."""
        more = {name: getattr(self.more_form.value, name) for name in MORE}
        return self.form.value.replaced(**more)

    def start(self) -> None:
        """Map the picked scan with the picked model."""
        layer, path = self.layer_picker.layer, self.models.path
        if layer is None or path is None:
            return
        try:
            volume = replace(volume_from_layer(layer), notes=())  # said when the scan was opened
            lungs = self._lungs()
        except GenesisError as error:
            self.show_error(str(error))
            return
        source = "layer" if lungs is not None else "auto" if volume.unit == "HU" else "none"
        self._request = Request(volume, path, self._own_threads(self.config), lungs, source, [])
        self._named, self._like = (layer.name, model_name(path)), layer
        job = ThreadJob(mapping(self._request), name="anomaly map")
        self.watch(job)
        job.changed.connect(self._on_phase)
        job.start()

    def reset(self) -> None:
        """Return to the default settings."""
        self.form.set_value(AnomalySettings())
        self.more_form.set_value(AnomalySettings())
        self.replace_last.setChecked(True)
        self._describe()

    def on_ended(self, state: JobState) -> None:
        """Show the map, or say what a saving wrote."""
        if state.state == "finished" and "folder" in state.result:
            self.status.show_facts(f"saved in {state.result['folder']}")
        request, self._request = self._request, None
        if request is not None and request.result and state.state == "finished":
            self._learn_speed(request, state)
            self._show(request.result[0])
        elif request is not None and state.state == "cancelled":
            self.status.show_facts("stopped: no map was made")
        self._like = None
        self._describe()

    def save(self, folder: str | Path) -> None:
        """Write the map shown into ``folder``, as ``genesis3d anomaly`` does."""
        result = self.panel.settled()
        if result is None or self.running:
            return
        job = ThreadJob(saving(result, Path(folder)), name="saving the map")
        self.watch(job)
        job.start()

    def export(self, path: str | Path) -> None:
        """Write the table of regions as CSV."""
        from genesis3d.workflows.anomaly_files import table_text, write_text

        result = self.panel.settled()
        if result is None:
            return
        try:
            write_text(Path(path), table_text(result))
        except GenesisError as error:
            self.show_error(str(error))
        else:
            self.status.show_facts(f"{len(result.regions)} regions written to {path}")

    def shutdown(self) -> None:
        """Stop, and let go of the viewer; layers made stay, they are the user's."""
        if not self.closed:
            self.panel.close_down()
            self._maps.clear()
            self._request = self._like = None
        super().shutdown()

    def _connect(self) -> None:
        for signal in (self.models.changed, self.layer_picker.changed, self.lungs_picker.changed):
            signal.connect(self._describe)
        for form in (self.form, self.more_form):
            form.changed.connect(self._on_settings)
        self.panel.save_button.clicked.connect(self._on_save)
        self.panel.export_button.clicked.connect(self._on_export)
        self.panel.failed.connect(self.show_error)

    def _show(self, result: AnomalyMap) -> None:
        scan, model = self._named
        for key, made in self._maps:
            if key == self._named and self.replace_last.isChecked():
                made.remove()
        like = self._like if self._like is not None and self._like in self.viewer.layers else None
        try:
            layers = MapLayers(self.viewer, result, like, model, scan)
        except GenesisError as error:  # the scan's layer was moved or turned meanwhile
            self.show_error(str(error))
            return
        self._maps = [pair for pair in self._maps if pair[1].alive] + [(self._named, layers)]
        self.panel.show_map(result, layers)

    def _on_phase(self, state: JobState) -> None:
        """Before the first window there is nothing to count: say what goes on."""
        if state.active and not state.total:
            self.status.show_facts("finding the lungs" if self._finds_lungs() else "reading the model")

    def _finds_lungs(self) -> bool:
        return self._request is not None and self._request.lungs_from == "auto"

    def _lungs(self) -> Volume | None:
        layer = self.lungs_picker.layer
        return None if layer is None else volume_from_layer(layer)

    def _own_threads(self, config: AnomalySettings) -> AnomalySettings:
        """Leave a core to the window, unless the user said how many threads."""
        from genesis3d.training.precision import default_threads

        return config if config.threads is not None else config.replaced(threads=default_threads())

    def _remembered(self) -> AnomalySettings:
        try:
            return AnomalySettings.parse(self.store.get("settings", {}))
        except GenesisError:
            return AnomalySettings()

    def _on_settings(self, _: object = None) -> None:
        self.store.put("settings", self.config.to_dict())
        self._describe()

    def _describe(self, _: object = None) -> None:
        """Say on the button what it will do, or why it cannot."""
        if not isalive(self) or self.closed:
            return
        layer, card = self.layer_picker.layer, self.models.card
        known = {} if layer is None else layer.metadata.get("genesis", {})
        in_hu = known.get("unit") == "HU"
        self.lungs_picker.combo.setItemText(0, FOUND if in_hu or layer is None else WHOLE)
        self.models.set_layer(layer)
        if layer is None or card is None:
            missing = "open a scan first" if layer is None else "choose a model first"
            self.set_primary("Map", False, missing)
            return
        shape = tuple(int(n) for n in layer.data.shape)
        size = "x".join(str(n) for n in reversed(shape))
        device = likely_device(self.config.device)
        speed = self.store.get(f"speed {device}")
        part = in_hu or self.lungs_picker.layer is not None
        seconds = guess_seconds(card, shape, self.config, speed, part)
        say(self, f"Map {{}} ({size})", layer.name, f"on {device.upper()}, about {duration(rounded(seconds))}")

    def _learn_speed(self, request: Request, state: JobState) -> None:
        """Remember how fast this machine was, for the next guess."""
        result = request.result[0]
        shape = request.volume.geometry.shape
        whole = work_of(result.card, shape, request.settings)
        part = 1.0 if request.lungs_from == "none" else 0.45
        device = "cpu" if result.device == "cpu" else "gpu"
        if result.seconds > 2:
            self.store.put(f"speed {device}", whole * part / result.seconds)

    def _on_save(self) -> None:
        name = QFileDialog.getExistingDirectory(self, "Save the map in a folder")
        if name:
            self.save(name)

    def _on_export(self) -> None:
        name, _kind = QFileDialog.getSaveFileName(self, "Export the regions", "regions.csv", "CSV (*.csv)")
        if name:
            self.export(name)
