"""Scenes on contact sheets, by the seed of a room or the folder of a scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room, queries
from g2vlm_fast.data.readers import ReadOptions, read_scan
from g2vlm_fast.files import replacing
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.contact_sheet import contact_sheet
from g2vlm_fast.pipeline.job import put_upright
from g2vlm_fast.report.pictures import save_png

_IMAGE_SIZE = (240, 320)
_VIEWS = 4
_FRAMES_OF_A_SCAN = 24


@dataclass(frozen=True, kw_only=True)
class ShowConfig:
    """What to draw, and where."""

    scene: str
    """Seed of a generated room, or folder of a scan."""
    out: Path = Path("sheet.png")
    """Picture to write, a PNG; an existing one is replaced."""
    image_size: tuple[int, int] = _IMAGE_SIZE
    """Height and width of a room's views in pixels."""

    def check(self) -> None:
        """Refuse values that nothing can be drawn with.

        Raises:
            ConfigError: names the option, what was expected and what came.
        """
        if self.out.suffix.lower() != ".png":
            raise ConfigError(f"--out must end in .png, got {self.out}")
        if min(self.image_size) < 24 or max(self.image_size) > 4096:
            raise ConfigError(f"--image-size must be 24 to 4096, got {self.image_size}")


def show(config: ShowConfig) -> Path:
    """Draw the contact sheet of a scene.

    Returns:
        The picture that was written.

    Raises:
        ConfigError: an option is out of range.
        ScanError: the scan cannot be read.
        ConventionError: its numbers mean something else than they were read as.
        OSError: the picture cannot be written.
    """
    config.check()
    scene, texts = load_scene(config.scene, config.image_size)
    sheet = contact_sheet(scene, texts)
    with replacing(config.out) as draft:
        save_png(draft, sheet)
    return config.out


def load_scene(name: str, image_size: tuple[int, int] = _IMAGE_SIZE) -> tuple[Scene, list[Query]]:
    """Make the room of a seed with its texts, or read a scan and put it upright.

    Args:
        name: digits are a seed, anything else is a folder (write ``./12`` for a folder "12").
        image_size: (height, width) of a room's views.
    """
    if name.isascii() and name.isdigit():
        room = RoomConfig(image_size=image_size, views=(_VIEWS, _VIEWS), depth_probability=1.0)
        scene = generate_room(int(name), room)
        return scene, queries(scene, int(name))
    scan = read_scan(Path(name), ReadOptions(max_frames=_FRAMES_OF_A_SCAN))
    if scan.depth is None:
        return scan, []
    upright, _, _ = put_upright(scan)
    return upright, []
