"""What a run keeps: model files for use, and one resume file that alone suffices to go on exactly.

``last.resume.pt`` holds the task's own weights (and their average) beside optimiser and progress, and is replaced in
one rename.  It is written before ``last.safetensors``: a kill between the two leaves a model file one save older than
the state, which the resumed run replaces; nothing is ever read from two files that must agree.  ``good.resume.pt`` is
the same file as it was when the training was last found in good health: what to go back to when it dies.
"""

from __future__ import annotations

import io
import os
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
    averaged : the task whose weights are averages of those of ``task``; model files then hold its network
    """

    def __init__(
        self,
        run: RunDir,
        task: nn.Module,
        optimiser: Optimizer,
        card: Callable[[Progress], ModelCard],
        keep: KeepSettings,
        averaged: nn.Module | None = None,
    ) -> None:
        self.run = run
        self.task = task
        self.optimiser = optimiser
        self.card = card
        self.keep = keep
        self.averaged = averaged
        self.cost = 0.0
        self.saved_step: int | None = None
        self._saved_at = time.monotonic()

    @property
    def tasks(self) -> list[nn.Module]:
        """The task, and its average where there is one."""
        return [self.task] if self.averaged is None else [self.task, self.averaged]

    @property
    def resume_path(self) -> Path:
        """The file to go on from."""
        return self.run.resume_path

    @property
    def good_path(self) -> Path:
        """The state to go back to when the training dies."""
        return self.resume_path.with_name("good.resume.pt")

    def mark_good(self) -> None:
        """Keep the state just saved as the one to go back to: one more name for its file, where the disk can."""
        temporary = self.good_path.with_name(f".{self.good_path.name}.part")
        temporary.unlink(missing_ok=True)
        try:
            os.link(self.resume_path, temporary)
        except OSError:  # not every file system has links
            write_atomic(self.good_path, self.resume_path.read_bytes())
        else:
            os.replace(temporary, self.good_path)

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
        write_model(path, self.tasks[-1].network, self.card(progress))  # type: ignore[arg-type]  # a task's network
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
            if self.averaged is not None:  # switched on for a run that began without: from its present weights
                self.averaged.load_state_dict(state.get("averaged", state["weights"]), strict=True)
            progress = Progress.from_dict(state["progress"])
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.resume_path}: expected the state of this run's network and optimiser") from error
        self.saved_step = progress.step
        return progress

    def _state(self, progress: Progress, hardware: dict[str, Any]) -> bytes:
        import torch

        weights = self.task.state_dict()
        state: dict[str, Any] = {
            "schema": _SCHEMA,
            "progress": progress.to_dict(),
            "hardware": hardware,
            "weights": weights,
            "optimiser": self.optimiser.state_dict(),
            "weights_sha256": weights_digest(weights),
        }
        if self.averaged is not None:
            state["averaged"] = self.averaged.state_dict()
            state["averaged_sha256"] = weights_digest(state["averaged"])
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
        whole = state["schema"] == _SCHEMA and all(
            weights_digest(state[name]) == state[f"{name}_sha256"] for name in ("weights", "averaged") if name in state
        )
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
