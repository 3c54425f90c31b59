"""Pictures as arrays: renderings, depth in colours, contact sheets, drawn boxes."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.export.raycast import MeshRaycaster
from g2vlm_fast.export.scene_graph import SceneObject
from g2vlm_fast.geometry.boxes import box_corners
from g2vlm_fast.geometry.cameras import project
from g2vlm_fast.report.cameras import VirtualCamera

Picture = NDArray[np.uint8]  # [H, W, 3]

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

BACKGROUND = np.array([0.914, 0.929, 0.949], dtype=np.float32)
"""Light grey behind renderings, in [0, 1]."""

_EDGES = [(a, b) for a in range(8) for b in range(a + 1, 8) if (a ^ b) in (1, 2, 4)]
GAP = 6
"""Pixels between the pictures of a sheet."""
_PAPER = (255, 255, 255)


def object_color(index: int) -> tuple[int, int, int]:
    """The colour of an object in every picture: hues a golden ratio apart."""
    red, green, blue = colorsys.hls_to_rgb((0.58 + index * 0.618034) % 1.0, 0.45, 0.68)
    return int(red * 255), int(green * 255), int(blue * 255)


def render(raycaster: MeshRaycaster, camera: VirtualCamera, *, through_backs: bool) -> Picture:
    """Draw a mesh in its colours, lightly shaded, on light grey, with smoothed edges."""
    scale = 2
    intrinsics = camera.intrinsics.clone()
    intrinsics[:2] *= scale
    intrinsics[:2, 2] += (scale - 1) / 2
    height, width = camera.size
    hits = raycaster.look(
        intrinsics, camera.pose, (height * scale, width * scale), through_backs=through_backs
    )
    light = -camera.pose[:3, 2].numpy() * 0.8 + np.array([0.0, 0.0, 0.6], dtype=np.float32)
    light /= np.linalg.norm(light)
    shade = 0.62 + 0.42 * np.clip(hits.normal @ light, 0, 1)
    empty = (hits.depth == 0).numpy()
    lit = np.where(empty[..., None], BACKGROUND, hits.color * shade[..., None])
    pooled = lit.reshape(height, scale, width, scale, 3).mean(axis=(1, 3))
    return (pooled.clip(0, 1) * 255).round().astype(np.uint8)


def depth_in_colors(depth: Tensor, low: float, high: float) -> Picture:
    """Near is bright, far is dark; what is missing is light grey."""
    import matplotlib

    values = depth.numpy()
    share = ((values - low) / max(high - low, 1e-6)).clip(0, 1)
    picture = matplotlib.colormaps["magma_r"](share)[..., :3]
    picture[values <= 0] = 0.93
    return (picture * 255).astype(np.uint8)


def error_in_colors(rendered: Tensor, measured: Tensor, worst: float) -> Picture:
    """Relative depth error: white is none, red is ``worst``; grey where one is missing."""
    import matplotlib

    both = ((rendered > 0) & (measured > 0)).numpy()
    relative = ((rendered - measured).abs() / measured.clamp_min(1e-6)).numpy()
    picture = matplotlib.colormaps["Reds"]((relative / worst).clip(0, 1))[..., :3]
    picture[~both] = 0.88
    return (picture * 255).astype(np.uint8)


def to_picture(image: Tensor) -> Picture:
    """``[3, H, W]`` uint8 to ``[H, W, 3]``."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def fit(picture: Picture, width: int) -> Picture:
    """Resize to a width, keeping the aspect."""
    from PIL import Image

    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    resized = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    return np.asarray(resized)


def sheet(rows: Sequence[Sequence[Picture]]) -> Picture:
    """Put pictures of one size into a grid with white gaps."""
    height, width = rows[0][0].shape[:2]
    columns = max(map(len, rows))
    shape = (
        len(rows) * height + (len(rows) - 1) * GAP,
        columns * width + (columns - 1) * GAP,
        3,
    )
    page = np.full(shape, _PAPER, dtype=np.uint8)
    for r, row in enumerate(rows):
        for c, picture in enumerate(row):
            top, left = r * (height + GAP), c * (width + GAP)
            page[top : top + height, left : left + width] = picture
    return page


def draw_boxes(picture: Picture, camera: VirtualCamera, objects: Sequence[SceneObject]) -> Picture:
    """Draw boxes with their labels over a rendering; labels stay in it, and apart if they can."""
    import torch
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    font = _font(max(12, picture.shape[0] // 36))
    tops: list[tuple[list[float], SceneObject]] = []
    for thing in objects:
        box = (torch.from_numpy(v) for v in (thing.center, thing.size, thing.rotation))
        corners, depth = project(box_corners(*box), camera.intrinsics, camera.pose)
        if bool((depth <= 0).any()):
            continue
        color = object_color(thing.id)
        for a, b in _EDGES:
            pen.line([*corners[a].tolist(), *corners[b].tolist()], fill=color, width=3)
        tops.append((corners[corners[:, 1].argmin()].tolist(), thing))
    taken: list[Rectangle] = []
    for top, thing in tops:
        text, color = f"{thing.class_name} {thing.id}", object_color(thing.id)
        taken.append(_label(pen, top, text, color, font, taken))
    return np.asarray(image)


def draw_rectangle(
    picture: Picture, box: Sequence[float], text: str, color: tuple[int, int, int]
) -> Picture:
    """Draw one labelled image rectangle ``[left, top, right, bottom]``."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    pen = ImageDraw.Draw(image)
    pen.rectangle(list(box), outline=color, width=max(2, picture.shape[1] // 200))
    if text:
        font = _font(max(12, picture.shape[0] // 24))
        _label(pen, [box[0], max(box[1], 18)], text, color, font)
    return np.asarray(image)


def text_panel(lines: Sequence[str], width: int) -> Picture:
    """Print lines of text, dark on white, one under another."""
    from PIL import Image, ImageDraw

    size = 16
    image = Image.new("RGB", (width, (len(lines) + 1) * (size + 6)), _PAPER)
    pen = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        pen.text((8, 8 + row * (size + 6)), line, font=_font(size), fill=(40, 44, 52))
    return np.asarray(image)


def save_png(path: Any, picture: Picture) -> None:
    """Write a picture."""
    from PIL import Image

    Image.fromarray(picture).save(path, optimize=True)


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)


def _label(
    pen: Any,
    at: Sequence[float],
    text: str,
    color: tuple[int, int, int],
    font: Any,
    taken: Sequence[Rectangle] = (),
) -> Rectangle:
    """Write a label above a point, or as near as the picture and other labels let it be."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font, anchor="ls")
    width, height = right - left + 10, bottom - top + 6
    x, y = free_place(at[0] + left - 5, at[1] + top - 7, width, height, pen.im.size, taken)
    pen.rounded_rectangle([x, y, x + width, y + height], radius=4, fill=color)
    pen.text((x + 5 - left, y + 3 - top), text, font=font, anchor="ls", fill=(255, 255, 255))
    return x, y, x + width, y + height


def free_place(
    x: float,
    y: float,
    width: float,
    height: float,
    picture: tuple[int, int],
    taken: Sequence[Rectangle],
) -> tuple[float, float]:
    """Return the place in a picture of (width, height) nearest to x, y that is not taken.

    It lies straight above or below x, y moved into the picture; where all of these are taken, it
    is x, y moved into the picture.
    """
    x = min(max(x, 0), max(picture[0] - width, 0))
    lowest = max(picture[1] - height, 0)
    y = min(max(y, 0), lowest)
    in_the_way = [r for r in taken if r[0] < x + width and x < r[2]]
    beside = [place for r in in_the_way for place in (r[1] - height, r[3])]
    free = [
        place
        for place in (y, *beside)
        if 0 <= place <= lowest
        and not any(r[1] < place + height and place < r[3] for r in in_the_way)
    ]
    return x, min(free, key=lambda place: abs(place - y), default=y)
