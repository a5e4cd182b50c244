"""Maps and files: a folder of everything, the table, the report, the mask, and a whole folder of scans."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QMenu

from genesis3d.errors import GenesisError, ScanError
from genesis3d.events import Control, Event, Finished
from napari_genesis.jobs import JobState, ThreadJob
from napari_genesis.widgets.anomaly.batch import BatchPanel, mapping_folder
from napari_genesis.widgets.parts import fold

if TYPE_CHECKING:
    from genesis3d.workflows.anomaly import AnomalyMap
    from napari_genesis.widgets.anomaly.dock import AnomalyDock
    from napari_genesis.widgets.anomaly.kept import KeptMap
    from napari_genesis.widgets.anomaly.work import Work

__all__ = ["Files"]

# what stands in the menu, kinds of file offered, a name to begin with
WHAT = {
    "folder": ("Everything into a folder ...", "", ""),
    "table": ("Regions as CSV ...", "CSV (*.csv)", "regions.csv"),
    "page": ("Report as HTML ...", "HTML (*.html)", "report.html"),
    "pdf": ("Report as PDF ...", "PDF (*.pdf)", "report.pdf"),
    "mask": ("Mask as NIfTI, NRRD or MHA ...", "NIfTI (*.nii.gz);;NRRD (*.nrrd);;MetaImage (*.mha)", "mask.nii.gz"),
    "seg": ("Mask as DICOM SEG ...", "DICOM SEG (*.dcm)", "mask.dcm"),
}


class Files(QObject):
    """What the Anomaly dock does with files; its jobs are the dock's, so that its button stops them."""

    def __init__(self, dock: AnomalyDock) -> None:
        super().__init__(dock)
        self.dock = dock
        self._open = self._doing_batch = False
        self._said: list[str] = []
        self.batch = BatchPanel(dock.store)
        self.fold = fold("A folder of scans", self.batch, "batch")
        dock.results.addWidget(self.fold)
        self.batch.started.connect(self.start_batch)
        panel = dock.panel
        menu = QMenu(panel.save_button)
        self.actions = {
            name: menu.addAction(words, partial(self._on_action, name)) for name, (words, *_) in WHAT.items()
        }
        panel.save_button.setMenu(menu)
        panel.report_button.clicked.connect(self._on_report)

    def save(self, folder: str | Path) -> None:
        """Write every file of the map shown into ``folder``, as ``genesis3d anomaly`` does."""
        self._write(partial(_folder, folder=Path(folder)))

    def export(self, path: str | Path) -> None:
        """Write the table of regions as CSV, at once."""
        from genesis3d.workflows.anomaly_files import table_text, write_text

        result = self.dock.panel.final()
        if result is None:
            return
        try:
            write_text(Path(path), table_text(result))
        except GenesisError as error:
            self.dock.show_error(str(error))
        else:
            self.dock.status.show_facts(f"{len(result.regions)} regions written to {path}")

    def report(self, path: str | Path, show: bool = False) -> None:
        """Write the report, as PDF or HTML by the suffix; ``show`` it in the browser once it is there."""
        self._open = show
        self._write(partial(_report, path=Path(path)))

    def mask(self, path: str | Path) -> None:
        """Write the regions that are not taken out as a mask on the scan's own grid: ``.dcm`` as DICOM SEG."""
        self._write(partial(_mask, path=Path(path)))

    def start_batch(self) -> None:
        """Map every scan of the folder with the dock's recipe, model, lungs and settings."""
        from genesis3d.workflows.anomaly_batch import AnomalyBatchConfig

        dock, way = self.dock, self.dock.lungs_picker.way
        if dock.running or (dock.needs_model and dock.models.path is None):
            return
        own = {
            "scans": [self.batch.scans.path], "model": str(dock.models.path) if dock.needs_model else None,
            "out_dir": self.batch.out.path, "overwrite": self.batch.overwrite.isChecked(),
            "lungs": "auto" if way == "layer" else way,
        }  # fmt: skip
        try:
            config = AnomalyBatchConfig.parse(dock.own_threads(dock.config).to_dict() | own)
        except GenesisError as error:
            dock.show_error(str(error))
            return
        dock.show_error("")
        self._doing_batch, self._said = True, []
        self._run(ThreadJob(mapping_folder(config, self._said), name="mapping a folder"))

    def on_ended(self, state: JobState) -> None:
        """Say what was written or mapped, and open a report that is to be seen."""
        path, show = state.result.get("path"), self._open
        batch, self._open, self._doing_batch = self._doing_batch, False, False
        if batch and state.state != "failed":
            self.batch.tell(state.result, self._said, state.state == "cancelled")
        if state.state == "finished" and path:
            self.dock.status.show_facts(f"saved: {path}")
            if show:
                self.show(path)

    def show(self, path: str) -> None:
        """Open a file in the browser."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(path))

    def describe(self) -> None:
        """Offer DICOM SEG for scans that came from DICOM, and a folder where there is a model for it."""
        usable = not self.dock.needs_model or self.dock.models.card is not None
        self.batch.allow(usable, "choose a model first")
        kept = self.dock.panel.kept
        self.actions["seg"].setVisible(kept is not None and kept.result.scan.series is not None)

    def _write(self, write: Any) -> None:
        kept = self.dock.panel.kept
        if kept is None or self.dock.running:
            return
        self.dock.panel.settle()
        self.dock.show_error("")
        self._run(ThreadJob(_writing(kept, write), name="saving the map"))

    def _run(self, job: ThreadJob) -> None:
        self.dock.watch(job)
        job.start()

    def _on_report(self, _: Any = None) -> None:
        kept = self.dock.panel.kept
        if kept is not None:
            self.report(_pages() / f"{_plain(kept)}.html", show=True)

    def _on_action(self, name: str) -> None:
        words, kinds, suggested = WHAT[name]
        self.describe()
        chosen = self.ask(words.removesuffix(" ..."), kinds, suggested)
        if not chosen:
            return
        write = {"folder": self.save, "table": self.export, "page": self.report, "pdf": self.report}.get(
            name, self.mask
        )
        write(chosen)

    def ask(self, title: str, kinds: str, suggested: str) -> str:
        """Ask for a file, or without ``kinds`` for a folder; return its name with a suffix, empty for none."""
        if not kinds:
            return str(QFileDialog.getExistingDirectory(self.dock, title))
        name, kind = QFileDialog.getSaveFileName(self.dock, title, suggested, kinds)
        suffix = kind.partition("*")[2].rstrip(")")
        return name if not name or "." in Path(name).name else name + suffix


def _writing(kept: KeptMap, write: Any) -> Work:
    """Return the work of writing what is left of a map."""
    result, excluded = kept.result, kept.excluded

    def work(control: Control) -> Iterator[Event]:
        from napari_genesis.widgets.anomaly.kept import without

        yield from write(without(result, excluded), control=control)

    return work


def _folder(result: AnomalyMap, folder: Path, control: Control) -> Iterator[Event]:
    from genesis3d.workflows.anomaly_files import write_map

    for event in write_map(result, folder):
        yield event
        if control() == "stop":
            yield Finished(cancelled=True)
            return
    yield Finished(result={"path": str(folder)})


def _report(result: AnomalyMap, path: Path, control: Control) -> Iterator[Event]:
    from genesis3d.files import write_atomic
    from genesis3d.workflows.anomaly_report import report_html, report_pdf

    content = report_pdf(result) if path.suffix.lower() == ".pdf" else report_html(result).encode()
    if control() == "stop":
        yield Finished(cancelled=True)
        return
    try:
        write_atomic(path, content)
    except OSError as error:
        raise ScanError(f"{path}: cannot be written: {error.strerror or error}") from error
    yield Finished(result={"path": str(path)})


def _mask(result: AnomalyMap, path: Path, control: Control) -> Iterator[Event]:
    from genesis3d.labels import LabelClass

    marked = result.labels.with_data((result.labels.data > 0).astype("uint8"), name=f"{result.scan.name} mask")
    classes = (LabelClass(value=1, name="anomaly", colour="#35e0ff"),)
    if path.suffix.lower() == ".dcm":
        from genesis3d.io import write_dicom_seg

        if result.scan.source is None:
            raise ScanError(f"{result.scan.name}: expected a scan that was opened from DICOM, got one without a source")
        write_dicom_seg(marked, classes, result.scan.source, path, series=result.scan.series)
    else:
        from genesis3d.io import write_volume

        write_volume(marked, path, labels=True, classes=classes)
    yield Finished(result={"path": str(path)})


def _pages() -> Path:
    """The folder of reports that were looked at."""
    from genesis3d.files import home

    folder = home() / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _plain(kept: KeptMap) -> str:
    """A file name made of scan, recipe and model."""
    words = "-".join(part for part in (kept.scan, kept.recipe, kept.model) if part)
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in words)[:100]
