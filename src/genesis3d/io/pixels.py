"""The stored values of DICOM pictures: plain ones straight from the file, all others through GDCM or pydicom.

Rescaling is done here and not by GDCM, whose result depends on the kind of object and which truncates the slices of a
series whose slopes differ.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from genesis3d.errors import ScanError
from genesis3d.io.headers import DicomFile
from genesis3d.io.limits import require_memory
from genesis3d.io.stack import Picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_pixels", "same_values"]

# implicit, explicit, deflated, big-endian: voxels without the fragments of a compressed stream
UNPACKED = {"", "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"}
SEQUENCE_END = b"\xfe\xff\xdd\xe0\x00\x00\x00\x00"


def read_pixels(pictures: Sequence[Picture], channel: int, what: str) -> NDArray[Any]:
    """Return the values (D, H, W) of ``pictures``, rescaled; ``channel`` picks one of several samples (colours).

    The smallest of int16, int32 and float32 that holds the values is taken where a rescale is whole or not; values
    without rescale keep their type.

    Raises
    ------
    ScanError
        When a picture cannot be decoded or the scan does not fit into memory; begins with ``what`` or the file.
    """
    file = pictures[0].file
    shape = (len(pictures), file.rows, file.columns)
    if file.bits not in (8, 16, 32):
        raise ScanError(f"{what}: expected 8, 16 or 32 bits per pixel, got {file.bits}")
    require_memory(int(np.prod(shape, dtype=object)) * file.bits // 8 * 2, what)
    stored = np.empty(shape, _stored_type(pictures))
    whole: dict[Path, NDArray[Any]] = {}
    for index, picture in enumerate(pictures):
        _fill(stored[index], picture, channel, whole)
    return _rescaled(stored, pictures)


def same_values(one: Picture, other: Picture) -> bool:
    """Return whether two pictures hold the same values."""
    first, second = (read_pixels([picture], 0, str(picture.file.path)) for picture in (one, other))
    return bool(np.array_equal(first, second))


def _stored_type(pictures: Sequence[Picture]) -> np.dtype[Any]:
    types = {f"{'i' if p.file.signed else 'u'}{p.file.bits // 8}" for p in pictures}
    return np.result_type(*sorted(types))


def _fill(target: NDArray[Any], picture: Picture, channel: int, whole: dict[Path, NDArray[Any]]) -> None:
    file, index = picture.file, picture.frame.index
    if file.samples == 1 and _plain(target, file, index):
        return
    if file.path not in whole:
        whole.clear()
        whole[file.path] = _decoded(file)
    frames = whole[file.path]
    if index >= len(frames) or frames[index].shape[:2] != target.shape:
        raise ScanError(f"{file.path}: expected pictures of {file.columns} x {file.rows} pixels as its header says")
    target[...] = frames[index][..., channel] if frames.ndim == 4 else frames[index]


def _plain(target: NDArray[Any], file: DicomFile, index: int) -> bool:
    """Fill ``target`` from a file whose voxels are neither compressed nor packed; False when they are."""
    own = np.dtype(f"<{'i' if file.signed else 'u'}{file.bits // 8}")
    if file.pixels is None or file.high_bit != file.bits_stored - 1 or target.dtype != own:
        return False
    start, length = file.pixels
    if (index + 1) * target.nbytes > length:
        raise ScanError(f"{file.path}: expected {file.columns} x {file.rows} pixels as its header says, got fewer")
    with file.path.open("rb") as handle:
        handle.seek(start + index * target.nbytes)
        if handle.readinto(target.data.cast("B")) != target.nbytes:
            raise ScanError(f"{file.path}: its voxels are truncated")
    if file.bits_stored == file.bits:
        return True
    # high bits may carry an overlay: then the decoder has to mask them
    low = -(1 << (file.bits_stored - 1)) if file.signed else 0
    return bool(int(target.min()) >= low and int(target.max()) < low + (1 << file.bits_stored))


def _decoded(file: DicomFile) -> NDArray[Any]:
    """Return all frames of ``file`` as stored values (N, H, W) or (N, H, W, samples)."""
    from pydicom.filereader import dcmread

    _require_whole(file)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            dataset = dcmread(file.path, force=True)
            # decoders raise almost anything on broken data
            for decode in (_by_gdcm, _by_pydicom):
                try:
                    return decode(dataset, file)
                except Exception:
                    continue
        except Exception as error:
            raise ScanError(f"{file.path}: cannot be read as DICOM ({type(error).__name__})") from error
    raise ScanError(f"{file.path}: its voxels cannot be decoded ({_coding(file.syntax)})")


def _require_whole(file: DicomFile) -> None:
    """Raise ScanError for a truncated file: decoders would fill the rest with zeros."""
    if file.pixels is not None:
        whole = sum(file.pixels) <= file.path.stat().st_size
    else:
        whole = file.syntax in UNPACKED or SEQUENCE_END in file.path.read_bytes()
    if not whole:
        raise ScanError(f"{file.path}: its voxels are truncated")


def _coding(syntax: str) -> str:
    from pydicom.uid import UID_dictionary

    return UID_dictionary[syntax][0] if syntax in UID_dictionary else "an unknown transfer syntax"


def _by_gdcm(dataset: Any, file: DicomFile) -> NDArray[Any]:
    """Decode through GDCM, from a copy that has no rescale left, so that stored values come back."""
    import SimpleITK as sitk
    from pydicom.dataset import Dataset, FileMetaDataset

    from genesis3d.io.itk import quiet

    bare = Dataset()
    for name in (
        "SOPInstanceUID", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation",
        "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData",
    ):  # fmt: skip
        if name in dataset:
            bare[name] = dataset[name]
    bare.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    bare.file_meta = FileMetaDataset()
    bare.file_meta.TransferSyntaxUID = file.syntax
    bare.file_meta.MediaStorageSOPClassUID = bare.SOPClassUID
    bare.file_meta.MediaStorageSOPInstanceUID = dataset.get("SOPInstanceUID", "1.2.3")
    with tempfile.TemporaryDirectory(prefix="genesis3d-") as folder:
        copy = Path(folder) / "copy.dcm"
        bare.save_as(copy, enforce_file_format=True)
        with quiet():
            image = sitk.ReadImage(str(copy), imageIO="GDCMImageIO")
    array: NDArray[Any] = sitk.GetArrayFromImage(image)
    samples = file.samples > 1
    return array if array.ndim == 3 + samples else array[None]


def _by_pydicom(dataset: Any, file: DicomFile) -> NDArray[Any]:
    array = np.asarray(dataset.pixel_array)
    samples = file.samples > 1
    return array if array.ndim == 3 + samples else array[None]


def _rescaled(stored: NDArray[Any], pictures: Sequence[Picture]) -> NDArray[Any]:
    slopes = np.array([p.frame.slope for p in pictures])
    intercepts = np.array([p.frame.intercept for p in pictures])
    if (slopes == 1).all() and (intercepts == 0).all():
        return stored
    if (slopes == 1).all() and (intercepts == intercepts[0]).all() and float(intercepts[0]).is_integer():
        return _shifted(stored, int(intercepts[0]))
    result = np.empty(stored.shape, np.float32)
    for index in range(len(stored)):
        result[index] = stored[index] * slopes[index] + intercepts[index]
    if np.array_equal(slopes, np.round(slopes)) and np.array_equal(intercepts, np.round(intercepts)):
        low, high = float(result.min()), float(result.max())
        if low >= -(2**15) and high < 2**15:
            return result.astype(np.int16)
    return result


def _shifted(stored: NDArray[Any], by: int) -> NDArray[Any]:
    low, high = int(stored.min()), int(stored.max())
    fits = all(-(2**15) <= value < 2**15 for value in (low, high, low + by, high + by))
    if not fits:
        return stored.astype(np.int32 if abs(high + by) < 2**31 else np.int64) + by
    # the same 16 bits hold the values before and after: no second copy
    result = stored.view(np.int16) if stored.dtype.itemsize == 2 else stored.astype(np.int16)
    result += np.int16(by)
    return result
