"""The Pre-train dock: cases, settings, a training in a process of its own, its curves and samples, and all runs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import ref

from qtpy.QtWidgets import QWidget

from genesis3d.errors import ConfigError, GenesisError
from genesis3d.workflows.pretrain_config import PretrainConfig
from napari_genesis.devices import Device
from napari_genesis.jobs import JobState, RunFollower, ThreadJob
from napari_genesis.widgets.extending import extend_finished
from napari_genesis.widgets.pretrain.cases import CaseList
from napari_genesis.widgets.pretrain.inputs import case_paths, known_intensity, prepare_run, start_prepared
from napari_genesis.widgets.pretrain.learnt import LearntView
from napari_genesis.widgets.pretrain.settings import DEFAULT, PretrainSettings
from napari_genesis.widgets.pretrain.view import TrainingView
from napari_genesis.widgets.runs import free_name
from napari_genesis.widgets.shared import offer_pretrain_config, runs_folder
from napari_genesis.widgets.shell import fold
from napari_genesis.widgets.training_dock import TrainingDock

if TYPE_CHECKING:
    import napari.viewer

__all__ = ["PretrainDock"]


class PretrainDock(TrainingDock):
    """Pre-trains a network on scans by restoring transformed sub-volumes (Models Genesis), in the background."""

    title = "Pre-train"
    summary = "Train a network to restore transformed sub-volumes of your scans; no labels needed."
    page = "pretrain-dock"

    def __init__(self, viewer: napari.viewer.Viewer, parent: QWidget | None = None) -> None:
        super().__init__(viewer, parent)
        self._make_inputs()
        self._make_results()
        self._recall()
        self.config_form.changed.connect(self._on_settings)
        self.cases.changed.connect(self.update_label)
        offer_pretrain_config(self.pretrain_config)
        self.find_devices()
        self.update_label()
        self.look_for_live_run()

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

    def give_budget(self, run: Path) -> None:
        """Put the present budget on top of that of a run that used its own."""
        extend_finished(run, self.config_form.config())

    # building

    def _make_inputs(self) -> None:
        self.cases = CaseList(self.viewer)
        self.cases.failed.connect(self.show_error)
        self.cases.started.connect(self.tend)
        self.inputs.addRow(self.cases)
        self.config_form = PretrainSettings(self.settings, self)
        self.config_form.failed.connect(self.show_error)
        self.more.addRow(self.config_form.more)

    def _make_results(self) -> None:
        self.view = TrainingView(self.viewer)
        self.view.samples_box.toggled.connect(partial(self.store.put, "samples"))
        self.results.addWidget(self.view)
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

    def take_devices(self, devices: tuple[Device, ...]) -> None:
        """Offer the devices found."""
        self.config_form.set_devices(devices)

    # following a run

    def show_run(self, follower: RunFollower) -> None:
        """Show curves and samples of ``follower``'s run."""
        spacings = [entry.spacing for entry in self.cases.entries if entry.spacing is not None]
        self.view.spacing = spacings[0] if spacings else (1.0, 1.0, 1.0)
        self.view.follow(follower)

    def rest(self, state: JobState) -> None:
        """Show the rest of the log."""
        self.view.rest()

    # labels and settings

    def _on_settings(self) -> None:
        try:
            self.config_form.remember(self.store)
        except GenesisError as error:
            self.show_error(str(error))
            return
        self.update_label()

    def update_label(self) -> None:
        """Say for how long and where."""
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

    def shutdown(self) -> None:
        """Take the sample layers away, and stop and save what runs, unless it was said to go on."""
        if not self.closed:
            self.view.close_view()
        super().shutdown()
