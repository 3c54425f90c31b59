"""Ways in which the files of a scan may be damaged, or made to do damage."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

IMAGES = (".png", ".jpg", ".pgm")
_TEXTS = (".txt", ".log", ".csv", ".traj", ".pincam", ".json")
_NUMBER = re.compile(rb"[-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?")
_WORDS = (
    "nan", "inf", "-inf", "1e30", "-1e30", "1e-30", "0", "-1", "65535", "9" * 20, "9" * 5000, "",
    "abc", "\0" * 300, "0x10", "1_000", "\u0663",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, -1, 0, 1e300, float("nan"), float("inf"), 2**70, True, "x", "nan", "../../etc/passwd",
    "/etc/passwd", [], {}, [[[]]], [1] * 5000,
)  # fmt: skip


class Opened(Exception):
    """Raised where a pickle is opened."""


class Trap:
    """Cannot be unpickled without being noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (_spring, ())


def _spring() -> None:
    raise Opened("a pickle was opened")


def damaged(path: Path, data: bytes, draws: random.Random) -> bytes:
    """Damage the content of a file in a way that fits its kind."""
    if path.suffix in IMAGES and draws.random() < 0.7:
        return draws.choice(hostile_images())
    if path.suffix == ".json" and draws.random() < 0.7:
        return _other_value(data, draws)
    if path.suffix in _TEXTS:
        return draws.choice((_other_number, _other_lines))(data, draws)
    return _other_bytes(data, draws)


def hostile_images() -> list[bytes]:
    """Files that stand where an image should, each of them wrong in its own way."""
    return [
        _huge_png(),
        _png(np.full((72, 96), 65535, np.uint16)),
        _png(np.zeros((72, 96), np.uint16)),
        _png(np.full((72, 96), 200, np.uint8)),
        _png(np.zeros((72, 96, 4), np.uint8)),
        _png(np.zeros((7, 9, 3), np.uint8)),
        _png(np.zeros((1, 1), np.uint16)),
        _png(np.full((72, 96), 900, np.uint16))[:-20],
        pickle.dumps(Trap()),
        b"",
    ]


def _png(pixels: np.ndarray) -> bytes:
    stored = io.BytesIO()
    Image.fromarray(pixels).save(stored, "PNG")
    return stored.getvalue()


def _huge_png() -> bytes:
    """A few bytes that declare 30000 x 30000 pixels of 16 bits."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30000, 30000, 16, 0, 0, 0, 0)
    parts = chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(1000))), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _other_number(data: bytes, draws: random.Random) -> bytes:
    found = list(_NUMBER.finditer(data))
    if not found:
        return b""
    at = draws.choice(found)
    return data[: at.start()] + draws.choice(_WORDS).encode() + data[at.end() :]


def _other_lines(data: bytes, draws: random.Random) -> bytes:
    lines = data.split(b"\n")
    place, other = (draws.randrange(len(lines)) for _ in range(2))
    kind = draws.randrange(5)
    if kind == 0:
        del lines[place]
    elif kind == 1:
        lines.insert(place, lines[other])
    elif kind == 2:
        lines[place] *= 3
    elif kind == 3:
        lines.insert(place, draws.choice((b"\xff\xfe\x00", b" " * 5000, b"nan nan nan", b"1 2 3")))
    else:
        del lines[place:]
    return b"\n".join(lines)


def _other_value(data: bytes, draws: random.Random) -> bytes:
    whole = json.loads(data)
    *before, last = draws.choice([place for place in _places(whole) if place])
    holder = whole
    for key in before:
        holder = holder[key]
    if draws.random() < 0.3:
        del holder[last]
    else:
        holder[last] = draws.choice(_VALUES)
    return json.dumps(whole).encode()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict):
        for key in value:
            yield from _places(value[key], (*place, key))
    elif isinstance(value, list):
        for index in range(min(len(value), 12)):
            yield from _places(value[index], (*place, index))


def _other_bytes(data: bytes, draws: random.Random) -> bytes:
    changed = bytearray(data or b"x")
    kind = draws.randrange(3)
    if kind == 0:
        return bytes(changed[: draws.randrange(len(changed))])
    if kind == 1:
        return bytes(changed) + draws.randbytes(draws.randrange(1, 2000))
    start = draws.randrange(max(1, min(len(changed) - 8, 400)))
    numbers = (2**63, 2**40, 2**64 - 1, 0x7FF8 << 48, 1 << 31)  # counts, NaN, -1
    changed[start : start + 8] = struct.pack("<Q", draws.choice(numbers))
    return bytes(changed)
