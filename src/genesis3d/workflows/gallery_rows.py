"""What models make of transformed sub-volumes of one scan, outcome by outcome: pictures of one, figures over many."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from genesis3d.config import Config
from genesis3d.data.sampling import Location, Sampler, SamplingConfig
from genesis3d.errors import ConfigError, ModelError
from genesis3d.events import Control, Stepped, keep_running
from genesis3d.inference.predictor import Precision, Predictor
from genesis3d.inference.waiting import told_to_stop
from genesis3d.training.pairs import PairMaker, Pairs
from genesis3d.transforms import Chain
from genesis3d.transforms.outcomes import chosen_outcomes
from genesis3d.workflows.restore import check_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from genesis3d.intensity import Scale
    from genesis3d.networks.model_file import LoadedModel
    from genesis3d.rng import Address
    from genesis3d.volume import Geometry, Orientation, Volume

__all__ = [
    "INPUT",
    "Frame",
    "GalleryReady",
    "GallerySettings",
    "Row",
    "Scores",
    "gallery_rows",
    "get_ready",
    "mean_scores",
]

INPUT = "transformed input"
Triple = tuple[int, int, int]


class GallerySettings(Config):
    """Which sub-volumes are transformed how, and what computes."""

    outcomes: tuple[str, ...] = Field((), description="outcomes by name, e.g. shuffling+outpainting; empty: all twelve")
    chain: Chain | None = Field(None, description="a chain to be drawn from, instead of the outcomes; empty: none")
    patch: Triple = Field((32, 64, 64), description="sub-volume (D, H, W) in voxels; the papers' 64x64x32")
    at: Triple | None = Field(
        None, description="voxel (D, H, W) in the middle of the sub-volume shown; empty: drawn by the seed"
    )
    windows: int = Field(1, ge=1, le=10_000, description="sub-volumes behind the figures; the first is shown")
    seed: int = Field(0, ge=0, lt=2**63, description="seed of places and transformations")
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda, cuda:1, ...")
    precision: Precision = Field("32", description="32, bf16 or 16; auto is 32 here, for figures one can compare")
    threads: int | None = Field(None, ge=1, le=256, description="CPU threads; empty: as many as there are cores")


@dataclass(frozen=True)
class Scores:
    """Means over sub-volumes: squared errors in [0, 1] of a model and of the best constant, PSNR in dB, SSIM."""

    mse: float
    constant: float
    psnr: float
    ssim: float

    @property
    def ratio(self) -> float:
        """The error over the best constant's: below 1 is better than a constant."""
        return self.mse / max(self.constant, 1e-12)


@dataclass(frozen=True, eq=False)
class Row:
    """One outcome.

    Attributes
    ----------
    name : of the outcome
    said : what happened to the sub-volume shown, with the hidden share
    target, input : the sub-volume shown, original and transformed, (C, D, H, W) float32 in [0, 1]
    restored : the same restored, by model
    start : its first voxel (D, H, W) in the canonical scan
    shown, scores : figures of the sub-volume shown, and over all sub-volumes, by model and :data:`INPUT`
    """

    name: str
    said: str
    target: NDArray[np.float32]
    input: NDArray[np.float32]
    restored: dict[str, NDArray[np.float32]]
    start: Triple
    shown: dict[str, Scores]
    scores: dict[str, Scores]


@dataclass(frozen=True)
class Frame:
    """What is needed to show rows without the scan: its canonical grid and how that was turned, unit, modality."""

    geometry: Geometry
    scale: Scale
    unit: str | None
    modality: str | None
    orientation: Orientation

    @property
    def width(self) -> float:
        """How much a difference of 1 is in the scan's unit; 1 where it has none."""
        return self.scale.width if self.unit else 1.0


@dataclass(frozen=True, eq=False)
class GalleryReady:
    """Everything decided before the first sub-volume; ``volume`` is canonical."""

    volume: Volume
    scale: Scale
    sampler: Sampler
    chains: dict[str, Chain]
    predictors: dict[str, Predictor]
    settings: GallerySettings
    warnings: tuple[str, ...]

    @property
    def frame(self) -> Frame:
        """What is needed to show the rows."""
        volume = self.volume
        return Frame(volume.geometry, self.scale, volume.unit, volume.modality, volume.orientation)

    @property
    def total(self) -> int:
        """Transformed sub-volumes that go through every model."""
        return len(self.chains) * self.settings.windows


class _Placed(Sampler):
    """A sampler whose first step is a place of the user's choice."""

    first: Location | None = None

    def locate(self, address: Address) -> Location:
        if self.first is not None and address.step == 0:
            return self.first
        return super().locate(address)


def get_ready(volume: Volume, models: Mapping[str, LoadedModel], settings: GallerySettings) -> GalleryReady:
    """Decide places, intensities and device for ``models`` by their labels on ``volume``.

    Raises
    ------
    ModelError, DomainError, ConfigError
        When models, scan and settings do not fit each other, or the models map intensities differently.
    """
    volume = volume.canonical()
    if not models:
        raise ConfigError("models: expected at least one, got none")
    warnings: dict[str, None] = {}
    for model in models.values():
        warnings |= dict.fromkeys(check_model(volume, model.card))
        if model.card.purpose == "opacity":
            raise ModelError(f"{model.card.title!r}: expected a model that undoes transformations, got one for opacity")
        model.card.network.check((volume.channels, *settings.patch))
    scales = {label: model.card.intensity.fit(volume) for label, model in models.items()}
    scale = next(iter(scales.values()))
    for label, other in scales.items():
        if other != scale:
            ours, theirs = (f"{s.low:g} to {s.high:g}" for s in (scale, other))
            raise ModelError(f"{label}: expected the intensities of {next(iter(scales))} ({ours}), got {theirs}")
    if settings.threads is not None:
        import torch

        torch.set_num_threads(settings.threads)
    precision: Precision = "32" if settings.precision == "auto" else settings.precision
    sampler = _Placed(SamplingConfig(patch=settings.patch), [volume], [scale])
    if settings.at is not None:
        sampler.first = Location(0, _start(settings.at, settings.patch, volume))
    return GalleryReady(
        volume,
        scale,
        sampler,
        {"chain": settings.chain} if settings.chain is not None else chosen_outcomes(settings.outcomes),
        {label: Predictor(model, settings.device, precision) for label, model in models.items()},
        settings,
        (*warnings, *sampler.warnings),
    )


def gallery_rows(ready: GalleryReady, control: Control = keep_running) -> Iterator[Stepped | Row]:
    """Yield progress after each transformed sub-volume and a :class:`Row` after each outcome; fewer when stopped."""
    began, done = time.monotonic(), 0
    for name, chain in ready.chains.items():
        maker = PairMaker(ready.sampler, chain, ready.settings.seed, 1, stream="gallery")
        first: tuple[Pairs, dict[str, NDArray[np.float32]]] | None = None
        found: list[dict[str, dict[str, float]]] = []
        for step in range(ready.settings.windows):
            if told_to_stop(control):
                return
            pairs = maker.pairs(step)
            restored = {label: predict(pairs.input.numpy()) for label, predict in ready.predictors.items()}
            first = first or (pairs, restored)
            found.append(_measured(pairs, restored))
            done += 1
            rate = done / max(time.monotonic() - began, 1e-6)
            yield Stepped(step=done, total=ready.total, rate=rate, seconds_left=(ready.total - done) / rate)
        if first is not None:
            yield _row(name, *first, found)


def mean_scores(rows: list[Row]) -> dict[str, Scores]:
    """Return the means over the outcomes, by model and :data:`INPUT`.

    The PSNR of an input that equals the original has no finite value and is left out of its mean.
    """
    return {label: _mean([row.scores[label] for row in rows]) for label in rows[0].scores}


def _start(at: Triple, patch: Triple, volume: Volume) -> Triple:
    """Return the first voxel of the sub-volume around ``at``, moved into the scan; padded where that is smaller."""
    shape = volume.geometry.shape
    if any(not 0 <= a < n for a, n in zip(at, shape, strict=True)):
        raise ConfigError(f"at: expected a voxel (D, H, W) inside {shape}, got {at}")
    free = [n - size for n, size in zip(shape, patch, strict=True)]
    d, h, w = (
        -(-room // 2) if room < 0 else min(max(0, a - size // 2), room)
        for a, size, room in zip(at, patch, free, strict=True)
    )
    return d, h, w


def _measured(pairs: Pairs, restored: Mapping[str, NDArray[np.float32]]) -> dict[str, dict[str, float]]:
    import torch

    from genesis3d.tasks.figures import case_figures

    outputs = {INPUT: pairs.input} | {label: torch.from_numpy(array) for label, array in restored.items()}
    figures = {label: case_figures(output, pairs.target) for label, output in outputs.items()}
    return {label: {name: float(value[0]) for name, value in each.items()} for label, each in figures.items()}


def _row(
    name: str,
    pairs: Pairs,
    restored: Mapping[str, NDArray[np.float32]],
    found: list[dict[str, dict[str, float]]],
) -> Row:
    return Row(
        name,
        pairs.outcomes[0],
        pairs.target[0].numpy(),
        pairs.input[0].numpy(),
        {label: array[0] for label, array in restored.items()},
        pairs.locations[0].start,
        {label: _scores([found[0][label]]) for label in found[0]},
        {label: _scores([each[label] for each in found]) for label in found[0]},
    )


def _scores(found: list[dict[str, float]]) -> Scores:
    return _mean([Scores(**each) for each in found])


def _mean(scores: list[Scores]) -> Scores:
    from genesis3d.tasks.similarity import MAX_PSNR

    mse, constant, ssim = (float(np.mean([getattr(s, name) for s in scores])) for name in ("mse", "constant", "ssim"))
    finite = [s.psnr for s in scores if s.psnr < MAX_PSNR]
    return Scores(mse, constant, float(np.mean(finite)) if finite else MAX_PSNR, ssim)
