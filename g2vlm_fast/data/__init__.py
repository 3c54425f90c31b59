"""Scenes: generated rooms and scans read from files, their texts, and batches of them."""

from g2vlm_fast.data.scene import Query, RoomObject, RoomTruth, Scene

__all__ = ["Query", "RoomObject", "RoomTruth", "Scene"]
