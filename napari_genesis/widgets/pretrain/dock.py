"""The Pre-train dock: cases, settings, a training in a process of its own, its curves and samples, and all runs."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QWidget

from genesis3d.errors import ConfigError, GenesisError
from genesis3d.events import Event, Started, Validated
from genesis3d.training.rundir import RunDir
from genesis3d.workflows.pretrain_config import PretrainConfig
from napari_genesis.devices import known_devices, probe
from napari_genesis.jobs import JobState, RunFollower, ThreadJob
from napari_genesis.widgets.closing import settle
from napari_genesis.widgets.extending import extend_finished
from napari_genesis.widgets.pretrain.cases import CaseList
from napari_genesis.widgets.pretrain.inputs import (
    case_paths,
    known_intensity,
    prepare_run,
    start_prepared,
)
from napari_genesis.widgets.pretrain.learnt import LearntView
from napari_genesis.widgets.pretrain.settings import DEFAULT, PretrainSettings
from napari_genesis.widgets.pretrain.view import TrainingView
from napari_genesis.widgets.run_banner import Banner
from napari_genesis.widgets.run_parts import end_sentence, kill_button
from napari_genesis.widgets.runs import RunList, free_name, live_runs
from napari_genesis.widgets.shared import offer_pretrain_config, runs_folder
from napari_genesis.widgets.shell import Dock, fold

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["PretrainDock"]


class PretrainDock(Dock):
    """Pre-trains a network on scans by restoring transformed sub-volumes (Models Genesis), in the background.

    Attributes
    ----------
    follower : the training that is shown, or None
    answer_on_close : what closing napari does to a running training, ``"stop"`` (and save) or ``"go on"``; None asks.
        The environment variable ``GENESIS_ON_CLOSE`` sets it.
    """

    title = "Pre-train"
    summary = "Train a network to restore transformed sub-volumes of your scans; no labels needed."
    page = "pretrain-dock"
    verb = "Train"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.follower: RunFollower | None = None
        self.answer_on_close: str | None = os.environ.get("GENESIS_ON_CLOSE")
        self._run: Path | None = None
        self._make_inputs()
        self._make_results()
        self._recall()
        self.config_form.changed.connect(self._on_settings)
        self.cases.changed.connect(self._update_label)
        offer_pretrain_config(self.pretrain_config)
        self._find_devices()
        self._update_label()
        self._look_for_live_run()

    # what others use

    def pretrain_config(self) -> PretrainConfig:
        """Return the configuration as it stands; raises ConfigError if invalid, or if a case has no file yet."""
        entries = self.cases.entries
        config = self.config_form.config(case_paths(entries))
        return config.replaced(intensity=config.intensity or known_intensity(entries))

    # primary button

    def start(self) -> None:
        """Hand the cases over, then train."""
        try:
            config = self.config_form.config()
            if not self.cases.entries:
                raise ConfigError("add at least one scan to the cases first")
            run = runs_folder() / free_name(runs_folder(), self.config_form.name.text().strip())
            run.mkdir(parents=True)
        except (GenesisError, OSError) as error:
            self.show_error(str(error))
            return
        config = config.replaced(intensity=config.intensity or known_intensity(self.cases.entries))
        self._run = run
        job = ThreadJob(partial(prepare_run, self.cases.entries, run), name="prepare cases")
        job.ended.connect(partial(start_prepared, run, config, ref(self)))
        self.watch(job)
        job.start()

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
        follower = self._follow(run)
        follower.attach()
        self._after_follow(follower)

    def resume(self, run: Path) -> None:
        """Go on with a run from its last saved state; one that used its budget gets the present one on top."""
        if self.running:
            self.show_error("a training is running: stop it first")
            return
        self.show_error("")
        try:
            extend_finished(run, self.config_form.config())
        except (GenesisError, OSError) as error:
            self.show_error(str(error))
            return
        self.launch(run, resume=True)

    # building

    def _make_inputs(self) -> None:
        self.banner = Banner()
        self.banner.follow.connect(self.attach)
        self.banner.stop.connect(self._stop_other)
        self.inputs.addRow(self.banner)
        self.cases = CaseList(self.viewer)
        self.cases.failed.connect(self.show_error)
        self.cases.started.connect(self.tend)
        self.inputs.addRow(self.cases)
        self.config_form = PretrainSettings(self.settings, self)
        self.config_form.failed.connect(self.show_error)
        self.more.addRow(self.config_form.more)
        self.kill_button = kill_button(self.kill)
        self.actions.addWidget(self.kill_button)

    def _make_results(self) -> None:
        self.view = TrainingView(self.viewer)
        self.view.samples_box.toggled.connect(partial(self.store.put, "samples"))
        self.results.addWidget(self.view)
        self.runs = RunList(runs_folder(), "pretrain")
        self.runs.opened.connect(self.attach)
        self.runs.resumed.connect(self.resume)
        self.runs.failed.connect(self.show_error)
        self.results.addWidget(fold("Runs", self.runs, "runs-fold", is_open=True))
        self.learnt = LearntView(self.viewer, self.picker())
        self.learnt.started.connect(self.tend)
        self.learnt.filled.connect(partial(self.scroll.bring_up, self.learnt.status))
        self.learnt_fold = fold("What was learnt", self.learnt, "learnt-fold")
        self.results.addWidget(self.learnt_fold)
        self.view.learnt.connect(self.show_learnt)

    def show_learnt(self, run: Path) -> None:
        """Open the gallery for the best model of ``run``."""
        self.learnt_fold.expand(animate=False)
        self.learnt.show_run(run)
        self.scroll.bring_up(self.learnt_fold)

    def _find_devices(self) -> None:
        if known := tuple(known_devices()):
            self.config_form.set_devices(known)
            return
        job = ThreadJob(probe, name="devices")
        job.event.connect(self._on_devices)
        self.tend(job)
        job.start()

    def _on_devices(self, devices: Any) -> None:
        if isinstance(devices, tuple):
            self.config_form.set_devices(devices)

    # following a run

    def _follow(self, run: Path) -> RunFollower:
        if self.follower is not None:
            self.follower.detach()
        self._run = run
        self.follower = RunFollower(run)
        self.banner.say(None)
        spacings = [entry.spacing for entry in self.cases.entries if entry.spacing is not None]
        self.view.spacing = spacings[0] if spacings else (1.0, 1.0, 1.0)
        self.view.follow(self.follower)
        self.follower.event.connect(self._on_event)
        return self.follower

    def _after_follow(self, follower: RunFollower) -> None:
        self.watch(follower)
        self.kill_button.setEnabled(True)
        self.runs.select(follower.run_dir)
        self.scroll.bring_up(self.primary)  # progress, curves and samples are seen without scrolling

    def _on_event(self, event: Event) -> None:
        if isinstance(event, Started | Validated):
            self.runs.refresh()

    def on_ended(self, state: JobState) -> None:
        """Say how the training ended; a preparation that ended is followed by the training itself."""
        if self.follower is None or state is not self.follower.state:
            return
        self.view.rest()
        self.kill_button.setEnabled(False)
        self.runs.refresh()
        self._update_label()
        if state.state == "failed":
            resumable = RunDir(self.follower.run_dir).resume_path.exists()
            self.show_error(state.message, "Resume", self._resume_followed if resumable else None)
        else:
            self.status.show_facts(end_sentence(self.follower.run_dir.name, state))

    def _resume_followed(self) -> None:
        if self._run is not None:
            self.resume(self._run)

    # runs that go on without us

    def _look_for_live_run(self) -> None:
        runs = live_runs(runs_folder(), "pretrain")
        self.banner.say(runs[0].path if runs else None)

    def _stop_other(self, run: Path) -> None:
        self.attach(run)
        self.stop()

    # labels and settings

    def _on_settings(self) -> None:
        try:
            self.config_form.remember(self.store)
        except GenesisError as error:
            self.show_error(str(error))
            return
        self._update_label()

    def _update_label(self) -> None:
        settings = self.config_form
        settings.name.setPlaceholderText(free_name(runs_folder()))
        text = f"Train {settings.budget_sentence()} on {settings.device_sentence()}"
        self.set_primary(text, bool(self.cases.entries), "" if self.cases.entries else "add scans to the cases first")

    def _recall(self) -> None:
        self.view.samples_box.setChecked(bool(self.store.get("samples", True)))
        self.config_form.recall(self.store)

    def reset(self) -> None:
        """Return all settings to their defaults; the cases stay."""
        self.config_form.name.clear()
        self.config_form.set_config(DEFAULT)
        self.view.samples_box.setChecked(True)

    def _on_theme(self, event: Any = None) -> None:
        super()._on_theme(event)
        if hasattr(self, "learnt"):
            self.view.plot.set_theme(self.viewer.theme)
            self.learnt.follow_theme()

    # going away

    def may_close(self) -> None:
        """Ask, where somebody can be asked, whether the training goes on without napari; else it stops and saves."""
        if self._trains():
            settle(self, self.follower, self.answer_on_close)

    def _trains(self) -> bool:
        follower = self.follower
        return follower is not None and follower.running and follower.state.active

    def shutdown(self) -> None:
        """Stop and save what runs, unless it was said to go on, and take the sample layers away."""
        if self.closed:
            return
        self.view.close_view()
        follower = self.follower
        if self._trains() and not follower.leave_running:
            show_info(f"'{follower.run_dir.name}' is being stopped and saved, as its dock is gone; it can be resumed.")
        super().shutdown()
