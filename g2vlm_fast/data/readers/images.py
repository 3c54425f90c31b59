"""Colour and depth images, decoded and checked: PNG, JPEG and PNM, whatever their suffix."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import FrameError, ScanError

MOST_PIXELS = 2**26
"""Pixels of the largest image that is decoded, about 8000 x 8000."""

_FORMATS = ("PNG", "JPEG", "PPM")

_MISSING_CODE = 65535
"""Depth value that some recorders write where they saw nothing; 0 is the other."""

_PLAUSIBLE_MEDIAN = (0.1, 20.0)
"""Metres: the median depth of a scan of a shelf up to one of a hall."""

_SAMPLED = 4
"""Every so many rows and columns are enough for the median of a scan."""

_DEPTH_UNITS = {"metres": 1.0, "centimetres": 100.0, "millimetres": 1000.0, "1/5000 m": 5000.0}


def decode_image(path: Path, content: bytes | None = None) -> NDArray[np.generic]:
    """The pixels of a PNG, JPEG or PNM image.

    Args:
        path: the file, or what ``content`` was cut out of.
        content: the bytes of the image; None to read the file.

    Raises:
        FrameError: missing, truncated, no image, or of more than 2**26 pixels.
    """
    with _opened(path, content) as image:
        if image.mode in ("P", "RGBA", "CMYK", "LA", "1"):
            return np.asarray(image.convert("RGB"))
        return np.asarray(image)


@contextmanager
def _opened(path: Path, content: bytes | None) -> Iterator[Any]:
    """A PIL image whose header has been read and whose size is no danger."""
    from PIL import Image

    if content is None and not path.is_file():
        raise FrameError(
            path, "is missing", "Restore the file, or remove its frame", reason="without an image"
        )
    source = path if content is None else io.BytesIO(content)
    try:
        with Image.open(source, formats=_FORMATS) as image:
            _check_size(path, *image.size)
            yield image
    except ScanError:
        raise
    except Exception as error:  # what a damaged file does to a decoder, nobody has written down
        raise FrameError(
            path,
            f"is truncated or no image ({error or type(error).__name__})",
            "Copy the file again, or remove its frame",
            reason="with a damaged image",
        ) from error


def _check_size(path: Path, width: int, height: int) -> None:
    if not 0 < width * height <= MOST_PIXELS:
        raise FrameError(
            path,
            f"declares {width}x{height} pixels, at most {MOST_PIXELS:,} are read",
            "Check that it is what its name says, or save it smaller",
            reason="with an image of an absurd size",
        )


def image_size(path: Path, content: bytes | None = None) -> tuple[int, int]:
    """(height, width) as the header of an image declares them; nothing is decoded.

    Raises:
        FrameError: as :func:`decode_image`.
    """
    with _opened(path, content) as image:
        width, height = image.size
        return height, width


def as_color(path: Path, image: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Take an 8-bit colour or grey image for ``[H, W, 3]``.

    Raises:
        ScanError: not 8-bit.
    """
    if image.dtype != np.uint8:
        raise ScanError(
            path, f"is not an 8-bit colour image (it holds {image.dtype})", "Save it as 8-bit RGB"
        )
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    return np.ascontiguousarray(image[..., :3], dtype=np.uint8)


def as_depth(path: Path, image: NDArray[np.generic], units_per_metre: float) -> NDArray[np.float32]:
    """Take a 16-bit depth image for ``[H, W]`` metres, 0 where nothing was measured.

    Raises:
        ScanError: with colour channels or only 8 bits deep.
    """
    if image.ndim != 2 or image.dtype == np.uint8 or not np.issubdtype(image.dtype, np.integer):
        raise ScanError(
            path,
            f"is not a 16-bit depth image (shape {list(image.shape)}, {image.dtype})",
            "Save depth as a single-channel 16-bit PNG, in millimetres",
        )
    codes: NDArray[Any] = image
    measured = (codes > 0) & (codes != _MISSING_CODE)
    # 16 bits are exact in float32, so that the quotient is rounded once
    with np.errstate(all="ignore"):  # an absurd unit gives what no scene may hold
        return np.where(measured, codes, 0).astype(np.float32) / np.float32(units_per_metre)


@dataclass(frozen=True)
class ColorFile:
    """A colour image in a file of its own."""

    path: Path

    def size(self) -> tuple[int, int]:
        """(height, width) as the header declares them."""
        return image_size(self.path)

    def read(self) -> NDArray[np.uint8]:
        """Decode it; see :class:`~g2vlm_fast.data.readers.listing.ColorSource`."""
        return as_color(self.path, decode_image(self.path))


@dataclass(frozen=True)
class DepthFile:
    """A 16-bit depth image in a file of its own."""

    path: Path

    def read(self, units_per_metre: float) -> NDArray[np.float32]:
        """Decode it; see :class:`~g2vlm_fast.data.readers.listing.DepthSource`."""
        return as_depth(self.path, decode_image(self.path), units_per_metre)


def check_depth_unit(path: Path, depth: NDArray[np.float32], units_per_metre: float) -> None:
    """Refuse depth whose median is no distance that a scan has.

    Raises:
        ScanError: no depth at all, or a unit that was misread; the message names the likely one.
    """
    some = depth[:, ::_SAMPLED, ::_SAMPLED]
    measured = some[some > 0]
    if measured.size == 0:
        measured = depth[depth > 0]
    if measured.size == 0:
        raise ScanError(
            path, "no depth image holds a single measured pixel", "Record depth beside colour"
        )
    median = float(np.median(measured))
    low, high = _PLAUSIBLE_MEDIAN
    if low <= median <= high:
        return
    raw = median * units_per_metre
    likely = [name for name, units in _DEPTH_UNITS.items() if 0.3 <= raw / units <= 8.0]
    guess = " or ".join(f"{name} (--depth-scale {_DEPTH_UNITS[name]:g})" for name in likely)
    raise ScanError(
        path,
        f"the median depth reads as {median:.4g} m (raw value {raw:.4g} at {units_per_metre:g} "
        f"units a metre), outside {low:g} to {high:g} m",
        f"The unit is likely {guess}" if guess else "Give the units a metre with --depth-scale N",
    )
