"""The Segment dock: structures found by a trained model, appearing where the user looks first."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from qtpy.compat import isalive
from qtpy.QtWidgets import QCheckBox, QLabel

from genesis3d.errors import GenesisError
from genesis3d.workflows.segment_checks import classes_of
from genesis3d.workflows.segment_settings import SegmentSettings
from napari_genesis.forms import ConfigForm
from napari_genesis.guessing import likely_device, rounded
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.widgets.models import ModelPicker, model_name
from napari_genesis.widgets.saying import Resized, say
from napari_genesis.widgets.segment.files import Files
from napari_genesis.widgets.segment.looking import looked_at
from napari_genesis.widgets.segment.region import RegionPicker
from napari_genesis.widgets.segment.results import ResultPanel
from napari_genesis.widgets.segment.scans import ScanPickers
from napari_genesis.widgets.segment.show import Show
from napari_genesis.widgets.segment.unfinished import Unfinished
from napari_genesis.widgets.segment.work import Request, guess_seconds, meaning, segmenting, warming, work_of
from napari_genesis.widgets.shell import Dock, duration

if TYPE_CHECKING:
    import napari

    from genesis3d.workflows.segment import Segmentation

__all__ = ["SegmentDock"]

SHOWN = ("quality", "device")
EXTRA = ("probabilities", "entropy")
LOST = "the labels layer was taken away: it comes back when the segmentation is done; Stop ends it"
MORE = ("overlap", "mirror", "window", "batch", "precision", "threads", "skip_air", "largest", "fill")


class SegmentDock(Dock):
    """Segments a scan; labels appear meanwhile, and table, corrections and files follow."""

    title = "Segment"
    summary = "Structures found by a trained model, where you look first. Not for clinical use."
    page = "segment-dock"
    verb = "Segment"

    def __init__(self, viewer: napari.viewer.Viewer) -> None:
        super().__init__(viewer)
        self.models = ModelPicker(self.store, self.viewer, "segmentation")
        self.scans = ScanPickers(self.picker)
        self.region = RegionPicker(self.viewer, self.picker(kinds=("labels",)))
        remembered = self._remembered()
        self.form = ConfigForm(SegmentSettings, SHOWN, value=remembered)
        self.more_form = ConfigForm(SegmentSettings, (*EXTRA, *MORE), value=remembered)
        self.replace_last = QCheckBox("replace the last segmentation of this scan and model", checked=True)
        self.meaning = QLabel(objectName="quality-meaning", wordWrap=True, styleSheet="font-size: 8pt")
        self.unfinished = Unfinished()
        self.panel = ResultPanel(self.viewer)
        for name, part in (("Model", self.models), ("Scan", self.scans), ("Region", self.region)):
            self.inputs.addRow(name, part)
        self.settings.addRow(self.form)
        self.settings.addRow(self.meaning)
        self.more.addRow(self.more_form)
        self.more.addRow(self.replace_last)
        self.results.addWidget(self.unfinished)
        self.results.addWidget(self.panel)
        self.show_now = Show(self, self.viewer)
        self._request: Request | None = None
        self._pending: tuple[Request, Segmentation | None] | None = None
        self._problem = ""
        self._warmed = ("", "", "")
        self._bring = False
        self.files = Files(self)
        Resized(self.primary, self._describe)
        self._connect()
        self._describe()

    @property
    def config(self) -> SegmentSettings:
        """The settings as the two forms say them."""
        more = {name: getattr(self.more_form.value, name) for name in (*EXTRA, *MORE)}
        return self.form.value.replaced(**more)

    def start(self) -> None:
        """Segment the picked scan with the picked model."""
        layer, path, card = self.scans.layer, self.models.path, self.models.card
        if layer is None or path is None or card is None:
            return
        self.unfinished.answer(True)
        try:
            volume = replace(self.scans.volume(), notes=())  # said when the scan was opened
            inside = self.region.inside(volume)
        except GenesisError as error:
            self.show_error(str(error))
            return
        focus, along = looked_at(self.viewer, layer, volume.geometry)
        classes = classes_of(card)
        canvas = self.show_now.begin(volume, layer, model_name(path), classes, self.replace_last.isChecked())
        self._run(Request(volume, path, self.own_threads(self.config), inside, focus, along, canvas))

    def reset(self) -> None:
        """Return to the default settings."""
        self.form.set_value(SegmentSettings())
        self.more_form.set_value(SegmentSettings())
        self.replace_last.setChecked(True)
        self.region.set_kind(0)
        self._describe()

    def on_ended(self, state: JobState) -> None:
        """Show the segmentation, ask about an unfinished one, or say what a saving or a batch did."""
        request, self._request = self._request, None
        if request is None:
            self.files.on_ended(state)
        elif request.canvas is None:
            self._take_further(request)
        else:
            self._take(request, state)
        self._describe()

    def showEvent(self, event: Any) -> None:  # Qt's name
        """From now on it is worth to have the model at hand."""
        super().showEvent(event)
        self._describe()

    def shutdown(self) -> None:
        """Stop, and let go of the viewer; layers made stay, they are the user's."""
        if not self.closed:
            self.panel.close_down()
            self.region.close_down()
            self.show_now.close_down()
            self._request = self._pending = None
        super().shutdown()

    # inside

    def _connect(self) -> None:
        for signal in (self.models.changed, self.scans.changed, self.region.changed):
            signal.connect(self._describe)
        for form in (self.form, self.more_form):
            form.changed.connect(self._on_settings)
        self.show_now.lost.connect(self._on_lost)
        self.unfinished.answered.connect(self._on_answer)
        self.panel.failed.connect(self.show_error)
        self.panel.wanted.connect(self._on_wanted)
        self.panel.measured.connect(self._on_measured)

    def _run(self, request: Request) -> None:
        self._request = request
        job = ThreadJob(segmenting(request), name="segmenting")
        self.watch(job)
        job.changed.connect(self._on_phase)
        job.start()

    def _take(self, request: Request, state: JobState) -> None:
        """Finish, or ask what to do with the part that is done."""
        result = request.result[0] if request.result else None
        if state.state == "finished" and result is not None:
            self._learn_speed(request, result)
            self._finish(request, result, True)
        elif self.show_now.layers is None:
            self.show_now.discard()
            if state.state == "cancelled":
                self.status.show_facts("stopped before anything was segmented")
        else:
            done = f" after {100 * state.step / state.total:.0f} %" if state.total else ""
            self._pending = (request, result)
            self.unfinished.ask(f"{'Ended by an error' if state.state == 'failed' else 'Stopped'}{done}.")

    def _on_answer(self, keep: bool) -> None:
        pending, self._pending = self._pending, None
        if pending is None:
            return
        if keep:
            self._finish(*pending, False)
        else:
            self.show_now.discard()
            self.status.show_facts("discarded")

    def _finish(self, request: Request, result: Segmentation | None, complete: bool) -> None:
        layers = self.show_now.finish(None if result is None else result.labels.data[0], complete)
        self.panel.show_result(layers, request, result, complete)
        self._bring = True

    def _take_further(self, request: Request) -> None:
        if request.result and request.result[0].complete:
            self.panel.show_further(request.result[0], request.wanted)

    def _on_wanted(self, roles: tuple[str, ...]) -> None:
        """Probabilities that were not kept are computed again: the labels stay as they are."""
        request = self.panel.request
        if request is None or self.running:
            return
        settings = request.settings.replaced(**dict.fromkeys(roles, True))
        self.show_error("")
        self._run(replace(request, settings=settings, canvas=None, wanted=roles, result=[]))

    def _on_measured(self) -> None:
        """Bring a new result up, once its table has its size."""
        if self._bring:
            self.scroll.bring_up(self.primary)
        self._bring = False

    def _on_lost(self) -> None:
        for job in self._jobs:
            job.state.warnings = (*job.state.warnings, LOST)

    def _on_phase(self, state: JobState) -> None:
        """Before the first window there is nothing to count: say what goes on."""
        if state.active and not state.total and not state.step:
            self.status.show_facts("reading the model")

    def own_threads(self, config: SegmentSettings) -> Any:
        """Leave a core to the window, unless the user said how many threads."""
        from genesis3d.training.precision import default_threads

        return config if config.threads is not None else config.replaced(threads=default_threads())

    def _remembered(self) -> SegmentSettings:
        try:
            return SegmentSettings.parse(self.store.get("settings", {}))
        except GenesisError:
            return SegmentSettings()

    def _on_settings(self, _: object = None) -> None:
        self.store.put("settings", self.config.to_dict())
        self._describe()

    def _describe(self, _: object = None) -> None:
        """Say on the button what it will do, or why it cannot."""
        if not isalive(self) or self.closed:
            return
        card = self.models.card
        self.meaning.setText(meaning(self.config))
        self.scans.set_channels(1 if card is None else card.network.in_channels)
        self._say_problem()
        layer = self.scans.layer
        usable = layer if layer is not None and not self._problem else None
        self.models.set_layer(usable, self.scans.channels)
        self.region.set_layer(usable)
        self.files.describe()
        if usable is None or card is None:
            missing = self._problem or ("open a scan first" if layer is None else "choose a segmentation model first")
            self.set_primary("Segment", False, missing)
            return
        self._warm()
        shape = tuple(int(n) for n in usable.data.shape)
        size = "x".join(str(n) for n in reversed(shape))
        device = likely_device(self.config.device)
        work = work_of(card, shape, tuple(float(s) for s in usable.scale), self.config) * self.region.share()
        seconds = guess_seconds(work, device, self.store.get(f"speed {device}"))
        part = "" if self.region.kind == 0 else "part of "
        say(
            self,
            f"Segment {part}{{}} ({size})",
            usable.name,
            f"on {device.upper()}, about {duration(rounded(seconds))}",
        )

    def _warm(self) -> None:
        """Load the model while the user still looks at the dock: the first labels then appear sooner."""
        path, config = self.models.path, self.config
        wanted = (str(path), config.device, config.precision)
        if path is not None and self.isVisible() and wanted != self._warmed and not self.running:
            self._warmed = wanted
            job = ThreadJob(warming(path, config.device, config.precision), name="loading the model")
            self.tend(job)
            job.start()

    def _say_problem(self) -> None:
        """Say in red why the picked layer is no scan; take it back when another is picked."""
        problem = self.scans.problem()
        if problem != self._problem:
            self._problem = problem
            self.status.show_error(problem)

    def _learn_speed(self, request: Request, result: Segmentation) -> None:
        """Remember how fast this machine was, for the next guess."""
        geometry = request.volume.geometry
        work = work_of(result.card, geometry.shape, geometry.spacing, request.settings)
        share = 1.0 if request.inside is None else float(request.inside.mean())
        device = "cpu" if result.device == "cpu" else "gpu"
        if result.seconds > 2:
            self.store.put(f"speed {device}", work * share / result.seconds)
