"""What a transformation is: a configuration that draws small parameters and applies them, batched and pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from genesis3d.errors import ConfigError
from genesis3d.intensity import require_unit
from genesis3d.registry import Named, Registry
from genesis3d.rng import Address

if TYPE_CHECKING:
    import torch

__all__ = ["TRANSFORMS", "Params", "Shape", "Transform", "compiled", "plain_path", "select"]

Params = dict[str, NDArray[Any]]
Shape = tuple[int, int, int, int]

TRANSFORMS: Registry[Transform] = Registry(
    "transform",
    [
        f"genesis3d.transforms.{name}"
        for name in ("identity", "flip", "nonlinear", "shuffling", "painting", "opacity", "coarse_noise", "chain")
    ],
)

_COMPILED: ContextVar[bool] = ContextVar("compiled", default=True)


@contextmanager
def plain_path() -> Iterator[None]:
    """Within it, CPU tensors take the torch path of other devices instead of the compiled one (same bits, slower)."""
    token = _COMPILED.set(False)
    try:
        yield
    finally:
        _COMPILED.reset(token)


def compiled(x: torch.Tensor) -> bool:
    """Whether ``x`` goes through the compiled kernels: a CPU tensor outside :func:`plain_path`."""
    return x.device.type == "cpu" and _COMPILED.get()


class Transform(Named):
    """Base of every transformation of Models Genesis (section 2.2), and of a user's own.

    A subclass declares its fields and writes :meth:`sample` and ``_apply``.  Sub-volumes are ``(B, C, D, H, W)``
    float32 in [0, 1]; parameters are plain numpy arrays, the first axis of each being B, so that they can be shown,
    edited and stored.

    Attributes
    ----------
    label : what people call it
    spatial : whether it moves the anatomy, so that the restoration target must undergo it too
    """

    label: ClassVar[str] = ""
    spatial: ClassVar[bool] = False

    @model_validator(mode="before")
    @classmethod
    def _drop_own_name(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("name") == cls.name:
            return {key: value for key, value in values.items() if key != "name"}
        return values

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return the parameters of one case (no axis B) of ``shape`` (C, D, H, W), a function of ``address`` alone.

        Raises
        ------
        ConfigError
            If the settings do not fit ``shape``.
        """
        raise NotImplementedError

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        raise NotImplementedError

    def draw(self, shape: Shape, addresses: Sequence[Address]) -> Params:
        """Return :meth:`sample` of every address, stacked along a leading axis B."""
        cases = [self.sample(shape, address) for address in addresses]
        return {key: np.stack([case[key] for case in cases]) for key in cases[0]} if cases else {}

    def apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        """Return ``x`` (B, C, D, H, W), float32 in [0, 1], transformed; ``x`` is left as it is.

        Shape, dtype and device are kept, and a case gives the same bits alone and in a batch.  Where nothing
        changes, ``x`` itself may come back.

        Raises
        ------
        DomainError
            If an intensity lies outside [0, 1] or is not a number: nothing is ever clamped silently.
        ConfigError
            If ``x`` is not such a tensor or ``params`` are of another batch.
        """
        self._check(x, params)
        return self._apply(x, params) if x.numel() else x

    def pair(self, x: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ``(input, target)`` of restoration: the target undergoes only what moves the anatomy."""
        self._check(x, params)
        return self._pair(x, x, params) if x.numel() else (x, x)

    def outcome(self, params: Params, i: int) -> str:
        """Return what happened to case ``i`` of ``params``, in words."""
        return self.label or self.name

    def masked_fraction(self, params: Params) -> NDArray[np.float64]:
        """Return the hidden share of each case, (B,) in [0, 1]; zero for what hides nothing."""
        return np.zeros(max((len(array) for array in params.values()), default=0))

    def _pair(self, x: torch.Tensor, target: torch.Tensor, params: Params) -> tuple[torch.Tensor, torch.Tensor]:
        moved = self._apply(x, params)
        if not self.spatial:
            return moved, target
        return moved, (moved if target is x else self._apply(target, params))

    def _check(self, x: torch.Tensor, params: Params) -> None:
        import torch

        what = self.label or self.name
        if x.ndim != 5 or x.dtype != torch.float32:
            raise ConfigError(f"{what}: expected a float32 tensor (B, C, D, H, W), got {x.dtype} {tuple(x.shape)}")
        for key, array in params.items():
            if array.shape[:1] != (x.shape[0],):
                raise ConfigError(f"{what}: expected {key!r} for {x.shape[0]} cases, got an array {array.shape}")
        if x.numel():
            low, high = torch.aminmax(x.detach())
            require_unit(float(low), float(high), what)


def select(params: Params, cases: NDArray[Any] | int) -> Params:
    """Return the parameters of some ``cases`` (indices), or of one case without its axis B for an int."""
    return {key: array[cases] for key, array in params.items()}
