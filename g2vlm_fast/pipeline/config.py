"""What a run is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

_ABOUT_SCANS = ("intrinsics", "depth_scale", "mesh", "stride", "max_frames", "max_missing")


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
    voxel_size: float | None = None
    """Metres; None: what the sensor resolves and memory holds."""
    model_views: int = 4
    """Views that the model looks at, evenly spread."""

    def check(self) -> None:
        """Refuse values that no run can have, and options that this run would not look at.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        for name in ("depth_scale", "stride", "max_frames", "model_views", "voxel_size"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ConfigError(f"{_option(name)} must be positive and finite, got {value}")
        if not 0 <= self.max_missing <= 1:
            raise ConfigError(f"--max-missing must be a share (0 to 1), got {self.max_missing}")
        if self.out == Path():
            raise ConfigError("--out must be a folder of its own, got the current folder")
        if self.room_seed < 0:
            raise ConfigError(f"--room-seed must be 0 or larger, got {self.room_seed}")
        if any(not question.strip() for question in self.ask):
            raise ConfigError("--ask must be a question, got an empty text")
        self._check_used()

    def _check_used(self) -> None:
        given = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        if self.scan is not None and "room_seed" in given:
            raise ConfigError(
                "--room-seed chooses the room that is generated where no scan is given, but the "
                f"scan {self.scan} was: leave out one of them"
            )
        for name in _ABOUT_SCANS:
            if self.scan is None and name in given:
                option = _option(name)
                raise ConfigError(
                    f"{option} says how to read a scan, but none was given: name its folder, as "
                    f"in g2vlm-fast run SCAN {option} {getattr(self, name)}, or leave it out to "
                    "have a room generated"
                )


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
