"""What was made lately and may be asked for again, in a limited memory."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from torch import Tensor

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, made when they are asked for; where they need too much memory, the one that
    was not asked for the longest is forgotten, and made again if it is asked for again.

    Args:
        make: gives the value of a key, always the same.
        limit: bytes of tensors that are kept; the newest value is kept whatever it needs.
    """

    def __init__(self, make: Callable[[K], V], limit: int) -> None:
        self.make = make
        self.limit = limit
        self.bytes = 0
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def __getitem__(self, key: K) -> V:
        if key not in self._kept:
            value = self.make(key)
            self._kept[key] = value, tensor_bytes(value)
            self.bytes += self._kept[key][1]
        self._kept.move_to_end(key)
        while self.bytes > self.limit and len(self._kept) > 1:
            self.bytes -= self._kept.popitem(last=False)[1][1]
        return self._kept[key][0]

    def __len__(self) -> int:
        return len(self._kept)


def tensor_bytes(value: Any) -> int:
    """Return the bytes of all tensors in dataclasses, mappings, tuples and lists."""
    if isinstance(value, Tensor):
        return value.nbytes
    if isinstance(value, dict):
        return sum(tensor_bytes(each) for each in value.values())
    if isinstance(value, tuple | list):
        return sum(tensor_bytes(each) for each in value)
    if dataclasses.is_dataclass(value):
        return sum(tensor_bytes(getattr(value, each.name)) for each in dataclasses.fields(value))
    return 0
