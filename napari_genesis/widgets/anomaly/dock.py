"""The Anomaly map dock: score a scan in the background, see and measure what stands out, compare, save."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox

from genesis3d.errors import GenesisError
from genesis3d.workflows.anomaly_config import AnomalySettings
from napari_genesis.forms import ConfigForm
from napari_genesis.guessing import likely_device, rounded
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.layers import volume_from_layer
from napari_genesis.widgets.anomaly.coarse import CoarseScore
from napari_genesis.widgets.anomaly.dating import Dating
from napari_genesis.widgets.anomaly.keeping import Keeping
from napari_genesis.widgets.anomaly.kept import KeptMap
from napari_genesis.widgets.anomaly.layers import MapLayers, unit_of
from napari_genesis.widgets.anomaly.lungs import LungsPicker
from napari_genesis.widgets.anomaly.masking import Masking
from napari_genesis.widgets.anomaly.recipes import RecipePicker, RecipeSettings, usual
from napari_genesis.widgets.anomaly.results import ResultPanel
from napari_genesis.widgets.anomaly.saving import Files
from napari_genesis.widgets.anomaly.work import Request, guess_seconds, mapping, work_of
from napari_genesis.widgets.models import ModelPicker, model_name
from napari_genesis.widgets.saying import Resized, say
from napari_genesis.widgets.shell import Dock, duration

if TYPE_CHECKING:
    from pathlib import Path

    import napari

    from genesis3d.workflows.anomaly import AnomalyMap

__all__ = ["AnomalyDock"]

SHOWN = ("device",)
MORE = ("overlap", "window", "batch", "precision", "threads", "smooth", "rim_mm")
GIVEN = ("layer", "none")  # where no lungs have to be found
PURPOSES = {"restoration": ("restoration", "opacity"), "opacity": ("opacity",)}


class AnomalyDock(Dock):
    """Maps a scan; the result's slider, tables and layers act at once."""

    title = "Anomaly map"
    summary = "Where a scan differs from healthy lungs, found without a label. Not for clinical use."
    page = "anomaly-dock"
    verb = "Map"

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.recipes, self.recipe_form = RecipePicker(), RecipeSettings()
        self.models = ModelPicker(self.store, self.viewer, PURPOSES["restoration"])
        self.layer_picker = self.picker()
        self.lungs_picker = LungsPicker(self.picker(kinds=("labels",)))
        remembered = self._remembered()
        self.form = ConfigForm(AnomalySettings, SHOWN, value=remembered)
        self.more_form = ConfigForm(AnomalySettings, MORE, value=remembered)
        self.replace_last = QCheckBox("replace the last map of this scan, model and recipe", checked=True)
        self.panel = ResultPanel(viewer)
        self.keeping = Keeping(self.panel)
        self.masking = Masking(self)
        self._lay_out()
        self.dating = Dating(self)
        self.files = Files(self)
        self._request: Request | None = None
        self._coarse: CoarseScore | None = None
        self._like: Any = None
        Resized(self.primary, self._describe)
        self._recall_recipe()
        self._connect()
        self._describe()

    @property
    def map(self) -> AnomalyMap | None:
        """The map shown, with the threshold, lungs and regions as they are now."""
        return self.panel.result

    @property
    def config(self) -> AnomalySettings:
        """The settings as the forms say them."""
        more = {name: getattr(self.more_form.value, name) for name in MORE}
        return self.form.value.replaced(**more, recipe=self.recipe_form.value)

    @property
    def needs_model(self) -> bool:
        """Whether the recipe needs a model."""
        return self.recipes.recipe.needs != "nothing"

    def start(self) -> None:
        """Map the picked scan by the picked recipe, with the picked model where it needs one."""
        layer, path = self.layer_picker.layer, self.models.path if self.needs_model else None
        if layer is None or (path is None and self.needs_model):
            return
        try:
            volume = replace(volume_from_layer(layer), notes=())  # said when the scan was opened
            lungs, source = self.masking.wanted(volume)
        except GenesisError as error:
            self.show_error(str(error))
            return
        settings = self.own_threads(self.config)
        names = layer.name, "" if path is None else model_name(path), self.recipes.recipe.name
        self._request, self._like = Request(volume, path, settings, lungs, source, names), layer
        limit = 1.0 if self.recipes.recipe.unit == "probability" else None
        self._coarse = CoarseScore(self.viewer, layer, f"score, coarse - {layer.name}", limit)
        job = ThreadJob(mapping(self._request), name="anomaly map")
        self.watch(job)
        job.changed.connect(self._on_phase)
        job.start()

    def reset(self) -> None:
        """Return to the default settings."""
        self.form.set_value(AnomalySettings())
        self.more_form.set_value(AnomalySettings())
        self.recipe_form.reset()
        self.lungs_picker.set_way("auto")
        self.replace_last.setChecked(True)
        self._describe()

    def on_ended(self, state: JobState) -> None:
        """Show the map, or say what another job did."""
        request, self._request = self._request, None
        coarse, self._coarse = self._coarse, None
        if request is None:
            self.files.on_ended(state)
        elif request.result and state.state == "finished":
            self._learn_speed(request)
            self._show(request, coarse)
        elif state.state == "cancelled":
            self.status.show_facts("stopped: no map was made")
        if coarse is not None:
            coarse.discard()
        self._like = None
        self._describe()

    def save(self, folder: str | Path) -> None:
        """Write the map shown into ``folder``, as ``genesis3d anomaly`` does."""
        self.files.save(folder)

    def export(self, path: str | Path) -> None:
        """Write the table of regions as CSV."""
        self.files.export(path)

    def shutdown(self) -> None:
        """Stop, and let go of the viewer; layers made stay, they are the user's."""
        if not self.closed:
            self.keeping.close_down()
            self.panel.close_down()
            self._request = self._like = None
            if self._coarse is not None:
                self._coarse.discard()
        super().shutdown()

    # inside

    def _lay_out(self) -> None:
        for name, part in (
            ("Scan", self.layer_picker),
            ("Recipe", self.recipes),
            ("Model", self.models),
            ("Lungs", self.lungs_picker),
        ):
            self.inputs.addRow(name, part)
        self.settings.addRow(self.form)
        self.more.addRow(self.recipe_form)
        self.more.addRow(self.more_form)
        self.more.addRow(self.replace_last)
        self.panel.add_action(self.keeping.views_button)
        self.results.addWidget(self.panel)
        self.results.addWidget(self.keeping.compare_fold)
        self.keeping.refresh()

    def _connect(self) -> None:
        for signal in (self.models.changed, self.layer_picker.changed, self.lungs_picker.changed):
            signal.connect(self._describe)
        for form in (self.form, self.more_form, self.recipe_form):
            form.changed.connect(self._on_settings)
        self.recipes.changed.connect(self._on_recipe)
        self.panel.failed.connect(self.show_error)
        self.keeping.changed.connect(self.dating.refresh)

    def _show(self, request: Request, coarse: CoarseScore | None) -> None:
        result, (scan, model, recipe) = request.result[0], request.names
        if self.replace_last.isChecked():
            self.keeping.replace(request.names)
        like = self._like if self._like is not None and self._like in self.viewer.layers else None
        name = ", ".join(part for part in (recipe, model) if part)
        first = None if coarse is None else coarse.layer
        try:
            layers = MapLayers(self.viewer, result, like, name, scan, first)
        except GenesisError as error:  # the scan's layer was turned meanwhile
            layers = MapLayers(self.viewer, result, None, name, scan, first)
            self.show_error(f"{error}; the map lies where the scan was")
        unit = unit_of(result, "score")
        self.keeping.add(KeptMap(scan, model, recipe, result, layers, result.threshold, unit), like)

    def _on_phase(self, state: JobState) -> None:
        """Show the first, coarse score; before the first window there is nothing to count: say what goes on."""
        request = self._request
        if request is not None and request.coarse and self._coarse is not None:
            while len(request.coarse) > 1:
                request.coarse.popleft()
            self._coarse.show(request.coarse.popleft())
        if state.active and not state.total and request is not None:
            self.status.show_facts("reading the model" if request.lungs_from in GIVEN else "finding the lungs")

    def own_threads(self, config: AnomalySettings) -> AnomalySettings:
        """Leave a core to the window, unless the user said how many threads."""
        from genesis3d.training.precision import default_threads

        return config if config.threads is not None else config.replaced(threads=default_threads())

    def _remembered(self) -> AnomalySettings:
        try:
            return AnomalySettings.parse(self.store.get("settings", {}))
        except GenesisError:
            return AnomalySettings()

    def _recall_recipe(self) -> None:
        """Take up the recipe of last time, else the best one that there is a model for."""
        self.recipe_form.recall(self.store.get("recipes", {}))
        self.recipes.set_recipe(self.store.get("recipe") or usual(entry.path for entry in self.models.entries()))
        self._follow_recipe()

    def _on_recipe(self, _: object = None) -> None:
        self.store.put("recipe", self.recipes.recipe.name)
        self._follow_recipe()

    def _follow_recipe(self) -> None:
        """Show the recipe's settings, and the models it can use."""
        recipe = self.recipes.recipe
        self.recipe_form.show_recipe(recipe.name)
        if recipe.needs != "nothing":
            self.models.set_purpose(PURPOSES[recipe.needs])
        self.inputs.labelForField(self.models).setVisible(self.needs_model)
        self.models.setVisible(self.needs_model)
        self._describe()

    def _on_settings(self, _: object = None) -> None:
        self.store.put("settings", self.config.to_dict())
        self.store.put("recipes", self.recipe_form.remembered())
        self._describe()

    def _describe(self, _: object = None) -> None:
        """Say on the button what it will do, or why it cannot."""
        if not isalive(self) or self.closed:
            return
        layer, card = self.layer_picker.layer, self.models.card if self.needs_model else None
        self.models.set_layer(layer)
        self.masking.describe(layer)
        self.files.describe()
        if layer is None or (card is None and self.needs_model):
            missing = "open a scan first" if layer is None else "choose a model first"
            self.set_primary("Map", False, missing)
            return
        shape = tuple(int(n) for n in layer.data.shape)
        size = "x".join(str(n) for n in reversed(shape))
        device = likely_device(self.config.device)
        part = self.lungs_picker.way != "none"
        spacing = tuple(float(s) for s in layer.scale)
        seconds = guess_seconds(card, shape, spacing, self.config, self.store.get(f"speed {device}"), part)
        say(self, f"Map {{}} ({size})", layer.name, f"on {device.upper()}, about {duration(rounded(seconds))}")

    def _learn_speed(self, request: Request) -> None:
        """Remember how fast this machine was, for the next guess."""
        result = request.result[0]
        if result.card is None or result.seconds <= 2:
            return
        geometry = request.volume.geometry
        whole = work_of(result.card, geometry.shape, geometry.spacing, request.settings)
        part = 1.0 if request.lungs_from == "none" else 0.45
        device = "cpu" if result.device == "cpu" else "gpu"
        self.store.put(f"speed {device}", whole * part / result.seconds)
