"""Scenes: generated rooms and scans read from files, their texts, and batches of them."""

from g2vlm_fast.data.answers import AnswerVocabulary
from g2vlm_fast.data.batches import RoomBatches, draw_texts, make_batch
from g2vlm_fast.data.collate import collate
from g2vlm_fast.data.language import queries
from g2vlm_fast.data.room_config import RoomConfig
from g2vlm_fast.data.rooms import generate_room, room_record, seeds_of, split_of
from g2vlm_fast.data.scene import Query, RoomObject, RoomTruth, Scene

__all__ = [
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
    "room_record",
    "seeds_of",
    "split_of",
]
