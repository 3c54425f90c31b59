"""Scenes: generated rooms and scans read from files, their texts, and batches of them."""

from g2vlm_fast.data.batches import RoomBatches, draw_texts, make_batch
from g2vlm_fast.data.collate import collate
from g2vlm_fast.data.language.answers import AnswerVocabulary
from g2vlm_fast.data.language.texts import queries
from g2vlm_fast.data.rooms.config import PROGRAMS, RoomConfig
from g2vlm_fast.data.rooms.generate import generate_room, room_record
from g2vlm_fast.data.rooms.splits import ROOM_SPLITS, room_config_of, seeds_of, split_of
from g2vlm_fast.data.scene import Query, RoomObject, RoomTruth, Scene

__all__ = [
    "PROGRAMS",
    "ROOM_SPLITS",
    "AnswerVocabulary",
    "Query",
    "RoomBatches",
    "RoomConfig",
    "RoomObject",
    "RoomTruth",
    "Scene",
    "collate",
    "draw_texts",
    "generate_room",
    "make_batch",
    "queries",
    "room_config_of",
    "room_record",
    "seeds_of",
    "split_of",
]
