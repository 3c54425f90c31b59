"""Scenes on contact sheets, by the seed of a room or the folder of a scan."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room, queries
from g2vlm_fast.data.annotations.sentence_files import join_sentences
from g2vlm_fast.data.language.texts import KINDS
from g2vlm_fast.data.readers import ReadOptions, read_scan
from g2vlm_fast.data.rooms.config import PROGRAMS
from g2vlm_fast.files import replacing
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.contact_sheet import contact_sheet
from g2vlm_fast.pipeline.data_config import SceneConfig, ShowConfig
from g2vlm_fast.pipeline.job import put_upright
from g2vlm_fast.report.pictures import save_png

_IMAGE_SIZE = (240, 320)
_VIEWS = (8, 8)  # of a room, so that it is seen whole
_FRAMES_OF_A_SCAN = 24


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
    scene, texts = load_scene(config, config.image_size)
    sheet = contact_sheet(scene, texts)
    with replacing(config.out) as draft:
        save_png(draft, sheet)
    return config.out


def load_scene(
    config: SceneConfig, image_size: tuple[int, int] = _IMAGE_SIZE
) -> tuple[Scene, list[Query]]:
    """Make the room of a seed with its texts, or read a scan and put it upright.

    Args:
        config: digits are a seed, anything else is a folder ("./12" for one that is called "12").
        image_size: (height, width) of a room's views.

    Raises:
        ConfigError: an unknown program, or sentences about a generated room.
        ScanError: the scan cannot be read.
        ConventionError: its numbers mean something else than they were read as.
    """
    programs = PROGRAMS if config.program == "any" else (config.program,)
    if not set(programs) <= {"simple", *PROGRAMS}:
        raise ConfigError(
            f"--program must be any, simple or one of {', '.join(PROGRAMS)}, got {config.program!r}"
        )
    if config.scene.isascii() and config.scene.isdigit():
        if config.sentences:
            raise ConfigError("--sentences are about scans; generated rooms have their own")
        room = RoomConfig(
            programs=programs, image_size=image_size, views=_VIEWS, depth_probability=1.0
        )
        seed = int(config.scene)
        scene = generate_room(seed, room)
        return scene, queries(scene, seed, kinds=KINDS, style="training")
    scan = read_scan(Path(config.scene), ReadOptions(max_frames=_FRAMES_OF_A_SCAN))
    if config.sentences:
        told = join_sentences(scan.annotations, scan.name, config.sentences)
        scan = dataclasses.replace(scan, annotations=told)
    if scan.depth is None:
        return scan, []
    upright, _, _ = put_upright(scan, Path(config.scene))
    return upright, []
