"""Synthetic opacities in the lungs: ground glass, consolidation, reticulation and nodules, lung-wide or not.

What a network that is trained to take them out again leaves of a scan shows where a lung is ill (docs/anomaly.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from genesis3d.rng import Address
from genesis3d.transforms.base import TRANSFORMS, Params, Shape, Transform

if TYPE_CHECKING:
    import torch

__all__ = ["PATTERNS", "Opacity"]

PATTERNS = ("ground glass", "consolidation", "reticulation", "nodular")

Share = Annotated[float, Field(ge=0, le=1)]
Length = Annotated[float, Field(ge=0.2, le=100)]
Number = Annotated[int, Field(ge=1, le=100)]
Hounsfield = Annotated[float, Field(ge=-400, le=200)]
Spacing = Annotated[float, Field(ge=0.1, le=20)]


@TRANSFORMS.register("opacity")
class Opacity(Transform):
    """Brighten the lungs by opacities of random complex shape with smoothed edges; nothing changes outside them.

    Random shapes and soft edges keep a network from looking for the seam (Naval Marimont and Tarroni 2023, which won
    MOOD 2022).  The lungs are found in the sub-volume itself: dark, in the plane of the slices.
    """

    label: ClassVar[str] = "opacity"

    ground_glass: float = Field(0.45, ge=0, le=1, description="weight of hazy opacities through which vessels show")
    consolidation: float = Field(0.25, ge=0, le=1, description="weight of dense opacities")
    reticulation: float = Field(0.15, ge=0, le=1, description="weight of nets of thickened septa on a faint haze")
    nodular: float = Field(0.15, ge=0, le=1, description="weight of groups of small nodules")
    most: int = Field(
        6, ge=1, le=12, title="most opacities", description="most opacities of one sub-volume; there is at least one"
    )
    wide: float = Field(
        0.2, ge=0, le=1, title="lung-wide", description="share of the sub-volumes with one that is lung-wide"
    )
    extent: tuple[Share, Share] = Field(
        (0.3, 1.0), title="lung-wide extent", description="share of the lung that a lung-wide one covers"
    )
    radius_mm: tuple[Length, Length] = Field(
        (5.0, 38.0), title="radius (mm)", description="radius of the others, in mm, evenly on a log scale"
    )
    pleural: float = Field(0.55, ge=0, le=1, title="near the pleura", description="share that begins near the pleura")
    edge_mm: tuple[Length, Length] = Field(
        (2.0, 6.0), title="edges (mm)", description="width of the edges, in mm; doubled for a quarter"
    )
    faint: tuple[Share, Share] = Field(
        (0.12, 0.45), title="ground glass strength", description="strength of ground glass: 0 lung, 1 soft tissue"
    )
    dense: tuple[Share, Share] = Field(
        (0.45, 1.0), title="consolidation strength", description="strength of consolidation: 0 lung, 1 soft tissue"
    )
    tissue_hu: tuple[Hounsfield, Hounsfield] = Field(
        (-30.0, 60.0), title="tissue (HU)", description="HU of a fully dense opacity"
    )
    period_mm: tuple[Length, Length] = Field(
        (6.0, 12.0), title="septa apart (mm)", description="distance of the septa of a reticulation, in mm"
    )
    septum_mm: tuple[Length, Length] = Field(
        (0.8, 1.8), title="septa thick (mm)", description="thickness of these septa, in mm"
    )
    nodule_mm: tuple[Length, Length] = Field(
        (3.0, 8.0), title="nodule radius (mm)", description="radius of a nodule, in mm"
    )
    nodules: tuple[Number, Number] = Field((5, 40), title="nodules a group", description="number of nodules of a group")
    spacing: tuple[Spacing, Spacing, Spacing] = Field(
        (2.5, 0.7, 0.7),
        title="voxel (mm, D H W)",
        description="size of a voxel (D, H, W), in mm, where a sub-volume is transformed by itself",
    )
    low: float = Field(-1000.0, ge=-2000, le=0, title="0 is (HU)", description="HU that the sub-volume's 0 stands for")
    high: float = Field(1000.0, ge=0, le=4000, title="1 is (HU)", description="HU that the sub-volume's 1 stands for")

    @model_validator(mode="after")
    def _ordered(self) -> Opacity:
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if isinstance(field.default, tuple) and len(value) == 2 and value[0] > value[1]:
                raise ValueError(f"{name}: expected the smaller number first, got {value[0]:g} and {value[1]:g}")
        if not sum(self.weights) > 0:
            raise ValueError("expected a weight above 0 for one pattern at least")
        return self

    @property
    def weights(self) -> tuple[float, ...]:
        """The weights of :data:`PATTERNS`, in that order."""
        return self.ground_glass, self.consolidation, self.reticulation, self.nodular

    def sample(self, shape: Shape, address: Address) -> Params:
        """Return shapes, strengths and textures of up to ``most`` opacities, the first axis of each being theirs."""
        from genesis3d.transforms.opacity_draws import draw_opacities

        return draw_opacities(self, address)

    def outcome(self, params: Params, i: int) -> str:
        """Return the patterns of case ``i``: ``opacity (ground glass, 2 nodular, lung-wide reticulation)``."""
        counts: dict[str, int] = {}
        for k in range(int(params["count"][i])):
            name = ("lung-wide " if params["wide"][i, k] else "") + PATTERNS[int(params["pattern"][i, k])]
            counts[name] = counts.get(name, 0) + 1
        said = ", ".join(name if n == 1 else f"{n} {name}" for name, n in counts.items())
        return f"{self.label} ({said})"

    def _apply(self, x: torch.Tensor, params: Params) -> torch.Tensor:
        import torch

        return torch.stack([self._case(x[i], {key: array[i] for key, array in params.items()}) for i in range(len(x))])

    def _case(self, x: torch.Tensor, params: dict[str, Any]) -> torch.Tensor:
        """Return one case (C, D, H, W), all channels changed where the first one shows lung."""
        import torch

        from genesis3d.transforms.opacities import render
        from genesis3d.transforms.opacity_fields import Lungs

        window = (self.low, self.high)
        lungs = Lungs.found(x[0].detach(), self.spacing, window)
        return torch.stack([render(channel.detach(), lungs, params, window)[0] for channel in x])
