"""Readers of recorded scans: many layouts in, one :class:`~g2vlm_fast.data.scene.Scene` out."""

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.options import ReadOptions
from g2vlm_fast.data.readers.registry import READERS, Reader, read_scan

__all__ = ["READERS", "ReadOptions", "Reader", "ScanError", "read_scan"]
