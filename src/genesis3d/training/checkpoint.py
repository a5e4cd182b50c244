"""What a run keeps: model files for use, and one resume file that alone suffices to go on exactly.

``last.resume.pt`` holds the task's own weights beside optimiser and progress, and is replaced in one rename.  It is
written before ``last.safetensors``: a kill between the two leaves a model file one save older than the state, which the
resumed run replaces; nothing is ever read from two files that must agree.
"""

from __future__ import annotations

import io
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genesis3d.errors import RunError
from genesis3d.files import write_atomic
from genesis3d.networks.model_file import ModelCard, write_model
from genesis3d.training.progress import Progress
from genesis3d.training.rundir import RunDir, step_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn
    from torch.optim import Optimizer

    from genesis3d.training.settings import KeepSettings

__all__ = ["Checkpoints", "prune", "read_state", "weights_digest"]

_SCHEMA = 1
# Saving may take this share of the time, no more.
_SHARE = 0.05


class Checkpoints:
    """Saves and restores the state of one training.

    Parameters
    ----------
    run : where
    task, optimiser : the live objects; ``task.network`` is what model files hold
    card : makes the card of a model file for a state of progress
    keep : how often and how many
    """

    def __init__(
        self,
        run: RunDir,
        task: nn.Module,
        optimiser: Optimizer,
        card: Callable[[Progress], ModelCard],
        keep: KeepSettings,
    ) -> None:
        self.run = run
        self.task = task
        self.optimiser = optimiser
        self.card = card
        self.keep = keep
        self.cost = 0.0
        self.saved_step: int | None = None
        self._saved_at = time.monotonic()

    @property
    def resume_path(self) -> Path:
        """The file to go on from."""
        return self.run.resume_path

    @property
    def interval(self) -> float:
        """Seconds between two saves of the last state: as set, longer where saving would cost over a twentieth."""
        return max(self.keep.seconds, self.cost / _SHARE)

    def due(self) -> bool:
        """Whether the last state is to be saved again."""
        return time.monotonic() - self._saved_at >= self.interval

    def save_last(self, progress: Progress, hardware: dict[str, Any]) -> None:
        """Write the resume file, then ``last.safetensors``; raises OSError or ModelError, leaving the older ones."""
        start = time.monotonic()
        self.run.sync()
        write_atomic(self.resume_path, self._state(progress, hardware))
        self.save_model("last", progress)
        self.saved_step = progress.step
        self._saved_at = time.monotonic()
        self.cost = self._saved_at - start

    def save_model(self, name: str, progress: Progress) -> str:
        """Write ``checkpoints/NAME.safetensors`` and return its path relative to the run."""
        path = self.run.checkpoints / f"{name}.safetensors"
        write_model(path, self.task.network, self.card(progress))  # type: ignore[arg-type]  # a task's network
        return path.relative_to(self.run.path).as_posix()

    def save_step(self, progress: Progress) -> str:
        """Write ``step-N.safetensors``, then remove the oldest beyond those kept."""
        path = self.save_model(f"step-{progress.step:06d}", progress)
        prune(self.run.checkpoints, "step-*.safetensors", self.keep.checkpoints)
        return path

    def load(self, state: dict[str, Any]) -> Progress:
        """Put the weights and the optimiser of :func:`read_state` into the live objects; return the progress.

        Raises
        ------
        RunError
            When they are of another network or optimiser.
        """
        try:
            self.task.load_state_dict(state["weights"], strict=True)
            self.optimiser.load_state_dict(state["optimiser"])
            progress = Progress.from_dict(state["progress"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.resume_path}: expected the state of this run's network and optimiser") from error
        self.saved_step = progress.step
        return progress

    def _state(self, progress: Progress, hardware: dict[str, Any]) -> bytes:
        import torch

        weights = self.task.state_dict()
        state = {
            "schema": _SCHEMA,
            "progress": progress.to_dict(),
            "hardware": hardware,
            "weights": weights,
            "optimiser": self.optimiser.state_dict(),
            "weights_sha256": weights_digest(weights),
        }
        # By way of memory: torch reports a full disk as an error of another kind.
        buffer = io.BytesIO()
        torch.save(state, buffer)
        return buffer.getvalue()


def read_state(path: Path) -> dict[str, Any]:
    """Return the content of a resume file, verified against the digest it names; raises RunError."""
    import torch

    if not path.is_file():
        raise RunError(f"{path}: expected the state of a stopped run, found none")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        whole = state["schema"] == _SCHEMA and weights_digest(state["weights"]) == state["weights_sha256"]
    except Exception as error:  # torch names a damaged archive by many exceptions
        raise RunError(f"{path}: expected a whole resume file, got a damaged one ({type(error).__name__})") from error
    if not whole:
        raise RunError(f"{path}: expected weights of the SHA-256 that the file names, got others")
    return state  # type: ignore[no-any-return]  # checked above


def weights_digest(weights: dict[str, Tensor]) -> str:
    """Return the SHA-256, in hex, of all names and values in order of name."""
    digest = sha256()
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def prune(folder: Path, pattern: str, keep: int) -> None:
    """Remove all but the ``keep`` files of the highest step."""
    files = sorted(folder.glob(pattern), key=lambda path: step_of(path) or 0)
    for path in files[: len(files) - keep]:
        path.unlink(missing_ok=True)
