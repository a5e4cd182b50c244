"""Coarse noise in the lungs: an uneven density that is no disease, and that a restoration takes out (Kascenas 2022)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from genesis3d.errors import ConfigError
from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform
from genesis3d.transforms.opacity import Spacing

if TYPE_CHECKING:
    import torch

    from genesis3d.transforms.opacity_fields import Lungs, Vector

__all__ = ["CoarseNoise", "coarse_noise"]

Size = Annotated[float, Field(ge=1, le=100)]
Deviation = Annotated[float, Field(ge=0, le=1)]


@TRANSFORMS.register("coarse_noise")
class CoarseNoise(Transform):
    """Add one smooth random field inside the lungs, which are found in the sub-volume itself.

    Noise on a coarse grid, where voxelwise noise fails, is what a denoising network needs to find anomalies
    (Kascenas et al., MIDL 2022); how coarse and how strong are its two settings.
    """

    label: ClassVar[str] = "coarse noise"

    size_mm: tuple[Size, Size] = Field(
        (6.0, 24.0), title="size (mm)", description="distance over which the noise changes, in mm"
    )
    sigma: tuple[Deviation, Deviation] = Field((0.05, 0.15), description="standard deviation, of the range 0 to 1")
    spacing: tuple[Spacing, Spacing, Spacing] = Field(
        (2.5, 0.7, 0.7),
        title="voxel (mm, D H W)",
        description="size of a voxel (D, H, W), in mm, where a sub-volume is transformed by itself",
    )
    low: float = Field(-1000.0, ge=-2000, le=0, title="0 is (HU)", description="HU that the sub-volume's 0 stands for")
    high: float = Field(1000.0, ge=0, le=4000, title="1 is (HU)", description="HU that the sub-volume's 1 stands for")

    @model_validator(mode="after")
    def _ordered(self) -> CoarseNoise:
        for name in ("size_mm", "sigma"):
            first, second = getattr(self, name)
            if first > second:
                raise ValueError(f"{name}: expected the smaller number first, got {first:g} and {second:g}")
        return self

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return ``size`` in mm, ``sigma`` and the ``key`` of the field."""
        rng = address.generator()
        drawn = {"size": rng.uniform(*self.size_mm), "sigma": rng.uniform(*self.sigma), "key": rng.integers(0, 2**63)}
        return {key: np.asarray(value) for key, value in drawn.items()}

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        cases = (
            self._case(case.detach(), {key: array[i] for key, array in params.items()}) for i, case in enumerate(x)
        )
        return torch.stack(list(cases))

    def _case(self, x: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:
        from genesis3d.transforms.opacity_fields import Lungs

        return _noisy(x, Lungs.found(x[0], self.spacing, (self.low, self.high)), params)


def coarse_noise(
    x: NDArray[np.float32], lungs: NDArray[Any], spacing: Vector, settings: CoarseNoise,
    rng: np.random.Generator | Address,
) -> NDArray[np.float32]:  # fmt: skip
    """Return ``x`` (D, H, W) float32 in [0, 1] with coarse noise where ``lungs`` (0 or 1) are; clipped to [0, 1].

    ``spacing`` is mm along (D, H, W), in place of the settings' own; ``rng`` an address, of which the result is a
    function, or a generator that gives one.

    Raises
    ------
    ConfigError
        If ``x`` and ``lungs`` are not of one 3D shape.
    """
    import torch

    from genesis3d.transforms.opacity_fields import Lungs

    if x.ndim != 3 or x.shape != np.shape(lungs):
        raise ConfigError(
            f"coarse noise: expected x and lungs of one shape (D, H, W), got {x.shape}, {np.shape(lungs)}"
        )
    address = rng if isinstance(rng, Address) else Address(int(rng.integers(0, 2**63)))
    mask = torch.from_numpy(np.ascontiguousarray(lungs, np.float32)) > 0
    inside = Lungs(mask.float(), mask.float(), spacing)
    given = torch.from_numpy(np.ascontiguousarray(x, np.float32))
    d, h, w = x.shape
    return np.asarray(_noisy(given, inside, settings.sample((1, d, h, w), address)).numpy())


def _noisy(x: torch.Tensor, lungs: Lungs, params: dict[str, Any]) -> torch.Tensor:
    from genesis3d.transforms.opacity_fields import generator, smooth_field

    field = smooth_field(generator(int(params["key"])), lungs, float(params["size"]))
    return field.mul_(float(params["sigma"])).mul_(lungs.mask).add(x).clamp_(0, 1)
