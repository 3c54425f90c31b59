"""ScanNet's ``.sens`` container: all frames of a scan in one file, decoded one by one.

Source: Dai et al., *ScanNet: Richly-annotated 3D Reconstructions of Indoor Scenes*, CVPR 2017,
and the description of the format in its repository (SensReader).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.calibration import rigid_pose
from g2vlm_fast.data.readers.errors import FrameError, ScanError
from g2vlm_fast.data.readers.images import (
    MOST_PIXELS,
    as_color,
    as_depth,
    decode_image,
    image_size,
)
from g2vlm_fast.data.readers.lens import Camera
from g2vlm_fast.data.readers.listing import Frame

VERSION = 4
_FRAME_HEADER = struct.Struct("<16f4Q")
_COLOR_CODES = {1: "png", 2: "jpeg"}
_DEPTH_CODES = {0: "raw", 1: "zlib"}
_COPY = "Copy the file again"


@dataclass(frozen=True, eq=False)
class SensFile:
    """The header of a container and where its frames lie."""

    color_camera: Camera
    depth_camera: Camera
    units_per_metre: float
    frames: list[Frame]
    skipped: list[FrameError]


@dataclass(frozen=True)
class _Part:
    """Bytes of a container."""

    path: Path
    start: int
    length: int

    def content(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length)


@dataclass(frozen=True)
class _Color(_Part):
    def size(self) -> tuple[int, int]:
        return image_size(self.path, self.content())

    def read(self) -> NDArray[np.uint8]:
        return as_color(self.path, decode_image(self.path, self.content()))


@dataclass(frozen=True)
class _Depth(_Part):
    compressed: bool
    shape: tuple[int, int]

    def read(self, units_per_metre: float) -> NDArray[np.float32]:
        expected = 2 * self.shape[0] * self.shape[1]
        content = self.content()
        if self.compressed:
            content = self._inflate(content, expected)
        if len(content) != expected:
            raise self._damaged(f"holds {len(content):,} bytes instead of {expected:,}")
        raw = np.frombuffer(content, dtype="<u2").reshape(self.shape)
        return as_depth(self.path, raw, units_per_metre)

    def _inflate(self, content: bytes, expected: int) -> bytes:
        """Decompress no more than an image has: what expands further is no depth image."""
        inflater = zlib.decompressobj()
        try:
            inflated = inflater.decompress(content, expected + 1)
        except zlib.error as error:
            raise self._damaged(f"cannot be decompressed ({error})") from error
        return inflated

    def _damaged(self, problem: str) -> FrameError:
        return FrameError(
            self.path, f"the depth image at byte {self.start:,} {problem}", _COPY,
            reason="with a damaged image",
        )  # fmt: skip


def read_sens(path: Path) -> SensFile:
    """Read the header of a container and find its frames; no image is decoded.

    Raises:
        ScanError: cut off, of another version, or compressed in a way that is not known.
    """
    try:
        with path.open("rb") as file:
            return _read(path, file, path.stat().st_size)
    except OSError as error:
        raise ScanError(path, f"cannot be read ({error.strerror})", "Grant permission") from error


def _read(path: Path, file: BinaryIO, size: int) -> SensFile:
    def take(layout: str) -> tuple:
        content = file.read(struct.calcsize(f"<{layout}"))
        if len(content) < struct.calcsize(f"<{layout}"):
            raise ScanError(path, "is cut off in its header", _COPY)
        return struct.unpack(f"<{layout}", content)

    version, name_length = take("IQ")
    if version != VERSION:
        raise ScanError(path, f"is of version {version}, not {VERSION}", "Convert it")
    if name_length > 4096:
        raise ScanError(path, f"declares a name of {name_length:,} bytes", _COPY)
    take(f"{name_length}s")
    matrices = np.array(take("64f"), dtype=np.float64).reshape(4, 4, 4)
    color_code, depth_code = take("ii")
    color_width, color_height, depth_width, depth_height = take("4I")
    (depth_shift,) = take("f")
    (count,) = take("Q")
    if color_code not in _COLOR_CODES or depth_code not in _DEPTH_CODES:
        raise ScanError(
            path,
            f"is compressed by codes {color_code} (colour) and {depth_code} (depth); known are "
            f"{_COLOR_CODES} and {_DEPTH_CODES}",
            "Export its frames to folders with the tools of ScanNet",
        )
    if not (0 < depth_width * depth_height <= MOST_PIXELS and 0 < depth_shift < 1e9):
        raise ScanError(
            path,
            f"declares depth of {depth_width}x{depth_height} at {depth_shift:g} a metre",
            _COPY,
        )
    if count * _FRAME_HEADER.size > size:
        raise ScanError(path, f"is cut off: it declares {count:,} frames", _COPY)
    shape = (depth_height, depth_width)
    frames, skipped = [], []
    for index in range(count):
        try:
            frames.append(_frame(path, file, size, index, depth_code == 1, shape))
        except FrameError as error:
            skipped.append(error)
    return SensFile(
        _camera(path, matrices[0], (color_height, color_width)),
        _camera(path, matrices[2], shape),
        depth_shift,
        frames,
        skipped,
    )


def _frame(
    path: Path, file: BinaryIO, size: int, index: int, compressed: bool, shape: tuple[int, int]
) -> Frame:
    header = file.read(_FRAME_HEADER.size)
    if len(header) < _FRAME_HEADER.size:
        raise ScanError(path, f"is cut off at frame {index}", _COPY)
    *pose, color_time, _, color_bytes, depth_bytes = _FRAME_HEADER.unpack(header)
    start = file.tell()
    if start + color_bytes + depth_bytes > size:
        raise ScanError(path, f"is cut off at frame {index}", _COPY)
    file.seek(start + color_bytes + depth_bytes)
    matrix = rigid_pose(path, f"the pose of frame {index}", np.array(pose).reshape(4, 4))
    color = _Color(path, start, color_bytes)
    depth = _Depth(path, start + color_bytes, depth_bytes, compressed, shape)
    return Frame(color, depth, matrix, time=color_time / 1e6)


def _camera(path: Path, matrix: NDArray[np.float64], size: tuple[int, int]) -> Camera:
    pinhole = matrix[:3, :3]
    if not (np.isfinite(pinhole).all() and pinhole[0, 0] > 0 and pinhole[1, 1] > 0):
        raise ScanError(path, "its camera matrix has no positive focal length", _COPY)
    if abs(pinhole[[1, 2, 2], [0, 0, 1]]).max() > 1e-6 or min(size) < 1:
        raise ScanError(path, f"is no pinhole camera of {size[1]}x{size[0]} images", _COPY)
    return Camera(pinhole, size, None, path)
