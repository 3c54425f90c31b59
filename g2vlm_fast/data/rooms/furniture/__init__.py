"""Furniture from boxes, cylinders and spheres, in whole millimetres.

A piece is drawn by :func:`make_furniture`; ``VARIANTS`` names the shapes of every class. The
frame of a piece and its dataclasses are described in :mod:`g2vlm_fast.data.rooms.furniture.pieces`.
"""

from g2vlm_fast.data.rooms.furniture.catalogue import VARIANTS, make_furniture, mount_of
from g2vlm_fast.data.rooms.furniture.pieces import ROLE_COLORS, Furniture, Mount, Part
from g2vlm_fast.data.rooms.furniture.simple import SMALL_CLASSES, make_simple_furniture
from g2vlm_fast.data.rooms.furniture.surfaces import Cavity, Surface

__all__ = [
    "ROLE_COLORS",
    "SMALL_CLASSES",
    "VARIANTS",
    "Cavity",
    "Furniture",
    "Mount",
    "Part",
    "Surface",
    "make_furniture",
    "make_simple_furniture",
    "mount_of",
]
