"""Dialogs that put models into the library and write them into files, the work behind the window."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from qtpy.compat import isalive
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from genesis3d.errors import GenesisError
from genesis3d.events import Control, Event
from genesis3d.workflows.models import ExportConfig, ImportConfig, export_model, import_model
from napari_genesis.forms import ConfigForm
from napari_genesis.job_state import JobState
from napari_genesis.jobs import Job, ThreadJob, close_jobs, close_with
from napari_genesis.widgets.model_entries import model_name, suggested_name
from napari_genesis.widgets.parts import form_layout
from napari_genesis.widgets.status import StatusArea, memory

__all__ = ["ExportDialog", "ImportDialog", "ModelDialog"]

WEIGHTS = "Weights (*.safetensors *.pt *.pth *.h5 *.hdf5 *.tar *.model);;All files (*)"
FORMATS = {
    "safetensors": ("this project (.safetensors)", ".safetensors"),
    "pytorch": ("PyTorch (.pt)", ".pt"),
    "keras": ("Keras (.h5)", ".h5"),
    "onnx": ("ONNX (.onnx)", ".onnx"),
}
Work = Callable[[Control], Iterator[Event]]


class ModelDialog(QDialog):
    """A form, one button, a status area; the window behind it stays usable.

    Signals
    -------
    made(str) : the name of the model that entered the library
    """

    made = Signal(str)

    def __init__(self, title: str, verb: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(title)
        self._verb = verb
        self._over = False
        self._jobs: list[Job] = []
        self.rows: QFormLayout = form_layout()
        self.primary = QPushButton(verb, objectName="primary")
        self.primary.clicked.connect(self._on_primary)
        self.status = StatusArea()
        column = QVBoxLayout(self)
        column.addLayout(self.rows)
        column.addWidget(self.primary)
        column.addWidget(self.status)
        column.addStretch(1)
        self.resize(460, self.sizeHint().height())
        close_with(self, self._jobs)

    @property
    def running(self) -> bool:
        """Whether its work is under way."""
        return any(job.running for job in self._jobs)

    def start(self) -> None:
        """Do what the button says."""
        raise NotImplementedError

    def finished_well(self, state: JobState) -> None:
        """Show the result of the work."""
        raise NotImplementedError

    def work(self, function: Work, name: str) -> None:
        """Do ``function`` behind the window."""
        job = ThreadJob(function, name)
        self._jobs[:] = [job]
        job.changed.connect(self.status.show_state)
        job.ended.connect(self._on_ended)
        job.start()
        self.primary.setText("Stop")

    def grow(self, _: object = None) -> None:
        """Become as high as what it says now needs: wrapped text does not push by itself."""
        self.layout().activate()
        needed = self.layout().totalHeightForWidth(self.width())
        self.resize(self.width(), max(self.height(), needed, self.sizeHint().height()))

    def closeEvent(self, event: object) -> None:  # Qt's name
        """Stop what runs; nothing is left half-written."""
        close_jobs(self._jobs)
        super().closeEvent(event)

    def _set_over(self, over: bool) -> None:
        """Whether there is nothing left to do but to close."""
        self._over = over
        if not self.running:
            self.primary.setText("Close" if over else self._verb)

    def _on_primary(self) -> None:
        if self.running:
            self._jobs[0].stop()
            return
        if self._over:
            self.close()
            return
        self.status.show_error("")
        try:
            self.start()
        except GenesisError as error:
            self.status.show_error(str(error))
            self.grow()

    def _on_ended(self, state: JobState) -> None:
        self.primary.setText(self._verb)
        self.status.show_state(state)
        self.status.show_facts("")
        if state.state == "finished":
            self.finished_well(state)
        elif state.state == "cancelled":
            self.status.show_facts("stopped: nothing was written")
        if isalive(self):
            self.grow()


class ImportDialog(ModelDialog):
    """A model file, a run, or another project's weights, under a name in the library."""

    def __init__(self, parent: QWidget | None = None, scan: str | None = None) -> None:
        super().__init__("Import a model", "Import", parent)
        self._scan = scan
        self.file = QLineEdit(objectName="import-file", placeholderText="model file, or weights of another project")
        browse = QToolButton(objectName="import-browse", text="…", toolTip="choose a file")
        browse.clicked.connect(self._on_browse)
        row = QHBoxLayout()
        row.addWidget(self.file, 1)
        row.addWidget(browse)
        self.name = QLineEdit(objectName="import-name", placeholderText="letters, digits, dots, dashes")
        shown, more = ("licence", "source", "overwrite"), ("batch_norm", "in_channels")
        self.form = ConfigForm(ImportConfig, shown, more, ImportConfig(file="", name=""))
        self.report = QLabel(objectName="import-report", wordWrap=True, visible=False)
        self.report.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.rows.addRow("File", row)
        self.rows.addRow("Name", self.name)
        self.rows.addRow(self.form)
        self.on_scan = QCheckBox(objectName="import-on-scan", visible=scan is not None)
        self.on_scan.setText(f"batch-norm statistics from {Path(scan or '').name}")
        self.on_scan.setToolTip("of other projects' weights: running statistics are measured on the scan picked")
        if scan is not None:
            self.rows.addRow(self.on_scan)
        self.layout().insertWidget(3, self.report)
        self.file.editingFinished.connect(self._suggest)
        for line in (self.file, self.name):
            line.textChanged.connect(self._go_on)
        if self.form.more_fold is not None:
            self.form.more_fold.toggled.connect(self.grow)

    def set_file(self, path: str) -> None:
        """Fill in a file or run, and a name for it."""
        self.file.setText(path)
        self._suggest()

    def start(self) -> None:
        """Import; raises ConfigError while file or name are empty."""
        values = {"file": self.file.text().strip(), "name": self.name.text().strip()}
        scans = (self._scan,) if self._scan is not None and self.on_scan.isChecked() else ()
        config = self.form.value.replaced(**values, scans=scans)
        self.report.hide()
        self.work(lambda control: import_model(config, control), "import")

    def finished_well(self, state: JobState) -> None:
        """Close; where weights were translated, show what matched and under which terms, to be read first."""
        self.made.emit(state.result["name"])
        report, licence = state.result.get("report", ""), state.result.get("licence", "")
        if not report:
            self.close()
            return
        self.report.setText(report if licence in report else f"{report}\nLicence: {licence}")
        self.report.show()
        self._set_over(True)
        self.status.show_facts(f"in the library as {state.result['name']}")

    def _go_on(self, _: str) -> None:
        self._set_over(False)

    def _suggest(self) -> None:
        if self.file.text().strip() and not self.name.text().strip():
            self.name.setText(suggested_name(Path(self.file.text().strip())))

    def _on_browse(self) -> None:
        name, _kind = QFileDialog.getOpenFileName(self, "Choose a model or weights", "", WEIGHTS)
        if name:
            self.set_file(name)


class ExportDialog(ModelDialog):
    """A model into a file to share or to use elsewhere."""

    def __init__(self, model: Path, parent: QWidget | None = None) -> None:
        super().__init__(f"Export {model_name(model)}", "Export…", parent)
        self._model = model
        self.kind = QComboBox(objectName="export-kind")
        for kind, (label, _suffix) in FORMATS.items():
            self.kind.addItem(label, kind)
        self.half = QCheckBox("half precision: half the size", objectName="export-half")
        self.anonymous = QCheckBox("leave out the keys of its cases", objectName="export-anonymous", checked=True)
        self.anonymous.setToolTip("the card then says how many scans it was trained on, not which (salted hashes)")
        self.rows.addRow("Format", self.kind)
        self.rows.addRow(self.half)
        self.rows.addRow(self.anonymous)
        self.kind.currentIndexChanged.connect(self._on_kind)

    def start(self) -> None:
        """Ask where to, and write."""
        kind = self.kind.currentData()
        suffix = FORMATS[kind][1]
        usual = f"{model_name(self._model)}{suffix}"
        name, _kind = QFileDialog.getSaveFileName(self, "Export the model", usual, f"Model (*{suffix})")
        if name:
            self.save(Path(name))

    def save(self, out: Path) -> None:
        """Write the model to ``out``, which the file dialog has asked about."""
        kind = self.kind.currentData()
        plain = kind == "safetensors"
        config = ExportConfig(
            model=str(self._model),
            out=str(out),
            kind=kind,
            half=plain and self.half.isChecked(),
            anonymous=self.anonymous.isChecked(),
            overwrite=True,
        )
        self.work(lambda control: export_model(config, control), "export")

    def finished_well(self, state: JobState) -> None:
        """Say how large the file is, and under which terms it may be passed on."""
        terms = f"\nLicence: {state.result['licence']}" if state.result["licence"] else ""
        self.status.show_facts(f"written, {memory(state.result['bytes'])}{terms}")

    def _on_kind(self, _: int) -> None:
        self.half.setEnabled(self.kind.currentData() == "safetensors")
