"""Segmentation: a model over a scan in memory, or over folders of scans into files.  The API of CLI and docks.

>>> for event in segment(SegmentConfig(scans=("scans",), model="model.safetensors", out_dir="labels")):
...     print(event.to_json())
"""

from genesis3d.inference.canvas import Canvas
from genesis3d.workflows.segment_batch import segment
from genesis3d.workflows.segment_files import write_segmentation
from genesis3d.workflows.segment_one import Segmentation, segment_volume
from genesis3d.workflows.segment_settings import QUALITIES, SegmentConfig, SegmentSettings

__all__ = ["QUALITIES", "Canvas", "SegmentConfig", "SegmentSettings", "Segmentation", "segment", "segment_volume",
           "write_segmentation"]  # fmt: skip
