"""What a pre-training will see: its own sampler, made in the background from its configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QObject, Signal

from genesis3d.errors import ConfigError
from genesis3d.events import Control, Event, Finished, Started
from napari_genesis.jobs import JobState, ThreadJob, close_jobs, close_with
from napari_genesis.widgets.preview.model import size_text

if TYPE_CHECKING:
    from genesis3d.training.opacity_pairs import OpacityMaker
    from genesis3d.training.pairs import PairMaker
    from genesis3d.transforms import Chain
    from genesis3d.volume import Volume
    from genesis3d.workflows.pretrain_config import PretrainConfig

__all__ = ["Training", "TrainingLoader", "prepare", "read_config", "same_scan"]


@dataclass(frozen=True, eq=False)
class Training:
    """A pre-training's configuration and what makes its pairs; ``names`` of the cases in the sampler's order."""

    config: PretrainConfig
    maker: PairMaker | OpacityMaker
    names: tuple[str, ...]
    held_out: str

    @property
    def patch(self) -> tuple[int, int, int]:
        """Size (D, H, W) of a sub-volume in voxels."""
        return self.config.sampling.patch

    def describe(self, case: int, seed: int, chain: Chain) -> list[str]:
        """Return the case's name and size, and what is not as the training has it."""
        notes = [f"{self.names[case]}, {size_text(self.config.sampling.patch)}"]
        if seed != self.config.seed:
            notes.append(f"the training's own seed is {self.config.seed}")
        if chain != self.config.chain:
            notes.append("the chain differs from the training's")
        return notes


def read_config(path: str) -> PretrainConfig:
    """Return the configuration of a run (its folder or ``config.json``); raises ConfigError naming the file."""
    from genesis3d.workflows.pretrain_config import PretrainConfig

    file = Path(path)
    return PretrainConfig.from_yaml(file / "config.json" if file.is_dir() else file)


def prepare(config: PretrainConfig, control: Control) -> Training | None:
    """Read the scans of ``config`` and split them as its training does; None when told to stop meanwhile."""
    from genesis3d.workflows.pretrain_setup import read_cases, training_pairs

    loaded = read_cases(config, None, control)
    if loaded is None:
        return None
    maker, split = training_pairs(config, loaded)
    return Training(config, maker, tuple(split.training.names), split.how)


def same_scan(first: Volume, second: Volume) -> bool:
    """Whether two volumes show the same scan: one file and series, or, unless both have one, the same grid."""
    if first.source is not None and second.source is not None:
        return Path(first.source).resolve() == Path(second.source).resolve() and first.series == second.series
    return first.geometry.matches(second.geometry) and first.name == second.name


class TrainingLoader(QObject):
    """Prepares a :class:`Training` in a thread."""

    ready = Signal(object)  # Training
    failed = Signal(str)
    started = Signal(object)  # the Job, for the status area

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._job: ThreadJob | None = None
        self._ended: ThreadJob | None = None
        self._jobs: list[ThreadJob] = []
        close_with(self, self._jobs)
        self._made: list[Training] = []

    def load(self, config: Any) -> None:
        """Prepare ``config``; a preparation under way is given up."""
        self.close()
        made: list[Training] = []

        def work(control: Control) -> Iterator[Event]:
            yield Started(what="reading the scans of the training", unit="scan")
            training = prepare(config, control)
            if training is None:
                raise ConfigError("as training: stopped while reading its scans")
            made.append(training)
            yield Finished()

        self._made = made
        self._job = ThreadJob(work, name="as training")
        self._jobs[:] = [self._job]
        self._job.ended.connect(self._on_ended)
        self._job.start()
        self.started.emit(self._job)

    def close(self) -> None:
        """Give up what is under way."""
        close_jobs(self._jobs)
        self._job = None
        self._made = []

    def _on_ended(self, state: JobState) -> None:
        self._ended, self._job = self._job, None  # it is still inside its own timer: not to be deleted here
        self._jobs.clear()
        if self._made:
            self.ready.emit(self._made[0])
        elif state.state == "failed":
            self.failed.emit(state.message)
