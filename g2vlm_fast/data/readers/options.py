"""What the caller may say about a scan that its files do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from g2vlm_fast.data.readers.errors import ScanError


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How to read a scan."""

    intrinsics: Path | None = None
    """Text file with a 3x3 camera matrix, in pixels; None: the one inside the scan."""
    depth_scale: float | None = None
    """Depth units a metre; None: what the layout says, 1000 (millimetres) where it says nothing."""
    mesh: Path | None = None
    """Mesh of (a part of) the scene, in the frame of the poses; None: mesh.ply if there is one."""
    stride: int = 1
    """Keep every n-th frame."""
    max_frames: int = 300
    """Keep at most this many frames, chosen evenly."""
    max_missing: float = 0.5
    """Share of the frames that may lack an image or a pose; they are left out and counted."""
    plausible: bool = True
    """Refuse depth units and camera matrices that no scan has; False to find out what they are."""

    def __post_init__(self) -> None:
        for name in ("depth_scale", "stride", "max_frames"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"ReadOptions: {name} must be positive and finite, got {value}")
        if not 0 <= self.max_missing <= 1:
            raise ValueError(f"ReadOptions: max_missing must be a share, got {self.max_missing}")

    def check_files(self) -> None:
        """Refuse named files that are not there, before anything is read.

        Raises:
            ScanError: names the file and the option.
        """
        for option, path in {"--intrinsics": self.intrinsics, "--mesh": self.mesh}.items():
            if path is None or path.is_file():
                continue
            problem = "is a folder, not a file" if path.is_dir() else "does not exist"
            raise ScanError(path, problem, f"Name an existing file with {option}, or leave it out")
