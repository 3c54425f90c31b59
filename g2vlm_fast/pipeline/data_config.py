"""What the commands about scenes and data sets are asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from g2vlm_fast.pipeline.config import ConfigError

_SMALLEST_VIEW, _LARGEST_VIEW = 24, 4096  # pixels a side


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """Which scene."""

    scene: str
    """Seed of a generated room, or folder of a scan."""
    program: str = "any"
    """Program of a generated room: any, simple, bedroom, kitchen, office, flat, ..."""
    sentences: tuple[Path, ...] = ()
    """Files of ScanRefer, Nr3D, ScanQA, SQA3D, ...: what they say about the scan is shown, too."""


@dataclass(frozen=True, kw_only=True)
class ShowConfig(SceneConfig):
    """What to draw, and where."""

    out: Path = Path("sheet.png")
    """Picture to write, a PNG; an existing one is replaced."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width of a room's views in pixels."""

    def check(self) -> None:
        """Refuse values that nothing can be drawn with.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        if self.out.suffix.lower() != ".png":
            raise ConfigError(f"--out must end in .png, got {self.out}")
        if not self.out.resolve().parent.is_dir():
            raise ConfigError(f"--out {self.out}: its folder does not exist; make it first")
        check_image_size(self.image_size)


@dataclass(frozen=True, kw_only=True)
class ViewConfig(SceneConfig):
    """What to show, and where browsers find it."""

    host: str = "127.0.0.1"
    """Address to listen on; others than this machine's own let others look."""
    port: int = 8080
    """Port to listen on; where it is taken, the next free one."""
    open_browser: bool = True
    """Ask the system to open its browser there."""


@dataclass(frozen=True, kw_only=True)
class StatisticsConfig:
    """Whose texts to count, and how many rooms guessers learn from."""

    split: str = "validation"
    """Split of the rooms that are counted: train, validation, test, or one that changes them."""
    rooms: int = 60
    """How many are counted."""
    training_rooms: int = 120
    """Rooms of training that guessers, who see no scene, are fitted to."""

    def check(self) -> None:
        """Refuse what cannot be counted.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        for name, least in (("rooms", 2), ("training_rooms", 1)):
            if getattr(self, name) < least:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{option} must be at least {least}, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class WriteConfig:
    """Which rooms to write, and where."""

    out: Path
    """Folder of the shards; it must hold none yet."""
    split: str = "train"
    """Split of the rooms."""
    rooms: int = 1000
    """How many."""
    first_seed: int = 0
    """Seeds below this one are passed over."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width of the views in pixels."""
    rooms_per_shard: int = 64
    """How many rooms go into a file."""

    def check(self) -> None:
        """Refuse what cannot be written.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        if min(self.rooms, self.rooms_per_shard) < 1:
            raise ConfigError(
                "--rooms and --rooms-per-shard must be positive, got "
                f"{self.rooms} and {self.rooms_per_shard}"
            )
        if self.first_seed < 0:
            raise ConfigError(f"--first-seed must be 0 or larger, got {self.first_seed}")
        check_image_size(self.image_size)


def check_image_size(image_size: tuple[int, int]) -> None:
    """Refuse views that are too small to show anything, or larger than any camera's.

    Raises:
        ConfigError: with what came.
    """
    if min(image_size) < _SMALLEST_VIEW or max(image_size) > _LARGEST_VIEW:
        raise ConfigError(
            f"--image-size must be {_SMALLEST_VIEW} to {_LARGEST_VIEW}, got {image_size}"
        )
