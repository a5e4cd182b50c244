"""Segmentations and files: saving the one shown, its table as CSV, and a whole folder of scans."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject
from qtpy.QtWidgets import QFileDialog

from genesis3d.errors import GenesisError
from genesis3d.workflows.segment_settings import FORMATS, SegmentConfig
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.widgets.parts import fold
from napari_genesis.widgets.segment.batch import BatchPanel
from napari_genesis.widgets.segment.results import GONE
from napari_genesis.widgets.segment.work import saving, segmenting_folder

if TYPE_CHECKING:
    from napari_genesis.widgets.segment.dock import SegmentDock

__all__ = ["Files"]

KINDS = ("NIfTI (*.nii.gz)", "NRRD (*.nrrd)", "MetaImage (*.mha)")
DICOM_KIND = "DICOM SEG (*.dcm)"


class Files(QObject):
    """What the Segment dock does with files; its jobs are the dock's, so that its button stops them."""

    def __init__(self, dock: SegmentDock) -> None:
        super().__init__(dock)
        self.dock = dock
        self.batch = BatchPanel(dock.store, FORMATS)
        self.fold = fold("A folder of scans", self.batch, "batch")
        dock.results.addWidget(self.fold)
        self._said: list[str] = []
        self._doing = ""
        self.batch.started.connect(self.start_batch)
        dock.panel.save_button.clicked.connect(self._on_save)
        dock.panel.export_button.clicked.connect(self._on_export)

    def save(self, path: str | Path) -> None:
        """Write the labels shown, corrections included, on the scan's own grid."""
        panel = self.dock.panel
        labels = panel.current()
        if labels is None:
            self.dock.show_error(GONE)
        if labels is None or panel.layers is None or self.dock.running:
            return
        self._doing = "save"
        self._run(ThreadJob(saving(labels, panel.layers.classes, Path(path)), name="saving"))

    def export(self, path: str | Path) -> None:
        """Write the table as CSV."""
        from genesis3d.workflows.anomaly_files import write_text

        text = self.dock.panel.table_text()
        try:
            write_text(Path(path), text)
        except GenesisError as error:
            self.dock.show_error(str(error))
        else:
            self.dock.status.show_facts(f"table written to {path}")

    def start_batch(self) -> None:
        """Segment every scan of the folder with the dock's model and settings."""
        dock = self.dock
        if dock.models.path is None or dock.running:
            return
        own = {
            "scans": [self.batch.scans.path], "model": str(dock.models.path), "out_dir": self.batch.out.path,
            "format": self.batch.format.currentText(), "overwrite": self.batch.overwrite.isChecked(),
            "channels": self.batch.ends,
        }  # fmt: skip
        try:
            config = SegmentConfig.parse(dock.own_threads(dock.config).to_dict() | own)
        except GenesisError as error:
            dock.show_error(str(error))
            return
        dock.show_error("")
        self._doing, self._said = "batch", []
        self._run(ThreadJob(segmenting_folder(config, self._said), name="segmenting a folder"))

    def on_ended(self, state: JobState) -> None:
        """Say what a saving or a batch did."""
        doing, self._doing = self._doing, ""
        if doing == "save" and state.state == "finished":
            self.dock.status.show_facts(f"saved: {state.result['path']}")
        elif doing == "batch" and state.state != "failed":
            self.batch.tell(state.result, self._said, state.state == "cancelled")

    def describe(self) -> None:
        """Follow what the dock can do at present."""
        card = self.dock.models.card
        self.batch.set_channels(1 if card is None else card.network.in_channels)
        self.batch.allow(card is not None, "choose a segmentation model first")

    def _run(self, job: ThreadJob) -> None:
        self.dock.watch(job)
        job.start()

    def _on_save(self) -> None:
        panel = self.dock.panel
        if panel.layers is None or panel.current() is None:
            self.dock.show_error(GONE)
            return
        kinds = (*KINDS, DICOM_KIND) if panel.layers.volume.series is not None else KINDS
        name, kind = self.ask(kinds)
        if name:
            suffix = kind.partition("*")[2].rstrip(")")
            self.save(name if "." in Path(name).name else name + suffix)

    def ask(self, kinds: tuple[str, ...]) -> tuple[str, str]:
        """Ask for a file to save to; return its name, empty for none, and which of ``kinds`` was chosen."""
        return QFileDialog.getSaveFileName(self.dock, "Save the segmentation", "", ";;".join(kinds))

    def _on_export(self) -> None:
        name, _kind = QFileDialog.getSaveFileName(self.dock, "Export the table", "structures.csv", "CSV (*.csv)")
        if name:
            self.export(name)
