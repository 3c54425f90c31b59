"""What a run is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """One scan (or one generated room) in, everything about it out."""

    scan: Path | None = None
    """Folder of a scan; None: a generated room."""
    out: Path = Path("out")
    """Folder for the results; it appears when everything is done."""
    ask: tuple[str, ...] = ()
    """Questions about the scene."""
    checkpoint: Path | None = None
    """Folder of a trained model; None: the default one, trained now if there is none."""
    overwrite: bool = False
    """Replace what is at ``out``."""
    room_seed: int = 80
    """Which room to generate where no scan is given."""
    intrinsics: Path | None = None
    """Text file with the 3x3 camera matrix, for scans without one."""
    depth_scale: float = 1000.0
    """Depth units a metre."""
    mesh: Path | None = None
    """Mesh of a part of the scene, in the frame of the poses."""
    stride: int = 1
    """Read every n-th frame."""
    max_frames: int = 300
    """Read at most this many frames, evenly spread."""
    voxel_size: float | None = None
    """Metres; None: what the sensor resolves and memory holds."""
    model_views: int = 4
    """Views that the model looks at, evenly spread."""

    def __post_init__(self) -> None:
        if self.model_views < 1:
            raise ValueError(f"RunConfig: model_views must be at least 1, got {self.model_views}")
        if self.voxel_size is not None and not self.voxel_size > 0:
            raise ValueError(f"RunConfig: voxel_size must be positive, got {self.voxel_size}")
        if any(not question.strip() for question in self.ask):
            raise ValueError("RunConfig: ask holds an empty question")
