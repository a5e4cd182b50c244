"""Settings of a segmentation: what a quality means, and what of it can be set on its own."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from genesis3d.config import Config

__all__ = ["FORMATS", "QUALITIES", "Precision", "Quality", "SegmentConfig", "SegmentSettings"]

Precision = Literal["auto", "32", "bf16", "16"]
Quality = Literal["fast", "balanced", "best"]
Format = Literal[".nii.gz", ".nrrd", ".mha", ".seg.nrrd", "dicom", ".zarr"]
FORMATS: tuple[Format, ...] = (".nii.gz", ".nrrd", ".mha", ".seg.nrrd", "dicom", ".zarr")


class Means(NamedTuple):
    """What a quality stands for: the share of a window computed again by the next, and the mirrored axes."""

    overlap: float
    mirror: str


QUALITIES: dict[Quality, Means] = {
    "fast": Means(0.125, "none"),
    "balanced": Means(0.25, "none"),
    "best": Means(0.5, "dhw"),
}


class SegmentSettings(Config):
    """How a segmentation model is applied to a scan."""

    quality: Quality = Field(
        "balanced",
        description="fast: windows share an eighth; balanced: a quarter; best: half, and the mean over mirror images",
    )
    overlap: float | None = Field(
        None, ge=0, le=0.9, description="share of a window that the next one covers again; empty: by the quality"
    )
    mirror: str | None = Field(
        None,
        pattern="^(none|d?h?w?)$",
        description="axes along which mirror images are averaged: none, or some of d, h, w; empty: by the quality",
    )
    window: tuple[int, int, int] | None = Field(
        None, description="window (D, H, W) in voxels; empty: as large as is fast, at least that of the training"
    )
    batch: int | None = Field(
        None, ge=1, le=64, description="windows that go through the network together; empty: 1 on a CPU, 2 on a GPU"
    )
    device: str = Field("auto", description="auto (a GPU where there is one), cpu, cuda, cuda:1, ...")
    precision: Precision = Field(
        "auto", description="auto: half precision where it is faster and agrees; or 32, bf16, 16"
    )
    threads: int | None = Field(None, ge=1, le=256, description="CPU threads; empty: as many as there are cores")
    skip_air: bool = Field(True, description="leave the air around the patient out, in CT and where a scan is empty")
    largest: bool = Field(
        False, title="only the largest part", description="keep only the largest connected part of each class"
    )
    fill: bool = Field(False, title="fill holes", description="fill the holes that a class encloses on all sides")
    probabilities: bool = Field(False, description="also give the probability of each class")
    entropy: bool = Field(
        False, title="uncertainty", description="also give the uncertainty: 0 sure, 1 all classes alike"
    )

    def means(self) -> Means:
        """Return overlap and mirrored axes (letters of d, h, w, or none), the quality's where not set."""
        usual = QUALITIES[self.quality]
        overlap = usual.overlap if self.overlap is None else self.overlap
        return Means(overlap, usual.mirror if self.mirror is None else self.mirror)


class SegmentConfig(SegmentSettings):
    """A segmentation of scans into one folder."""

    scans: tuple[str, ...] = Field(min_length=1, description="scans, DICOM folders, zips, or folders of these")
    model: str = Field(description="run directory, .safetensors model file or name of a model of the library")
    out_dir: str = Field(description="folder for the results, made if need be")
    format: Format = Field(
        ".nii.gz",
        description="of the labels: .nii.gz, .nrrd, .mha, .seg.nrrd, dicom (SEG), or .zarr, which grows on disk",
    )
    mask: str | None = Field(None, description="only inside this mask, a file on the scan's grid (one scan)")
    box: tuple[tuple[int, int, int], tuple[int, int, int]] | None = Field(
        None, description="only inside this box: first voxel and end (D, H, W) on axes closest to S, P, L"
    )
    channels: tuple[str, ...] = Field(
        (), description="ends of names of registered files that are channels of a case: _0000, _0001"
    )
    overwrite: bool = Field(False, description="compute again what was made with other settings or another model")

    @field_validator("scans", mode="before")
    @classmethod
    def _as_tuple(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value
