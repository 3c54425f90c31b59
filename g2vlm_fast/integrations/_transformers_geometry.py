"""Where the tokens of a Hugging Face model stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor


class Geometry:
    """Where the tokens of a padded batch stand; the keyword argument ``geometry`` of a model.

    Tokens that are generated after these stand nowhere. This is no dataclass and no pytree on
    purpose: FSDP casts the fields of those to half precision.

    Args:
        position: ``[B, L, 3]`` float32, or float64 for coordinates far from their origin, metres.
            Never half precision, whatever the model computes in.
        placed: ``[B, L]`` bool, which tokens stand somewhere; None for all. Between two tokens of
            which one stands nowhere the bias is 0; the other fields of such tokens are not read.
        normal: ``[B, L, 3]``, unit vectors; needed with the term ``NormalDot``.
        frame: ``[B, L, 3, 3]``, rows are the unit axes of each token's own frame in the world,
            along which ``Direction`` then weighs; None for the axes of the world.

    Raises:
        TypeError: no tensor, or a dtype that is not one of these.
        ValueError: a shape that is not one of these, or fields on several devices.
    """

    def __init__(
        self,
        position: Tensor,
        placed: Tensor | None = None,
        normal: Tensor | None = None,
        frame: Tensor | None = None,
    ) -> None:
        self.position, self.placed, self.normal, self.frame = position, placed, normal, frame
        shapes = {"position": (3,), "placed": (), "normal": (3,), "frame": (3, 3)}
        for name, ends in shapes.items():
            field = getattr(self, name)
            if field is None and name != "position":
                continue
            if not isinstance(field, Tensor):
                raise TypeError(
                    f"Geometry: {name} must be a torch.Tensor, got {type(field).__name__}"
                )
            if name == "position" and field.dim() != 3:
                raise ValueError(f"Geometry: position must be [B, L, 3], got {list(field.shape)}")
            batch, tokens, _ = position.shape
            if name == "placed":
                if field.dtype != torch.bool:
                    raise TypeError(f"Geometry: placed must be bool, got {field.dtype}")
            elif field.dtype not in (torch.float32, torch.float64):
                raise TypeError(
                    f"Geometry: {name} must be float32 or float64, got {field.dtype}; half "
                    "precision moves points by decimetres: keep geometry out of mixed precision"
                )
            if field.shape != (batch, tokens, *ends):
                raise ValueError(
                    f"Geometry: {name} must be {[batch, tokens, *ends]}, got {list(field.shape)}"
                )
            if field.device != position.device:
                raise ValueError(
                    f"Geometry: {name} must be on {position.device} as position is, got "
                    f"{field.device}"
                )

    def to(self, device: torch.device | str) -> Geometry:
        """Return the same places on a device."""
        return self._map(lambda field: field.to(device))

    def repeat_interleave(self, repeats: int) -> Geometry:
        """Return each row of the batch ``repeats`` times, as beams and samples of ``generate``."""
        return self._map(lambda field: field.repeat_interleave(repeats, dim=0))

    def _map(self, function: Callable[[Tensor], Tensor]) -> Geometry:
        moved: dict[str, Any] = {
            name: None if field is None else function(field) for name, field in vars(self).items()
        }
        return Geometry(**moved)


_current: ContextVar[Geometry | None] = ContextVar("geometry", default=None)
_open: list[Geometry] = []  # in any thread; what compiled code can read, unlike the variable


@contextmanager
def use_geometry(geometry: Geometry) -> Iterator[None]:
    """Give every model that runs inside this geometry, where ``geometry=`` does not reach.

    For ``generate()``, and for models that drop keyword arguments on their way to attention::

        with use_geometry(Geometry(position)):
            model.generate(input_ids)

    Raises:
        TypeError: no Geometry.
    """
    if not isinstance(geometry, Geometry):
        raise TypeError(f"use_geometry: expected a Geometry, got {type(geometry).__name__}")
    token = _current.set(geometry)
    _open.append(geometry)
    try:
        yield
    finally:
        _open.pop()
        _current.reset(token)


def current_geometry() -> Geometry | None:
    """Return the geometry of the innermost :func:`use_geometry` of this thread."""
    if not torch.compiler.is_compiling():
        return _current.get()
    if _open:
        raise NotImplementedError(
            "use_geometry: compiled models do not see it; pass geometry= to the model"
        )
    return None
