"""What checking and preprocessing scans is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """How to read scans."""

    intrinsics: Path | None = None
    """Text file with the 3x3 camera matrix, for scans without one."""
    depth_scale: float | None = None
    """Depth units a metre; without one, what the layout of the scan says."""
    mesh: Path | None = None
    """Mesh of a part of the scene, in the frame of the poses."""
    stride: int = 1
    """Read every n-th frame."""
    max_frames: int = 300
    """Read at most this many frames, evenly spread."""
    max_missing: float = 0.5
    """Share of the frames that may lack an image or a pose; they are left out and counted."""


@dataclass(frozen=True, kw_only=True)
class CheckConfig(ScanOptions):
    """Which scan to check, and where to write it mended."""

    scan: Path
    """Folder of a scan."""
    fix: Path | None = None
    """Folder for the scan with everything mended that was found, upright, as preprocess writes."""
    overwrite: bool = False
    """Replace a scene that was written to --fix before."""


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig(ScanOptions):
    """Which scans to preprocess, and where to."""

    scans: tuple[Path, ...]
    """Folders of scans."""
    out: Path
    """Folder that gets one folder for each scan, by its name."""
    overwrite: bool = False
    """Replace scenes that were written there before."""
