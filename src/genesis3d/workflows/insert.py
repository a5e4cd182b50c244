"""Opacities put into a healthy scan, with their mask: a truth to measure anomaly maps by."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from genesis3d.data.inserted_settings import Insertion
from genesis3d.events import Event, Finished, Saved, Started, Warned

if TYPE_CHECKING:
    from genesis3d.volume import Volume

__all__ = ["InsertConfig", "insert"]


class InsertConfig(Insertion):
    """Opacities for one scan, written beside their mask."""

    scan: str = Field(description="CT in HU: DICOM folder, zip, NIfTI, NRRD or MetaImage")
    out: str = Field(description="file to write: the scan with opacities")
    mask_out: str = Field(description="file to write: their mask, 1 inside")
    lungs: str = Field("auto", description="auto (found in the CT) or a mask file on its grid, 1 left and 2 right")
    series: str | None = Field(None, description="series UID where a folder holds several; empty: the largest")
    seed: int = Field(0, ge=0, le=2**32 - 1, description="which of all possible opacities; equal seeds, equal scans")


def insert(config: InsertConfig) -> Iterator[Event]:
    """Write the scan with opacities and their mask, both on the scan's own grid.

    Raises
    ------
    ScanError, GeometryError, DomainError
        One sentence on the scan, the lungs, or regions that do not fit.
    """
    from genesis3d.data.inserted import inserted
    from genesis3d.io import read_volume, write_volume

    scan = read_volume(config.scan, series=config.series).canonical()
    yield Started(what="insert", total=1, unit="scan", device="cpu", precision="32")
    lungs, doubts = _lungs(scan, config.lungs)
    yield from (Warned(message=text) for text in (*scan.notes, *doubts))
    settings = Insertion(**{name: getattr(config, name) for name in Insertion.model_fields})
    changed, mask = inserted(scan, lungs, settings, config.seed)
    yield Saved(path=str(write_volume(changed, config.out)), what="scan with opacities")
    yield Saved(path=str(write_volume(mask, config.mask_out, labels=True)), what="mask of the opacities")
    inside = mask.data > 0
    yield Finished(
        result={
            "volume_ml": round(float(inside.sum()) * float(np.prod(scan.geometry.spacing)) / 1000, 3),
            "mean_change_hu": round(float((changed.data[inside].astype(np.float64) - scan.data[inside]).mean()), 1),
        }
    )


def _lungs(scan: Volume, lungs: str) -> tuple[Volume, tuple[str, ...]]:
    if lungs != "auto":
        from genesis3d.io import read_volume

        return read_volume(lungs), ()
    from genesis3d.io.itk_filters.lungs import lung_mask

    found = lung_mask(scan)
    return found.mask, found.warnings
