"""What the preview shows, as values: a frozen frame decides the voxels, and resolving it is a pure function.

Pairs are made by the trainer's own :class:`~genesis3d.training.pairs.PairMaker`; only the place of the sub-volume is
pinned to the box instead of drawn.  Nothing here knows Qt or napari.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from pprint import pformat
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.data.sampling import Location, Sampler, SamplingConfig
from genesis3d.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.intensity import Scale
    from genesis3d.rng import Address
    from genesis3d.training.opacity_pairs import OpacityMaker
    from genesis3d.training.pairs import PairMaker, Pairs
    from genesis3d.transforms import Chain, Params
    from genesis3d.volume import Geometry, Volume

__all__ = ["LARGEST", "SMALLEST", "Frame", "Shown", "Triple", "centred", "clip_start", "drawn_curves",
           "python_snippet", "random_start", "read_chain", "resolve", "resolve_training",
           "shown", "size_text"]  # fmt: skip

Triple = tuple[int, int, int]
SMALLEST, LARGEST = 4, 512  # sides of a sub-volume, as SamplingConfig allows them


@dataclass(frozen=True, eq=False)
class Frame:
    """All that decides the voxels of a preview: box ``[start, start + size)`` of ``volume``, chain and address."""

    volume: Volume
    scale: Scale
    start: Triple
    size: Triple
    chain: Chain
    seed: int = 0
    step: int = 0
    slot: int = 0


@dataclass(frozen=True, eq=False)
class Shown:
    """What a frame resolves to.

    Attributes
    ----------
    original, transformed, difference : (D, H, W) float32 in the scan's own unit; original is the restoration target,
        which shares the flips of the transformed one
    pairs : the same in [0, 1], as the trainer gets them, bit for bit
    geometry : the grid of the box
    outcome : what the chain did, in words
    unit : HU, or nothing known
    """

    original: NDArray[np.float32]
    transformed: NDArray[np.float32]
    difference: NDArray[np.float32]
    pairs: Pairs
    geometry: Geometry
    outcome: str
    unit: str = ""

    @property
    def arrays(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Original, transformed and difference."""
        return self.original, self.transformed, self.difference


class _Pinned:
    """A sampler whose every address lies at one place; voxels are cut by the trainer's :class:`Sampler`."""

    def __init__(self, frame: Frame) -> None:
        config = SamplingConfig(patch=frame.size, rule="anywhere")
        self._sampler = Sampler(config, [frame.volume], [frame.scale])
        self._location = Location(0, frame.start)

    def locate(self, address: Address) -> Location:
        """Return the pinned place."""
        return self._location

    def cut(self, location: Location) -> NDArray[np.float32]:
        """Return the box (C, D, H, W) in [0, 1]."""
        return self._sampler.cut(location)


def resolve(frame: Frame) -> Shown:
    """Return what ``frame`` shows; raises ConfigError where a setting does not fit the size of the box."""
    from genesis3d.training.pairs import PairMaker

    maker = PairMaker(_Pinned(frame), frame.chain, frame.seed, batch=frame.slot + 1)  # type: ignore[arg-type]
    pairs = maker.pair(frame.step, frame.slot)
    return shown(pairs, frame.chain, frame.volume, frame.scale)


def resolve_training(maker: PairMaker | OpacityMaker, chain: Chain, seed: int, step: int, slot: int) -> Shown:
    """Return what a training with ``maker``'s sampler sees at ``seed``, ``step`` and ``slot`` under ``chain``.

    A training against opacity has no chain: what it puts into lungs is shown as it is.
    """
    from genesis3d.training.opacity_pairs import OpacityMaker
    from genesis3d.training.pairs import PairMaker

    if isinstance(maker, OpacityMaker):
        return _resolve_lungs(maker.of_seed(seed), step, slot)

    own = PairMaker(maker.sampler, chain, seed, maker.batch, stream=maker.stream)
    pairs = own.pair(step, slot)
    location = pairs.locations[0]
    return shown(pairs, chain, maker.sampler.volumes[location.case], maker.sampler.scales[location.case])


def _resolve_lungs(maker: OpacityMaker, step: int, slot: int) -> Shown:
    place, pairs = maker.place(step, slot), maker.pair(step, slot)
    scan = maker.sampler.scans[place.case]
    original, transformed = (scan.scale.from_unit(part[0, 0].numpy()) for part in (pairs.target, pairs.input))
    grid, unit = maker.sampler.geometry(place), scan.volume.unit or ""
    return Shown(original, transformed, transformed - original, pairs, grid, pairs.outcomes[0], unit)


def shown(pairs: Pairs, chain: Chain, volume: Volume, scale: Scale) -> Shown:
    """Return the first channel of the first of ``pairs``, which was cut from ``volume``, in the scan's own unit."""
    target, changed = pairs.target[0, 0].numpy(), pairs.input[0, 0].numpy()
    d, h, w = target.shape
    original, transformed = scale.from_unit(target), scale.from_unit(changed)
    location = pairs.locations[0]
    geometry = volume.geometry.cropped(location.start, (d, h, w))
    outcome = " + ".join([*_flips(chain, pairs.params), pairs.outcomes[0]])
    return Shown(original, transformed, transformed - original, pairs, geometry, outcome, volume.unit or "")


def drawn_curves(chain: Chain, params: Params) -> dict[int, tuple[Params, bool]]:
    """Return, by non-linear step, the parameters of its curve and whether it was applied, for the first case."""
    from genesis3d.transforms import NonLinear

    curves = {}
    for k, step in enumerate(chain.steps):
        for j, option in enumerate(step.options):
            if isinstance(option, NonLinear) and f"{k}/choice" in params:
                case = {key: array[0] for key, array in chain.part(params, k, j).items()}
                curves[k] = (case, bool(params[f"{k}/choice"][0] == j))
    return curves


def read_chain(path: str | Path) -> Chain:
    """Return the chain of a YAML file, or of a pre-training configuration (``config.json`` of a run) that has one.

    Raises
    ------
    ConfigError
        Naming the file, when it holds no chain.
    """
    import yaml

    from genesis3d.transforms import Chain, chain_preset

    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: expected a chain as YAML, got {' '.join(str(error).split())}") from error
    if isinstance(values, dict) and "steps" not in values and "chain" in values:
        values = values["chain"]
    if isinstance(values, str):
        return chain_preset(values)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a chain as YAML, got {type(values).__name__}")
    return Chain.parse(values, str(path))


def _flips(chain: Chain, params: Params) -> list[str]:
    """Say along which axes input and target are mirrored together."""
    flipped = np.zeros(3, dtype=bool)
    for k, step in enumerate(chain.steps):
        for j in range(len(step.options)):
            part = chain.part(params, k, j)
            if "flips" in part and params[f"{k}/choice"][0] == j:
                flipped ^= part["flips"][0]
    return [f"flip {', '.join(np.array(['D', 'H', 'W'])[flipped])}"] if flipped.any() else []


def clip_start(start: Any, size: Triple, shape: Triple) -> Triple:
    """Return the first voxel closest to ``start`` for which the box lies in a scan of ``shape`` (centred if larger)."""
    return _triple(
        -((n - limit) // 2) if n > limit else int(np.clip(round(float(s)), 0, limit - n))
        for s, n, limit in zip(start, size, shape, strict=True)
    )


def centred(size: Triple, shape: Triple) -> Triple:
    """Return the first voxel of the box in the middle of a scan of ``shape``."""
    return _triple((limit - n) // 2 for n, limit in zip(size, shape, strict=True))


def random_start(size: Triple, volume: Volume, scale: Scale, address: Address) -> Triple:
    """Return a place drawn by the default rule of training, which asks for some contrast and content."""
    config = SamplingConfig(patch=size)
    return Sampler(config, [volume], [scale]).locate(address).start


def size_text(size: Triple) -> str:
    """Return a size or position x by y by z, as people say it."""
    return " x ".join(str(n) for n in reversed(size))


def python_snippet(frame: Frame) -> str:
    """Return Python that makes the voxels of ``frame``: variables ``input``, ``target`` and ``outcome``.

    A scan that came from a file is read from it; any other is taken from napari's ``viewer``, as its console knows it.
    """
    volume = frame.volume
    if volume.source is None:
        load = "from napari_genesis.layers import volume_from_layer"
        scan = f"volume_from_layer(viewer.layers[{volume.name!r}])  # in napari's console"
    else:
        load = "from genesis3d.io import read_volume"
        series = f", series={volume.series!r}" if volume.series else ""
        scan = f"read_volume({volume.source!r}{series}).canonical()"
    settings = {key: value for key, value in frame.chain.to_dict().items() if key != "name"}
    chain = pformat(settings, width=110, sort_dicts=False)
    return _SNIPPET.format(
        load=load, scan=scan, scale=frame.scale, start=frame.start, size=frame.size, chain=chain,
        seed=frame.seed, step=frame.step, slot=frame.slot,
    )  # fmt: skip


_SNIPPET = """\
import torch

from genesis3d.data.sampling import Location, Sampler, SamplingConfig
from genesis3d.errors import ConfigError
from genesis3d.intensity import Scale
{load}
from genesis3d.rng import Address
from genesis3d.transforms import Chain

volume = {scan}
sampler = Sampler(SamplingConfig(patch={size!r}), [volume], [{scale!r}])  # size (D, H, W); values that map to 0 and 1
original = torch.from_numpy(sampler.cut(Location(0, {start!r})))[None]  # first voxel (d, h, w)
chain = Chain.parse(
{chain}
)
params = chain.draw(tuple(original.shape[1:]), [Address({seed}, {step}, {slot}, "training") / "chain"])
input, target = chain.pair(original, params)  # (1, C, D, H, W), in [0, 1]
outcome = chain.outcome(params, 0)
print(outcome)
"""


def _triple(values: Any) -> Triple:
    d, h, w = (int(v) for v in values)
    return d, h, w
