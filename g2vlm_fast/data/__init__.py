"""Scenes: generated rooms and scans read from files, their texts, and batches of them."""

from g2vlm_fast.data.layout import RoomConfig
from g2vlm_fast.data.rooms import generate_room, room_record, seeds_of, split_of
from g2vlm_fast.data.scene import Query, RoomObject, RoomTruth, Scene

__all__ = [
    "Query",
    "RoomConfig",
    "RoomObject",
    "RoomTruth",
    "Scene",
    "generate_room",
    "room_record",
    "seeds_of",
    "split_of",
]
