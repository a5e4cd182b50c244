"""Scans and segmentations in and out of files: the only user of SimpleITK, pydicom and highdicom.

These are imported when a file is touched.
"""

from genesis3d.io.dicom_seg import write_dicom_seg
from genesis3d.io.read import list_series, read_volume
from genesis3d.io.segmentation import read_segmentation
from genesis3d.io.series import SeriesInfo
from genesis3d.io.write import write_volume

__all__ = ["SeriesInfo", "list_series", "read_segmentation", "read_volume", "write_dicom_seg", "write_volume"]
