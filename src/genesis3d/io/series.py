"""What a path offers to open: one entry a series."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["SeriesInfo"]


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a DICOM folder or archive, or the one image of a file.

    Attributes
    ----------
    uid : series UID, the ``series=`` of ``read_volume``; empty for a file that is not DICOM
    description : series description, or the file's name
    modality : DICOM term (``CT``, ``MR``, ...), or None when unknown
    slices : number of slices
    shape : (D, H, W), voxels of one channel
    spacing : mm along D, H, W; None when the slices are no regular grid
    channels : volumes or components, of which ``channel=`` picks one
    problem : why it cannot be opened, one sentence; None when it can
    """

    uid: str
    description: str
    modality: str | None
    slices: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    channels: int = 1
    problem: str | None = None

    @property
    def voxels(self) -> int:
        """Number of voxels, all channels together."""
        depth, height, width = self.shape
        return self.channels * depth * height * width

    def label(self) -> str:
        """Return one line for a picker: ``Lung 2.5 mm, CT, 133 slices of 512 x 512, 0.70 x 0.70 x 2.50 mm``."""
        parts = [self.description or "series without description", self.modality or "unknown modality"]
        parts.append(f"{self.slices} slice{'s' * (self.slices != 1)} of {self.shape[2]} x {self.shape[1]}")
        if self.channels > 1:
            parts.append(f"{self.channels} channels")
        if self.spacing is not None:
            parts.append(" x ".join(f"{s:.2f}" for s in reversed(self.spacing)) + " mm")
        if self.problem:
            parts.append("cannot be opened")
        return ", ".join(parts)
