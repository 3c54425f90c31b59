"""What a run is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path


class ConfigError(ValueError):
    """A run was asked for with impossible options."""


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

    def check(self) -> None:
        """Refuse values that no run can have.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        for name in ("depth_scale", "stride", "max_frames", "model_views", "voxel_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                option = "--" + name.replace("_", "-")
                raise ConfigError(f"{option} must be positive and finite, got {value}")
        if self.out == Path():
            raise ConfigError("--out must be a folder of its own, got the current folder")
        if self.room_seed < 0:
            raise ConfigError(f"--room-seed must be 0 or larger, got {self.room_seed}")
        if any(not question.strip() for question in self.ask):
            raise ConfigError("--ask must be a question, got an empty text")
