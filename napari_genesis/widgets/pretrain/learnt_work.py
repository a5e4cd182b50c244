"""What the gallery of the dock does behind the window: restoring the twelve outcomes, and drawing them into a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.events import Control, Finished, Saved, Started, Warned

if TYPE_CHECKING:
    from genesis3d.volume import Volume
    from genesis3d.workflows.gallery_rows import Frame, GallerySettings, Row

__all__ = ["Framed", "Work", "drawing", "grey", "layers_of", "restoring", "warm"]

Work = Callable[[Control], Iterator[Any]]


@dataclass(frozen=True)
class Framed:
    """The rows that follow lie in this frame."""

    frame: Frame


def restoring(volume: Volume, model: Path, label: str, settings: GallerySettings) -> Work:
    """Return the work of restoring every outcome; its events are a :class:`Framed`, then rows as they are done."""

    def work(control: Control) -> Iterator[Any]:
        from genesis3d.networks.model_file import read_model
        from genesis3d.workflows.gallery_rows import Row, gallery_rows, get_ready

        ready = get_ready(volume, {label: read_model(model)}, settings)
        predictor = ready.predictors[label]
        yield Started(what="gallery", total=ready.total, unit="outcome", device=str(predictor.device),
                      precision=predictor.precision)  # fmt: skip
        yield Framed(ready.frame)
        yield from (Warned(message=sentence) for sentence in ready.warnings)
        done = 0
        for item in gallery_rows(ready, control):
            done += isinstance(item, Row)
            yield item
        yield Finished(cancelled=done < len(ready.chains))

    return work


def drawing(frame: Frame, rows: list[Row], path: Path) -> Work:
    """Return the work of writing the picture that the command line writes."""

    def work(control: Control) -> Iterator[Any]:
        from genesis3d.files import write_atomic
        from genesis3d.workflows.gallery_picture import gallery_picture

        content = gallery_picture(frame, rows, path.suffix.lower())
        if control() == "stop":
            yield Finished(cancelled=True)
            return
        write_atomic(path, content)
        yield Saved(path=str(path), what="picture")
        yield Finished()

    return work


def layers_of(row: Row, label: str, frame: Frame, scan: str) -> list[tuple[Volume, bool]]:
    """Return the chosen row as volumes in the scan's own unit and place, each with whether it is the error."""
    from genesis3d.volume import Volume

    geometry = frame.geometry.cropped(row.start, row.target.shape[1:])
    parts = {"transformed": row.input, "restored": row.restored[label]}
    values = {name: frame.scale.from_unit(array) for name, array in parts.items()}
    values["error"] = np.abs(row.restored[label] - row.target) * np.float32(frame.width)
    return [
        (
            Volume(array, geometry, frame.modality, frame.unit, f"{scan} - {row.name}: {name}",
                   orientation=frame.orientation),
            name == "error",
        )
        for name, array in values.items()
    ]  # fmt: skip


def grey(plane: np.ndarray) -> np.ndarray:
    """Return a slice (H, W) in [0, 1] as colours (H, W, 3) uint8: grey."""
    return np.repeat(np.round(plane.clip(0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def warm(plane: np.ndarray, limit: float) -> np.ndarray:
    """Return errors (H, W), ``limit`` at the bright end, as colours (H, W, 3) uint8 of napari's map inferno."""
    from napari.utils.colormaps import ensure_colormap

    colours = ensure_colormap("inferno").map((plane / limit).clip(0, 1).ravel())
    return np.ascontiguousarray(np.round(colours[:, :3] * 255).astype(np.uint8).reshape(*plane.shape, 3))
