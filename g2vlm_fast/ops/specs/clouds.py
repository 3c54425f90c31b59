"""Point clouds that benchmarks draw: rooms, blobs and cubes, in metres."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.specs.base import InputFactory, Inputs
from g2vlm_fast.ops.specs.points import noisy, room_points

Cloud = Callable[[torch.Generator, int], tuple[Tensor, Tensor]]

_CENTER = torch.tensor([4.0, 3.0, 1.5], dtype=torch.float64)


def room(generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
    """Return a room's surface, and the same with 5 mm of noise."""
    points = room_points(generator, n)
    return points, noisy(generator, points)


def blob(generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
    """Return what an untrained model predicts, a Gaussian blob, inside the surface of a room."""
    spread = torch.randn(n, 3, generator=generator, dtype=torch.float64)
    return _CENTER + 0.5 * spread, room_points(generator, n)


def cube(generator: torch.Generator, n: int) -> tuple[Tensor, Tensor]:
    """Return two clouds that fill a cube of one metre evenly."""
    points = torch.rand(2, n, 3, generator=generator, dtype=torch.float64)
    return points[0], points[1]


CLOUDS: Mapping[str, Cloud] = {"room": room, "blob": blob, "cube": cube}


def packed_pair(
    cloud: Cloud, batch: int, first: int, second: int, names: tuple[str, str], **options: Any
) -> InputFactory:
    """Return a factory of ``batch`` packed pairs of clouds.

    Args:
        cloud: draws a pair of equal lengths; the second is cut or drawn longer as needed.
        batch: pairs; offsets are left out for one.
        first: points of the first cloud of each pair.
        second: points of the second.
        names: of the two arguments; their offsets are called ``<name>_offsets``.
        options: further arguments of the op.
    """

    def make(generator: torch.Generator) -> Inputs:
        pairs = [cloud(generator, max(first, second)) for _ in range(batch)]
        inputs: Inputs = {
            names[0]: torch.cat([left[:first] for left, _ in pairs]),
            names[1]: torch.cat([right[:second] for _, right in pairs]),
            **options,
        }
        if batch > 1:
            for name, length in zip(names, (first, second), strict=True):
                inputs[f"{name}_offsets"] = torch.arange(batch + 1, dtype=torch.int32) * length
        return inputs

    return make


def sizes_of(
    given: Mapping[str, Any], required: tuple[str, ...], optional: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the sizes of a user's case, defaults filled in.

    Raises:
        ValueError: a size is missing, unknown, or no positive whole number.
    """
    unknown = sorted(set(given) - set(required) - set(optional))
    missing = sorted(set(required) - set(given))
    if unknown or missing:
        known = ", ".join([*required, *(f"{name} (optional)" for name in optional)])
        problem = f"unknown {unknown}" if unknown else f"missing {missing}"
        raise ValueError(f"sizes are {known}; {problem}")
    sizes = {**optional, **given}
    for name, value in sizes.items():
        default = optional.get(name, 1)
        if isinstance(default, bool) or not isinstance(default, int):
            continue
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a positive whole number, got {value!r}")
    return sizes


def cloud_named(name: Any) -> Cloud:
    """Return a cloud by its name."""
    if name not in CLOUDS:
        raise ValueError(f"cloud must be one of {sorted(CLOUDS)}, got {name!r}")
    return CLOUDS[name]
