"""Turns by whole degrees, equal on every machine."""

from __future__ import annotations

import math

Matrix = tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]


def cosine_sine(degrees: int) -> tuple[float, float]:
    """Cosine and sine, rounded to 12 digits so that every mathematics library agrees."""
    angle = math.radians(degrees % 360)
    return round(math.cos(angle), 12), round(math.sin(angle), 12)


def rotation_of(yaw: int, tilt: int = 0) -> Matrix:
    """Rows of the rotation by ``tilt`` about x, then by ``yaw`` about z (degrees, right-handed)."""
    cosine, sine = cosine_sine(yaw)
    rise, lean = cosine_sine(tilt)
    return (
        (cosine, -sine * rise, sine * lean),
        (sine, cosine * rise, -cosine * lean),
        (0.0, lean, rise),
    )
