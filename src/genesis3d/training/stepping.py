"""One step of the optimiser: the gradient of a batch, in portions that fit into memory, in numbers that are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genesis3d.training.collapse import CollapseGuard, vitals
from genesis3d.training.groups import Levels
from genesis3d.training.half import autocast
from genesis3d.training.memory import shares
from genesis3d.training.processes import ALONE, Processes

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from genesis3d.training.memory import Portions
    from genesis3d.training.pairs import Pairs
    from genesis3d.training.settings import PlanSettings

__all__ = ["Stepper"]


class Stepper:
    """Computes gradients and takes steps.

    Parameters
    ----------
    fabric, task, optimiser : live objects, the last two set up by the first
    clip : largest norm of a gradient; None: not limited
    hardware : what computes (plain values); replaced when bfloat16 proves wrong
    portions : how many sub-volumes are computed at once; the gradient is that of the whole batch whatever it says
    processes, share : those that train together, and this one's share of the batch, of 1
    plan : which parts are trained when, and how fast; the optimiser was built for it

    Attributes
    ----------
    said : sentences to be told to the user, and removed by whoever tells them
    """

    def __init__(
        self,
        fabric: Fabric,
        task: nn.Module,
        optimiser: Optimizer,
        clip: float | None,
        hardware: dict[str, Any],
        portions: Portions,
        processes: Processes = ALONE,
        share: float = 1.0,
        plan: PlanSettings | None = None,
    ) -> None:
        self.fabric = fabric
        self.task = task
        self.optimiser = optimiser
        self.clip = clip
        self.hardware = hardware
        self.portions = portions
        self.processes = processes
        self.share = share
        self.said: list[str] = []
        self._levels = None if plan is None or plan.plain else Levels(plan, task)

    @property
    def frozen(self) -> tuple[str, ...]:
        """Prefixes of the names, in the network, of what is not trained at the present step."""
        return () if self._levels is None else self._levels.frozen

    @property
    def device(self) -> Any:
        """Where it computes."""
        return self.fabric.device

    @property
    def half(self) -> bool:
        """Whether the network computes in bfloat16."""
        return bool(self.hardware["precision"] == "bf16")

    def gradient(self, pairs: Pairs, step: int, guard: CollapseGuard) -> dict[str, float]:
        """Put the gradient of ``pairs`` into the weights' ``grad``, clipped.

        Returns
        -------
        dict
            ``loss``, ``gradient_norm`` before clipping, the :func:`~genesis3d.training.collapse.vitals`, and the
            figures that the task names in ``figures``.
        """
        batch = (pairs.input.to(self.device), pairs.target.to(self.device))
        found = self._fitting(batch)
        if self.half and guard.suspicious(found):
            exact = self._fitting(batch, exact=True)
            self._leave_bf16(step, wrong=not found["gradient_norm"] < 2 * exact["gradient_norm"])
            return exact
        return found

    def begin(self, step: int, total: int | None, leg: int = 0) -> None:
        """Freeze and thaw as the plan says for step number ``step`` (from 0) of ``total``; before its gradient."""
        if self._levels is not None:
            self._levels.begin(step, total, leg)

    def step(self, lr: float) -> None:
        """Change the weights by the gradient found, at the learning rate ``lr`` times the factor of each level."""
        groups = self.optimiser.param_groups
        factors = [1.0] * len(groups) if self._levels is None else self._levels.factors()
        for group, factor in zip(groups, factors, strict=True):
            group["lr"] = lr * factor
        self.optimiser.step()

    def _fitting(self, batch: tuple[Tensor, Tensor], exact: bool = False) -> dict[str, float]:
        found = self.portions.fit(lambda size: self._gradient(batch, size, exact))
        self.processes.sum_gradients(self.task.parameters())
        norm = self.processes.clip(self.task.parameters(), self.clip if self.clip is not None else float("inf"))
        return self.processes.mean(found | {"gradient_norm": norm}, self.share)

    def _gradient(self, batch: tuple[Tensor, Tensor], size: int, exact: bool = False) -> dict[str, float]:
        """Return loss and vitals of (input, target), computed ``size`` sub-volumes at a time."""
        import torch

        self.optimiser.zero_grad(set_to_none=True)
        whole, last, loss, outputs = len(batch[0]), (len(batch[0]) - 1) // size, 0.0, []
        factor = self.processes.loss_factor(self.share)
        figures: dict[str, float] = dict.fromkeys(getattr(self.task, "figures", ()), 0.0)
        for input, target in shares(size, *batch):
            with autocast(self.device, self.half and not exact):
                result = self.task(input, target)
            share = result["loss"] if not last else result["loss"] * (len(input) / whole)
            self.fabric.backward(share * factor)
            loss += float(share.detach())
            outputs.append(result["output"])
            figures = {name: value + float(result[name]) * (len(input) / whole) for name, value in figures.items()}
        output = outputs[0] if not last else torch.cat(outputs)
        seen = getattr(self.task, "vitals", vitals)(output, batch[1])
        return {"loss": loss} | seen | figures

    def _leave_bf16(self, step: int, wrong: bool) -> None:
        """Go on in 32 bits for good when bfloat16 gave a ``wrong`` gradient; it is said after the step."""
        if wrong:
            self.hardware = self.hardware | {
                "precision": "32",
                "reason": f"32 bits: bfloat16 went wrong at step {step}",
            }
            self.said.append(f"bfloat16 gave a wrong gradient at step {step}: the step was repeated and the training "
                             "goes on in 32 bits")  # fmt: skip
