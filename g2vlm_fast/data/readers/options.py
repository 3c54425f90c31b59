"""What the caller may say about a scan that its files do not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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
