"""Going back to the last good state when a training has died."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis3d.errors import RunError
from genesis3d.training.checkpoint import read_state

if TYPE_CHECKING:
    from genesis3d.training.checkpoint import Checkpoints
    from genesis3d.training.collapse import Collapsed
    from genesis3d.training.progress import Progress
    from genesis3d.training.settings import RecoverySettings

__all__ = ["go_back"]


def go_back(
    collapse: Collapsed,
    checkpoints: Checkpoints,
    progress: Progress,
    settings: RecoverySettings,
    hardware: dict[str, Any],
) -> str:
    """Put the last good state into the live objects and ``progress``, to go on at a lower rate; return a sentence.

    The state is saved before anything of the curve is forgotten: a process killed between the two resumes from it.

    Raises
    ------
    RunError
        One sentence, when the tries are used up; the good state is then the one to resume from.
    """
    good = checkpoints.load(read_state(checkpoints.good_path))
    used_up = progress.recoveries >= settings.tries
    progress.go_back(good)
    progress.recoveries = 0 if used_up else progress.recoveries + 1
    checkpoints.save_last(progress, hardware)
    if used_up:
        again = f", and so {settings.tries} times at lower rates" if settings.tries else ""
        raise RunError(
            f"the training stopped at step {collapse.step}: {collapse.what}{again}; lower the learning rate and resume "
            f"(the last good state, of step {progress.step}, is kept)"
        ) from collapse
    return (
        f"step {collapse.step}: {collapse.what}; the training goes on from step {progress.step} at "
        f"{settings.factor**progress.recoveries:g} times the learning rate"
    )
