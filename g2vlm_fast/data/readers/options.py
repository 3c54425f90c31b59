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
    depth_scale: float = 1000.0
    """Depth units a metre: 1000 for millimetres, 5000 for TUM RGB-D."""
    mesh: Path | None = None
    """Mesh of (a part of) the scene, in the frame of the poses; None: mesh.ply if there is one."""
    stride: int = 1
    """Keep every n-th frame."""
    max_frames: int = 300
    """Keep at most this many frames, chosen evenly."""

    def __post_init__(self) -> None:
        for name in ("depth_scale", "stride", "max_frames"):
            if not getattr(self, name) > 0:
                raise ValueError(f"ReadOptions: {name} must be positive, got {getattr(self, name)}")

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
