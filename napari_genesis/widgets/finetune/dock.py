"""The Fine-tune dock: a scan and labels in, a model out, its prediction on the slice looked at while it trains."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from genesis3d.workflows.finetune_config import FinetuneConfig
from napari.utils.notifications import show_info
from qtpy.QtWidgets import QWidget

from genesis3d.errors import GenesisError
from genesis3d.events import Event, Saved, Started, Validated
from genesis3d.training.rundir import RunDir
from napari_genesis.devices import known_devices, probe
from napari_genesis.jobs import JobState, RunFollower, ThreadJob
from napari_genesis.run_files import write_config
from napari_genesis.widgets.closing import settle
from napari_genesis.widgets.finetune.corrections import as_labels
from napari_genesis.widgets.finetune.handing import prepare_labels, prepare_run
from napari_genesis.widgets.finetune.inputs import Inputs, takes
from napari_genesis.widgets.finetune.rounds import begin_prepared, go_on_prepared, other_classes, run_config
from napari_genesis.widgets.finetune.settings import DEFAULT, FinetuneSettings
from napari_genesis.widgets.finetune.versions import VersionList
from napari_genesis.widgets.finetune.view import TuningView
from napari_genesis.widgets.finetune.whole import WholePrediction
from napari_genesis.widgets.model_dialogs import ImportDialog
from napari_genesis.widgets.model_entries import suggested_name
from napari_genesis.widgets.run_banner import Banner
from napari_genesis.widgets.run_parts import end_sentence, kill_button
from napari_genesis.widgets.runs import RunList, free_name, live_runs
from napari_genesis.widgets.shared import runs_folder
from napari_genesis.widgets.shell import Dock, fold

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["FinetuneDock"]

KIND = "finetune"


class FinetuneDock(Dock):
    """Teaches a model structures from a few painted slices, in the background, round by round of corrections.

    Attributes
    ----------
    follower : the training that is shown, or None
    answer_on_close : what closing napari does to a running training, ``"stop"`` (and save) or ``"go on"``; None asks.
        The environment variable ``GENESIS_ON_CLOSE`` sets it.
    """

    title = "Fine-tune"
    summary = "Teach a model your structures from a few painted slices."
    page = "finetune-dock"
    verb = "Train"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.follower: RunFollower | None = None
        self.answer_on_close: str | None = os.environ.get("GENESIS_ON_CLOSE")
        self._run: Path | None = None
        self._trained_on: tuple[ref[Any] | None, ref[Any] | None] = (None, None)
        self._continue_next = False
        self._make_inputs()
        self._make_results()
        self._recall()
        self.form.changed.connect(self._on_settings)
        self.data.changed.connect(self._on_inputs)
        self._find_devices()
        self._on_inputs()
        self.banner.say(next((run.path for run in live_runs(runs_folder(), KIND)), None))

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
        self._run = run
        self._trained_on = (None, None)
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

    def kill(self) -> None:
        """End the training at once; its last saved state stays."""
        if self.follower is not None and self.follower.running:
            self.follower.kill()

    def launch(self, run: Path, resume: bool = False) -> None:
        """Start the training whose ``config.json`` lies in ``run``, or go on with it, and follow it."""
        follower = self._follow(run)
        try:
            follower.start(resume)
        except OSError as error:
            self.show_error(f"the training could not be started: {error.strerror or error}")
            return
        self._after_follow(follower)

    def attach(self, run: Path) -> None:
        """Show a run: follow it when it trains, else show how it went."""
        if self.running and self.follower is not None:
            if run != self.follower.run_dir:
                self.show_error(f"'{self.follower.run_dir.name}' is training: stop it first to open another run")
            return
        self._trained_on = (None, None)
        follower = self._follow(run)
        follower.attach()
        self._after_follow(follower)

    def resume(self, run: Path) -> None:
        """Go on with a run from its last saved state; one that used its budget gets the present one anew."""
        if self.running:
            self.show_error("a training is running: stop it first")
            return
        self.show_error("")
        try:
            if RunDir(run).state() == "finished":
                write_config(run, run_config(run).replaced(**self.form.budget.values()))
        except (GenesisError, OSError) as error:
            self.show_error(str(error))
            return
        self.launch(run, resume=True)

    # the loop

    def take_prediction(self) -> None:
        """Copy the prediction on the slice looked at into the labels, to be corrected."""
        overlay, labels = self.view.overlay, self.data.labels.layer
        box, layer = overlay.slice_box(), overlay.layer
        if labels is None or layer is None or box is None:
            self.view.say("There is no prediction on this slice yet, or no labels layer to take it into.")
            return
        try:
            count = as_labels(layer, labels, box, self.view.over_paint.isChecked())
        except GenesisError as error:
            self.view.say(str(error))
            return
        self.view.say(f"{count:,} voxels of this slice taken into {labels.name}; correct them there, Ctrl+Z undoes it.")
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
        wishes = {**self.form.budget.values()}
        done = partial(go_on_prepared, run, wishes, self.data.table.all_classes(), self.data.unlabelled(), ref(self))
        self._prepare(partial(prepare_labels, pair, run), done)

    def show_version(self, model: Path) -> None:
        """Predict the whole scan with the model in ``model``."""
        try:
            job = self.whole.job(model, self.data.scans.layer, self.data.labels.layer)
        except GenesisError as error:
            self.show_error(str(error))
            return
        self.tend(job)
        job.start()

    def add_to_library(self, model: Path) -> ImportDialog:
        """Open the dialog that puts a version into the library under a name."""
        dialog = ImportDialog(self)
        dialog.set_file(str(model))
        if self._run is not None:
            dialog.name.setText(suggested_name(self._run))
        dialog.made.connect(self._on_added)
        dialog.show()
        return dialog

    # building

    def _make_inputs(self) -> None:
        self.banner = Banner()
        self.banner.follow.connect(self.attach)
        self.banner.stop.connect(self._stop_other)
        self.inputs.addRow(self.banner)
        scans = self.picker(accepts=takes)
        second = self.picker(accepts=takes, optional="no second channel")
        labels = self.picker(kinds=("labels",), accepts=takes, optional="none yet")
        self.data = Inputs(self.viewer, scans, second, labels)
        self.data.failed.connect(self.show_error)
        self.data.started.connect(self.tend)
        self.data.folders.started.connect(self.tend)
        self.inputs.addRow(self.data)
        self.form = FinetuneSettings(self.settings, self.store, self.viewer, self)
        scans.changed.connect(self.form.models.set_layer)
        self.form.models.set_layer(scans.layer)
        self.more.addRow(self.form.more)
        self.kill_button = kill_button(self.kill)
        self.actions.addWidget(self.kill_button)

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
        self.versions.added.connect(self.add_to_library)
        self.results.addWidget(fold("Versions", self.versions, "versions-fold", is_open=True))
        self.runs = RunList(runs_folder(), KIND)
        self.runs.opened.connect(self.attach)
        self.runs.resumed.connect(self.resume)
        self.runs.failed.connect(self.show_error)
        self.results.addWidget(fold("Runs", self.runs, "runs-fold", is_open=True))

    def _find_devices(self) -> None:
        if known := tuple(known_devices()):
            self.form.set_devices(known)
            return
        job = ThreadJob(probe, name="devices")
        job.event.connect(self._on_devices)
        self.tend(job)
        job.start()

    def _on_devices(self, devices: Any) -> None:
        if isinstance(devices, tuple):
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

    def _follow(self, run: Path) -> RunFollower:
        if self.follower is not None:
            self.follower.detach()
        self._run = run
        self.follower = RunFollower(run)
        self.banner.say(None)
        try:
            classes = run_config(run).data.classes
        except GenesisError:
            classes = ()
        labels = self.data.labels.layer
        self.view.follow(self.follower, self.data.scans.layer, labels, classes)
        self.follower.event.connect(self._on_event)
        self.versions.show_run(run)
        return self.follower

    def _after_follow(self, follower: RunFollower) -> None:
        self.watch(follower)
        self.kill_button.setEnabled(True)
        self.runs.select(follower.run_dir)
        self._update_loop()
        self.scroll.bring_up(self.primary)  # progress and curves are seen without scrolling

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Started | Validated):
            self.runs.refresh()
        if isinstance(event, Saved | Validated):
            self.versions.refresh()

    def on_ended(self, state: JobState) -> None:
        """Say how the training ended; a preparation that ended is followed by the training itself."""
        if self.follower is None or state is not self.follower.state:
            return
        self.view.rest()
        self.kill_button.setEnabled(False)
        self.runs.refresh()
        self.versions.refresh()
        self._update_label()
        self._update_loop()
        if state.state == "failed":
            self._continue_next = False
            resumable = RunDir(self.follower.run_dir).resume_path.exists()
            self.show_error(state.message, "Resume", self._resume_followed if resumable else None)
            return
        self.status.show_facts(end_sentence(self.follower.run_dir.name, state))
        if self._continue_next:
            self._continue_next = False
            self.go_on()

    def _resume_followed(self) -> None:
        if self._run is not None:
            self.resume(self._run)

    def _begin_with_this(self) -> None:
        if self._run is not None:
            self.form.begin_with(self._run)
            self.show_error("")
            self.start()

    def _stop_other(self, run: Path) -> None:
        self.attach(run)
        self.stop()

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
        self._update_label()

    def _on_inputs(self) -> None:
        self.store.put("unpainted", self.data.unlabelled())
        self._update_label()
        self._update_loop()
        self._say_what_is_gone()

    def _update_label(self) -> None:
        self.form.name.setPlaceholderText(free_name(runs_folder()))
        self.set_primary(f"Train {self.form.sentence()}", not self.data.possible, self.data.possible)

    def _update_loop(self) -> None:
        begun = self._run is not None and RunDir(self._run).begun()
        self.view.continue_button.setEnabled(begun and self.data.labels.layer is not None)
        self.view.take_button.setEnabled(self.view.overlay.layer is not None and self.data.labels.layer is not None)

    def _say_what_is_gone(self) -> None:
        """Say that a training does not need a layer that was removed under it."""
        if not self._trains():
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

    # going away

    def may_close(self) -> None:
        """Ask, where somebody can be asked, whether the training goes on without napari; else it stops and saves."""
        if self._trains():
            settle(self, self.follower, self.answer_on_close)

    def _trains(self) -> bool:
        follower = self.follower
        return follower is not None and follower.running and follower.state.active

    def shutdown(self) -> None:
        """Stop and save what runs, unless it was said to go on, and take the prediction away."""
        if self.closed:
            return
        self.view.close_view()
        self.data.close_inputs()
        follower = self.follower
        if self._trains() and not follower.leave_running:
            show_info(f"'{follower.run_dir.name}' is being stopped and saved, as its dock is gone; it can be resumed.")
        super().shutdown()
