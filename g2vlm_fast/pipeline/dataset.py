"""Data sets of generated rooms: what their texts are like, and rooms kept in files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from g2vlm_fast.data import Query, RoomConfig, Scene, generate_room, queries
from g2vlm_fast.data.language.statistics import statistics_table
from g2vlm_fast.data.language.texts import KINDS
from g2vlm_fast.data.rooms.splits import ROOM_SPLITS, room_config_of, seeds_of, style_of
from g2vlm_fast.data.shards import write_shards
from g2vlm_fast.pipeline.config import ConfigError
from g2vlm_fast.pipeline.data_config import StatisticsConfig, WriteConfig

_SMALL_VIEWS = (48, 64)  # texts need no more
OnRoom = Callable[[float], None]
"""Is told the share of the rooms that are made."""


def text_statistics(config: StatisticsConfig, on_room: OnRoom | None = None) -> str:
    """Return a table of what the texts of a split ask, and how far guessing goes.

    Raises:
        ConfigError: an option is out of range.
    """
    config.check()
    _check_split(config.split)
    passed_over = config.training_rooms if config.split == "train" else 0
    seeds = seeds_of(config.split, config.rooms + passed_over)[passed_over:]
    wanted = {"training": seeds_of("train", config.training_rooms), "counted": seeds}
    total = config.training_rooms + config.rooms
    made: dict[str, list[tuple[Scene, list[Query]]]] = {}
    for name, split in (("training", "train"), ("counted", config.split)):
        made[name] = []
        style = style_of(split, room_config_of(split))
        for seed, scene in _rooms(split, wanted[name], _SMALL_VIEWS):
            texts = queries(scene, seed, kinds=KINDS, style=style)
            made[name].append((scene, texts))
            if on_room is not None:
                on_room(sum(map(len, made.values())) / total)
    return statistics_table(made["training"], made["counted"])


def write_rooms(config: WriteConfig, on_room: OnRoom | None = None) -> int:
    """Write the rooms of a split into shards, which :class:`g2vlm_fast.data.shards.Shards` reads.

    Returns:
        How many rooms were written.

    Raises:
        ConfigError: an option is out of range, or the folder holds shards.
        OSError: a file cannot be written.
    """
    config.check()
    _check_split(config.split)
    seeds = seeds_of(config.split, config.rooms, config.first_seed)

    def told() -> Iterator[Scene]:
        for number, (_, scene) in enumerate(_rooms(config.split, seeds, config.image_size), 1):
            yield scene
            if on_room is not None:
                on_room(number / len(seeds))

    try:
        return write_shards(config.out, told(), scenes_per_shard=config.rooms_per_shard)
    except ValueError as error:
        raise ConfigError(f"--out {config.out}: {error}") from error


def _rooms(
    split: str, seeds: list[int], image_size: tuple[int, int]
) -> Iterator[tuple[int, Scene]]:
    room: RoomConfig = replace(room_config_of(split), image_size=image_size)
    for seed in seeds:
        yield seed, generate_room(seed, room)


def _check_split(split: str) -> None:
    if split not in ROOM_SPLITS:
        raise ConfigError(f"--split must be one of {', '.join(ROOM_SPLITS)}, got {split!r}")
