"""Where the tokens of a Hugging Face model stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Geometry:
    """Where the tokens of a padded batch stand; the keyword argument ``geometry`` of a model.

    Tokens that are generated after these stand nowhere.

    Attributes:
        position: ``[B, L, 3]`` float32 or float64, metres. Never half precision, whatever the
            model computes in.
        placed: ``[B, L]`` bool, which tokens stand somewhere; None for all. What a token that
            stands nowhere sees, and who sees it, has bias 0; its position is not read.

    Raises:
        TypeError: a dtype that is not one of these.
        ValueError: a shape that is not one of these.
    """

    position: Tensor
    placed: Tensor | None = None

    def __post_init__(self) -> None:
        position, placed = self.position, self.placed
        if position.dtype not in (torch.float32, torch.float64):
            raise TypeError(
                f"Geometry: position must be float32 or float64, got {position.dtype}; half "
                "precision moves points by decimetres: keep positions out of mixed precision"
            )
        if position.dim() != 3 or position.shape[2] != 3:
            raise ValueError(f"Geometry: position must be [B, L, 3], got {list(position.shape)}")
        if placed is None:
            return
        if placed.dtype != torch.bool:
            raise TypeError(f"Geometry: placed must be bool, got {placed.dtype}")
        if placed.shape != position.shape[:2]:
            raise ValueError(
                f"Geometry: placed must be {list(position.shape[:2])}, one for each position, "
                f"got {list(placed.shape)}"
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
    """
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
