"""Scans in and out of files: the only user of SimpleITK and pydicom, which are imported when a file is touched."""

from genesis3d.io.read import list_series, read_volume
from genesis3d.io.segmentation import read_segmentation
from genesis3d.io.series import SeriesInfo
from genesis3d.io.write import write_volume

__all__ = ["SeriesInfo", "list_series", "read_segmentation", "read_volume", "write_volume"]
