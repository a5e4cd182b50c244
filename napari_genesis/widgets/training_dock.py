"""What docks that train have in common: runs that are started, followed, resumed, killed, and outlive the window."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari.utils.notifications import show_info
from qtpy.QtWidgets import QWidget

from genesis3d.errors import GenesisError
from genesis3d.events import Event, Started, Validated
from genesis3d.training.rundir import RunDir
from napari_genesis.devices import Device, known_devices, probe
from napari_genesis.jobs import JobState, RunFollower, ThreadJob
from napari_genesis.widgets.closing import settle
from napari_genesis.widgets.run_banner import Banner
from napari_genesis.widgets.run_parts import end_sentence, kill_button
from napari_genesis.widgets.runs import RunList, live_runs
from napari_genesis.widgets.shared import runs_folder
from napari_genesis.widgets.shell import Dock

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["TrainingDock"]


class TrainingDock(Dock):
    """Base of the docks that train, each in a process of its own.

    Attributes
    ----------
    kind : which runs are the dock's, ``pretrain`` or ``finetune``
    follower : the training that is shown, or None
    answer_on_close : what closing napari does to a running training, ``"stop"`` (and save) or ``"go on"``; None asks.
        The environment variable ``GENESIS_ON_CLOSE`` sets it.
    """

    kind = "pretrain"
    verb = "Train"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self.follower: RunFollower | None = None
        self.answer_on_close: str | None = os.environ.get("GENESIS_ON_CLOSE")
        self._run: Path | None = None
        self.banner = Banner()
        self.banner.follow.connect(self.attach)
        self.banner.stop.connect(self._stop_other)
        self.inputs.addRow(self.banner)
        self.kill_button = kill_button(self.kill)
        self.actions.addWidget(self.kill_button)
        self.runs = RunList(runs_folder(), self.kind)
        self.runs.opened.connect(self.attach)
        self.runs.resumed.connect(self.resume)
        self.runs.failed.connect(self.show_error)

    # what a dock overrides

    def show_run(self, follower: RunFollower) -> None:
        """Let the views follow ``follower``, whose run is about to be shown."""

    def rest(self, state: JobState) -> None:
        """Let the views rest: the training they show has ended."""

    def give_budget(self, run: Path) -> None:
        """Give ``run`` a further budget if it has used its own; raises GenesisError or OSError."""

    def take_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer the devices found."""

    def update_label(self) -> None:
        """Say on the primary button what it will do."""

    # runs

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
        """Go on with a run from its last saved state; one that used its budget gets the present one."""
        if self.running:
            self.show_error("a training is running: stop it first")
            return
        self.show_error("")
        try:
            self.give_budget(run)
        except (GenesisError, OSError) as error:
            self.show_error(str(error))
            return
        self.launch(run, resume=True)

    def find_devices(self) -> None:
        """Ask torch, once in a session and in a process of its own, where it can train."""
        if known := tuple(known_devices()):
            self.take_devices(known)
            return
        job = ThreadJob(probe, name="devices")
        job.event.connect(self._on_devices)
        self.tend(job)
        job.start()

    def look_for_live_run(self) -> None:
        """Say so when a training of an earlier session is still running."""
        runs = live_runs(runs_folder(), self.kind)
        self.banner.say(runs[0].path if runs else None)

    def on_ended(self, state: JobState) -> None:
        """Say how the training ended; a preparation that ended is followed by the training itself."""
        if self.follower is None or state is not self.follower.state:
            return
        self.kill_button.setEnabled(False)
        self.runs.refresh()
        self.update_label()
        if state.state == "failed":
            resumable = RunDir(self.follower.run_dir).resume_path.exists()
            self.show_error(state.message, "Resume", self._resume_followed if resumable else None)
        else:
            self.status.show_facts(end_sentence(self.follower.run_dir.name, state))
        self.rest(state)

    @property
    def trains(self) -> bool:
        """Whether the training that is followed is under way."""
        return self.follower is not None and self.follower.running and self.follower.state.active

    def _follow(self, run: Path) -> RunFollower:
        if self.follower is not None:
            self.follower.detach()
        self._run = run
        self.follower = RunFollower(run)
        self.banner.say(None)
        self.show_run(self.follower)
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

    def _on_devices(self, devices: Any) -> None:
        if isinstance(devices, tuple):
            self.take_devices(devices)

    def _resume_followed(self) -> None:
        if self._run is not None:
            self.resume(self._run)

    def _stop_other(self, run: Path) -> None:
        self.attach(run)
        self.stop()

    # going away

    def may_close(self) -> None:
        """Ask, where somebody can be asked, whether the training goes on without napari; else it stops and saves."""
        if self.trains and self.follower is not None:
            settle(self, self.follower, self.answer_on_close)

    def shutdown(self) -> None:
        """Stop and save what runs, unless it was said to go on."""
        if self.closed:
            return
        if self.trains and self.follower is not None and not self.follower.leave_running:
            name = self.follower.run_dir.name
            show_info(f"'{name}' is being stopped and saved, as its dock is gone; it can be resumed.")
        super().shutdown()
