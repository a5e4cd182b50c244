"""Sub-volumes for classification: drawn by address about the middle of a case, every class as often as any other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.labelled import LabelledSampler, TargetSampling
from genesis3d.data.sampling import Location
from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.intensity import Scale
    from genesis3d.rng import Address
    from genesis3d.volume import Volume

__all__ = ["ClassifiedSampler"]


class ClassifiedSampler(LabelledSampler):
    """Draws sub-volumes of classified cases; the settings about structures and hard places do not apply.

    Parameters
    ----------
    targets : index of each case's class
    config, volumes, scales : as of a LabelledSampler
    """

    def __init__(
        self, config: TargetSampling, volumes: Sequence[Volume], scales: Sequence[Scale], targets: Sequence[int]
    ) -> None:
        if len(targets) != len(volumes):
            raise ConfigError(f"classified scans: expected a class for each of {len(volumes)}, got {len(targets)}")
        # One zero, seen from every voxel: cutting is that of labelled scans, and nothing is kept for it.
        nothing = [v.with_data(np.broadcast_to(np.uint8(0), (1, *v.geometry.shape))) for v in volumes]
        super().__init__(config, volumes, scales, nothing)
        self.targets = list(targets)
        present = sorted(set(self.targets))
        self._of_class = [[i for i, target in enumerate(self.targets) if target == k] for k in present]

    def locate(self, address: Address, hard: Sequence[Sequence[int]] = ()) -> Location:
        """Return the sub-volume at ``address``: of a class drawn as often as any, and of a case of it."""
        draw = (address / "case").generator()
        if self.config.balance == "classes":
            having = self._of_class[int(draw.integers(len(self._of_class)))]
            case = having[int(draw.integers(len(having)))]
        else:
            case = int(draw.integers(len(self.targets)))
        middle = np.array([n // 2 for n in self.volumes[case].geometry.shape])
        return self._around(case, middle, address)

    def middle(self, case: int) -> Location:
        """Return the sub-volume in the middle of ``case``: what is measured."""
        starts = [(n - size) // 2 for n, size in zip(self.volumes[case].geometry.shape, self.patch, strict=True)]
        return Location(case, (starts[0], starts[1], starts[2]))

    def target(self, location: Location, labels: Any) -> Any:
        """Return the class of the case, a tensor of one integer."""
        import torch

        return torch.tensor(self.targets[location.case])

    def counts(self) -> dict[int, int]:
        """Return the cases of each class by index."""
        return {k: self.targets.count(k) for k in sorted(set(self.targets))}

    def labels_at(self, location: Location, size: tuple[int, int, int] | None = None) -> NDArray[np.uint8]:
        """Return zeros: no voxel of a classified case has a label of its own."""
        return np.zeros((1, *(size or self.patch)), np.uint8)
