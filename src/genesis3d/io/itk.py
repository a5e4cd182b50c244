"""The only conversion between :class:`Volume` and ``SimpleITK.Image``, and the only place that knows x-y-z order.

ITK gives size, spacing and origin as (x, y, z) and world points as (L, P, S); reading all of them backwards gives
array order (D, H, W) and (S, P, L).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import SimpleITK as sitk

from genesis3d.errors import GeometryError, ScanError
from genesis3d.volume import Geometry, Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["geometry_from_itk", "image_from_volume", "quiet", "speaking", "volume_from_image"]

# ITK and GDCM print warnings on stderr; what matters of them is said in a volume's notes or an error.
sitk.ProcessObject.SetGlobalWarningDisplay(False)


@contextmanager
def speaking(what: str) -> Iterator[None]:
    """Turn an exception of SimpleITK, raised inside, into a ScanError of one sentence beginning with ``what``."""
    try:
        yield
    except RuntimeError as error:
        raise ScanError(f"{what}: {_cause(str(error))}") from error
    except MemoryError as error:
        raise ScanError(f"{what}: it does not fit into memory") from error


_QUIET = threading.Lock()


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what decoders in C print on stderr from the user: they raise as well, and the error says it."""
    with _QUIET:
        try:
            kept = os.dup(2)
        except OSError:
            yield
            return
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(nowhere)


def _cause(message: str) -> str:
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    line = next((text for text in reversed(lines) if not text.startswith("The file")), lines[-1] if lines else "")
    _, _, said = line.rpartition("): ")
    said = said or line or "unknown failure of the image library"
    if line.startswith("Reason:") or any(text in said for text in ("Unable to determine", "not recognized")):
        # what the library says of any file whose content it does not understand
        return "the file, or the data file it names, is missing, truncated, corrupt or not of this format"
    return said.rstrip(".")[:300]


def geometry_from_itk(
    size: Sequence[int], spacing: Sequence[float], origin: Sequence[float], direction: Sequence[float]
) -> Geometry:
    """Return the geometry of an ITK grid: ``size``, ``spacing``, ``origin`` in x, y, z, ``direction`` row by row.

    Raises
    ------
    GeometryError
        When the grid is not three-dimensional or not rigid.
    """
    if len(size) != 3:
        raise GeometryError(f"expected a three-dimensional grid, got {len(size)} dimensions")
    matrix = np.asarray(direction, dtype=np.float64).reshape(3, 3)[::-1, ::-1]
    return Geometry(
        shape=(int(size[2]), int(size[1]), int(size[0])),
        spacing=(float(spacing[2]), float(spacing[1]), float(spacing[0])),
        origin=(float(origin[2]), float(origin[1]), float(origin[0])),
        direction=tuple(tuple(float(v) for v in row) for row in matrix),  # type: ignore[arg-type]
    )


def volume_from_image(image: sitk.Image, **known: Any) -> Volume:
    """Return a three-dimensional ``image`` as a volume (data copied), with ``known`` fields of :class:`Volume`."""
    geometry = geometry_from_itk(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
    array = sitk.GetArrayFromImage(image)
    data = np.moveaxis(array, -1, 0) if array.ndim == 4 else array[None]
    return Volume(data=data, geometry=geometry, **known)


def image_from_volume(volume: Volume, dtype: Any = None) -> sitk.Image:
    """Return ``volume`` as an ITK image (data copied) on the same points in space, of ``dtype`` if given.

    Several channels become a vector image.
    """
    data: NDArray[Any] = volume.data if dtype is None else volume.data.astype(dtype, copy=False)
    vector = volume.channels > 1
    array = np.moveaxis(data, 0, -1) if vector else data[0]
    image = sitk.GetImageFromArray(np.ascontiguousarray(array), isVector=vector)
    geometry = volume.geometry
    image.SetSpacing(geometry.spacing[::-1])
    image.SetOrigin(geometry.origin[::-1])
    image.SetDirection(np.asarray(geometry.direction, dtype=np.float64)[::-1, ::-1].ravel().tolist())
    return image
