"""The Fine-tune dock: a scan and labels in, a model out, its prediction on the slice looked at while it trains."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtWidgets import QWidget

from genesis3d.errors import GenesisError
from genesis3d.events import Event, Saved, Validated
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.finetune_config import FinetuneConfig
from napari_genesis.devices import Device
from napari_genesis.jobs import JobState, RunFollower, ThreadJob
from napari_genesis.run_files import write_config
from napari_genesis.widgets.finetune.corrections import take
from napari_genesis.widgets.finetune.handing import prepare_labels, prepare_run
from napari_genesis.widgets.finetune.inputs import Inputs, takes
from napari_genesis.widgets.finetune.rounds import begin_prepared, go_on_prepared, other_classes, run_config
from napari_genesis.widgets.finetune.settings import DEFAULT, FinetuneSettings
from napari_genesis.widgets.finetune.versions import VersionList
from napari_genesis.widgets.finetune.view import TuningView
from napari_genesis.widgets.finetune.whole import WholePrediction
from napari_genesis.widgets.runs import free_name
from napari_genesis.widgets.shared import runs_folder
from napari_genesis.widgets.shell import fold
from napari_genesis.widgets.training_dock import TrainingDock

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["FinetuneDock"]


class FinetuneDock(TrainingDock):
    """Teaches a model structures from a few painted slices, in the background, round by round of corrections."""

    kind = "finetune"
    title = "Fine-tune"
    summary = "Teach a model your structures from a few painted slices."
    page = "finetune-dock"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._trained_on: tuple[ref[Any] | None, ref[Any] | None] = (None, None)
        self._continue_next = False
        self._make_inputs()
        self._make_results()
        self._recall()
        self.form.changed.connect(self._on_settings)
        self.data.changed.connect(self._on_inputs)
        self.data.unpainted.currentIndexChanged.connect(self._on_unpainted)
        self.find_devices()
        self._on_inputs()
        self.look_for_live_run()

    # primary button

    def start(self) -> None:
        """Hand scan and labels over, then train."""
        try:
            config = self.config()
            pair = None if self.data.of_folders else self.data.pair()
            run = runs_folder() / free_name(runs_folder(), self.form.name.text().strip())
            run.mkdir(parents=True)
        except (GenesisError, OSError) as error:
            self.show_error(str(error))
            return
        self._run, self._trained_on = run, (None, None)
        if pair is None:
            self._begin(run, config)
            return
        self._trained_on = (ref(self.data.scans.layer), ref(self.data.labels.layer))
        self._prepare(partial(prepare_run, pair, run), partial(begin_prepared, run, config, ref(self)))

    def config(self) -> FinetuneConfig:
        """Return the configuration as it stands, the files of layers left out; raises GenesisError."""
        if self.data.of_folders:
            return self.form.config(self.data.folders.data())
        from genesis3d.data.targets import TargetData

        data = TargetData(classes=self.data.table.classes(), unlabelled=self.data.unlabelled())
        return self.form.config(data)

    def give_budget(self, run: Path) -> None:
        """Give a run that used its budget the present one anew."""
        if RunDir(run).state() == "finished":
            write_config(run, run_config(run).replaced(**self.form.budget.values()))

    def attach(self, run: Path) -> None:
        """Show a run: follow it when it trains, else show how it went."""
        if not self.running:
            self._trained_on = (None, None)
        super().attach(run)

    # the loop

    def take_prediction(self) -> None:
        """Copy the prediction on the slice looked at into the labels, to be corrected."""
        overlay = self.view.overlay
        self._take(overlay.layer, overlay.slice_box(), "on this slice")

    def take_whole(self, model: Path) -> None:
        """Copy what a version found on the whole scan into the labels, to be corrected."""
        layer = self.whole.layer_of(model)
        self._take(layer, None if layer is None else tuple(slice(0, n) for n in layer.data.shape), "of this version")

    def _take(self, prediction: Any, box: tuple[slice, ...] | None, what: str) -> None:
        labels = self.data.labels.layer
        self.view.say(take(prediction, labels, box, what, self.view.over_paint.isChecked()))
        if labels is not None:
            self.viewer.layers.selection.active = labels

    def go_on(self) -> None:
        """Train on from the labels as they are painted now; a training that runs is saved first."""
        run = self._run
        if run is None or not RunDir(run).begun():
            self.show_error("train once first; then it goes on from your corrections")
            return
        try:
            pair = self.data.pair()
            extra = other_classes(run, self.data.table.classes())
        except GenesisError as error:
            self.show_error(str(error))
            return
        if extra:
            names = ", ".join(one.name for one in extra)
            sentence = f"'{run.name}' does not know {names}: a model of other classes is a new run, begun with this one"
            self.show_error(sentence, "Begin it", self._begin_with_this)
            return
        if self.running:
            self._continue_next = True
            self.stop()
            return
        self._trained_on = (ref(self.data.scans.layer), ref(self.data.labels.layer))
        budget = self.form.budget.values()
        done = partial(go_on_prepared, run, budget, self.data.table.all_classes(), self.data.unlabelled(), ref(self))
        self._prepare(partial(prepare_labels, pair, run), done)

    def show_version(self, model: Path) -> None:
        """Predict the whole scan with the model in ``model``."""
        try:
            job = self.whole.job(model, self.data.scans.layer)
        except GenesisError as error:
            self.show_error(str(error))
            return
        self.tend(job)
        job.start()

    # building

    def _make_inputs(self) -> None:
        scans = self.picker(accepts=takes)
        second = self.picker(accepts=takes, optional="no second channel")
        labels = self.picker(kinds=("labels",), accepts=takes, optional="none yet")
        labels.set_layer(next(iter(labels.layers()), None))
        self.data = Inputs(self.viewer, scans, second, labels)
        self.data.failed.connect(self.show_error)
        self.data.started.connect(self.tend)
        self.data.folders.started.connect(self.tend)
        self.inputs.addRow(self.data)
        self.form = FinetuneSettings(self.settings, self.store, self.viewer, self)
        scans.changed.connect(self.form.models.set_layer)
        self.form.models.set_layer(scans.layer)
        self.more.addRow(self.form.more)

    def _make_results(self) -> None:
        self.view = TuningView(self.viewer)
        self.view.taken.connect(self.take_prediction)
        self.view.continued.connect(self.go_on)
        self.view.overlay.started.connect(self.tend)
        self.results.addWidget(self.view)
        self.whole = WholePrediction(self.viewer, self)
        self.results.addWidget(self.whole.status)
        self.versions = VersionList()
        self.versions.applied.connect(self.show_version)
        self.versions.taken.connect(self.take_whole)
        self.versions.added.connect(self._on_added)
        self.results.addWidget(fold("Versions", self.versions, "versions-fold", is_open=True))
        self.results.addWidget(fold("Runs", self.runs, "runs-fold", is_open=True))

    def take_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer the devices found."""
        self.form.set_devices(devices)

    # following a run

    def _prepare(self, work: Any, then: Any) -> None:
        job = ThreadJob(work, name="hand over")
        job.ended.connect(then)
        self.watch(job)
        job.start()

    def _begin(self, run: Path, config: FinetuneConfig) -> None:
        try:
            write_config(run, config)
        except OSError as error:
            self.show_error(f"the run could not be written: {error}")
            return
        self.launch(run)

    def show_run(self, follower: RunFollower) -> None:
        """Show curves, versions and live predictions of ``follower``'s run."""
        run = follower.run_dir
        try:
            classes = run_config(run).data.classes
        except GenesisError:
            classes = ()
        self.view.follow(follower, self.data.scans.layer, classes)
        self.versions.show_run(run)

    def _after_follow(self, follower: RunFollower) -> None:
        super()._after_follow(follower)
        self._update_loop()

    def _on_event(self, event: Event) -> None:
        super()._on_event(event)
        if isinstance(event, Saved | Validated):
            self.versions.refresh()
        self._update_loop()

    def rest(self, state: JobState) -> None:
        """Show the rest of the log and the versions; go on where that was asked for while it trained."""
        self.view.rest()
        self.versions.refresh()
        self._update_loop()
        wanted, self._continue_next = self._continue_next, False
        if wanted and state.state != "failed":
            self.go_on()

    def _begin_with_this(self) -> None:
        if self._run is not None:
            self.form.begin_with(self._run)
            self.show_error("")
            self.start()

    def _on_added(self, name: str) -> None:
        self.status.show_facts(f"in the library as {name}")
        self.form.models.refresh()

    # labels and settings

    def _on_settings(self) -> None:
        try:
            self.form.remember(self.store)
        except GenesisError as error:
            self.show_error(str(error))
            return
        self.update_label()

    def _on_unpainted(self, _: int) -> None:
        self.store.put("unpainted", self.data.unlabelled())

    def _on_inputs(self) -> None:
        self.update_label()
        self._update_loop()
        self._say_what_is_gone()

    def update_label(self) -> None:
        """Say for how long and where, or what is missing."""
        self.form.name.setPlaceholderText(free_name(runs_folder()))
        self.set_primary(f"Train {self.form.sentence()}", not self.data.possible, self.data.possible)

    def _update_loop(self) -> None:
        begun = self._run is not None and RunDir(self._run).begun()
        self.view.continue_button.setEnabled(begun and self.data.labels.layer is not None)
        self.view.take_button.setEnabled(self.view.overlay.layer is not None and self.data.labels.layer is not None)

    def _say_what_is_gone(self) -> None:
        """Say that a training does not need a layer that was removed under it."""
        if not self.trains:
            return
        gone = [each() for each in self._trained_on if each is not None]
        if any(layer is None or layer not in self.viewer.layers for layer in gone):
            self.view.say("A layer of this training was removed: it goes on with the files it was given.")

    def _recall(self) -> None:
        self.data.set_unlabelled(str(self.store.get("unpainted", "slices")))
        self.form.recall(self.store)

    def reset(self) -> None:
        """Return all settings to their defaults; layers and folders stay."""
        self.form.name.clear()
        self.form.set_config(DEFAULT)
        self.data.set_unlabelled("slices")

    def _on_theme(self, event: Any = None) -> None:
        super()._on_theme(event)
        if hasattr(self, "view"):
            self.view.set_theme(self.viewer.theme)

    def shutdown(self) -> None:
        """Take the prediction away, and stop and save what runs, unless it was said to go on."""
        if not self.closed:
            self.view.close_view()
            self.data.close_inputs()
        super().shutdown()
