"""Readers of recorded scans: many layouts in, one :class:`~g2vlm_fast.data.scene.Scene` out."""

from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.options import ReadOptions
from g2vlm_fast.data.readers.registry import READERS, Reader
from g2vlm_fast.data.readers.scan import ReadScan, read_scan, read_scan_with_listing

__all__ = [
    "READERS",
    "FrameError",
    "ReadOptions",
    "ReadScan",
    "Reader",
    "ScanError",
    "read_scan",
    "read_scan_with_listing",
]
