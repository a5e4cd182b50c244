"""The learning rate of a step: the schedule, what a plateau of the held-out loss made of it, and what recovery did."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from genesis3d.training.progress import Progress
    from genesis3d.training.settings import OptimiserSettings, RecoverySettings

__all__ = ["note_held_out", "rate_of"]


def rate_of(settings: OptimiserSettings, recovery: RecoverySettings, progress: Progress) -> float:
    """Return the learning rate of the step to come; a training that goes on with a new budget begins its plan anew."""
    planned = settings.learning_rate(progress.step, progress.total, progress.leg)
    return planned * progress.plateau_factor * float(recovery.factor**progress.recoveries)


def note_held_out(settings: OptimiserSettings, progress: Progress, loss: float) -> None:
    """Take note of a held-out ``loss``: schedule ``plateau`` lowers the rate after ``plateau_patience`` without a gain.

    As Keras' ReduceLROnPlateau (no cooldown): a gain is more than ``plateau_delta``, the rate falls by ``decay_factor``
    down to ``lowest``.
    """
    if settings.schedule != "plateau":
        return
    if progress.plateau_best is None or loss < progress.plateau_best - settings.plateau_delta:
        progress.plateau_best, progress.plateau_stale = loss, 0
        return
    progress.plateau_stale += 1
    if progress.plateau_stale >= settings.plateau_patience:
        progress.plateau_stale = 0
        lowest = min(1.0, settings.lowest / settings.lr)
        progress.plateau_factor = max(progress.plateau_factor * settings.decay_factor, lowest)
