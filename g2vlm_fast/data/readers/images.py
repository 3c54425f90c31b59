"""Colour and depth images, decoded and checked."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.readers.listing import Frame

_MISSING_CODE = 65535
"""Depth value that some recorders write where they saw nothing; 0 is the other."""

_PLAUSIBLE_MEDIAN = (0.1, 20.0)
"""Metres: the median depth of a scan of a shelf up to one of a hall."""

_DEPTH_UNITS = {"metres": 1.0, "centimetres": 100.0, "millimetres": 1000.0, "1/5000 m": 5000.0}


def _decode(path: Path) -> NDArray[np.generic]:
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise ScanError(path, "is missing", "Restore the file, or remove its frame")
    try:
        with Image.open(path) as image:
            if image.mode in ("P", "RGBA", "CMYK"):
                return np.asarray(image.convert("RGB"))
            return np.asarray(image)
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ScanError(
            path, f"is truncated or no image ({error})", "Copy the file again, or remove its frame"
        ) from error


def read_color(path: Path) -> NDArray[np.uint8]:
    """An 8-bit colour or grey image as ``[H, W, 3]``.

    Raises:
        ScanError: missing, truncated or not 8-bit.
    """
    image = _decode(path)
    if image.dtype != np.uint8:
        raise ScanError(
            path, f"is not an 8-bit colour image (it holds {image.dtype})", "Save it as 8-bit RGB"
        )
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=-1)
    return np.ascontiguousarray(image[..., :3], dtype=np.uint8)


def read_depth(path: Path, units_per_metre: float) -> NDArray[np.float32]:
    """A 16-bit depth image as ``[H, W]`` metres, 0 where nothing was measured.

    Raises:
        ScanError: missing, truncated, with colour channels or only 8 bits deep.
    """
    image = _decode(path)
    if image.ndim != 2 or image.dtype == np.uint8 or not np.issubdtype(image.dtype, np.integer):
        raise ScanError(
            path,
            f"is not a 16-bit depth image (shape {list(image.shape)}, {image.dtype})",
            "Save depth as a single-channel 16-bit PNG, in millimetres",
        )
    raw = image.astype(np.int64)
    measured = (raw > 0) & (raw != _MISSING_CODE)
    return np.where(measured, raw / units_per_metre, 0.0).astype(np.float32)


def read_views(
    frames: list[Frame], units_per_metre: float
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Decode all frames, in parallel.

    Returns:
        Colour ``[V, 3, H, W]`` and depth ``[V, H, W]`` metres.

    Raises:
        ScanError: as :func:`read_color` and :func:`read_depth`; images of mixed sizes; depth of
            another size than its colour image.
    """

    def read(frame: Frame) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        color, depth = read_color(frame.color), read_depth(frame.depth, units_per_metre)
        if color.shape[:2] != depth.shape:
            raise ScanError(
                frame.depth,
                f"is {_size(depth)}, but its colour image {frame.color.name} is {_size(color)}",
                "Register depth to colour, or resize both to one size and rescale the intrinsics",
            )
        return color, depth

    with ThreadPoolExecutor(max_workers=4) as pool:
        views = list(pool.map(read, frames))
    size = views[0][0].shape
    for frame, (color, _) in zip(frames, views, strict=True):
        if color.shape != size:
            raise ScanError(
                frame.color,
                f"is {_size(color)}, but {frames[0].color.name} is {_size(views[0][0])}",
                "All images of a scan must have one size: they share one camera matrix",
            )
    colors = np.stack([color.transpose(2, 0, 1) for color, _ in views])
    return colors, np.stack([depth for _, depth in views])


def _size(image: NDArray[np.generic]) -> str:
    return f"{image.shape[1]}x{image.shape[0]}"


def check_depth_unit(path: Path, depth: NDArray[np.float32], units_per_metre: float) -> None:
    """Refuse depth whose median is no distance that a scan has.

    Raises:
        ScanError: no depth at all, or a unit that was misread; the message names the likely one.
    """
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
