"""Scenes in files: made once, read back one at a time, exactly as they were.

A shard is one ``.safetensors`` file: the tensors of its scenes, and in its header, as JSON, all
that is no tensor, with check sums of both. Nothing in it is ever executed. The last shard of a
folder may be shorter.
"""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import cached_property, reduce
from itertools import accumulate
from pathlib import Path
from typing import Any, overload
from zlib import crc32

import torch
from torch import Tensor

from g2vlm_fast.data.readers.errors import ScanError
from g2vlm_fast.data.scene import Scene
from g2vlm_fast.files import replacing

_FORMAT = "g2vlm-fast scenes 1"
_SUFFIX = ".safetensors"
_REMEDY = "Write the shard again"


def write_shard(path: Path, scenes: Sequence[Scene]) -> None:
    """Write scenes into one file, which appears whole or not at all.

    Args:
        path: ends in ``.safetensors``; an existing file is replaced.
        scenes: at least one.

    Raises:
        ValueError: no scenes, or another suffix.
        OSError: the file cannot be written.
    """
    from safetensors.torch import save_file

    if path.suffix != _SUFFIX or not scenes:
        raise ValueError(f"write_shard: needs scenes and a path in {_SUFFIX}, got {path}")
    tensors: dict[str, Tensor] = {}
    told = []
    for number, scene in enumerate(scenes):
        own: dict[str, Tensor] = {}
        fields = _encode(scene, f"{number}", own)
        told.append({"fields": fields, "sum": reduce(_add_to_sum, own.values(), 0)})
        tensors |= own
    text = json.dumps(told, allow_nan=False)
    header = {"format": _FORMAT, "scenes": text, "sum": str(crc32(text.encode()))}
    with replacing(path) as draft:
        save_file(tensors, draft, metadata=header)


def write_shards(folder: Path, scenes: Iterable[Scene], *, scenes_per_shard: int = 256) -> int:
    """Write a stream of scenes into files of a folder, ``00000.safetensors`` and on.

    Args:
        folder: is made; it must not hold shards yet.
        scenes: any number; only one file's worth is in memory at a time.
        scenes_per_shard: how many go into a file.

    Returns:
        How many scenes were written.

    Raises:
        ValueError: the folder holds shards already, or no scenes may go into a file.
        OSError: a file cannot be written.
    """
    if scenes_per_shard < 1:
        raise ValueError(f"write_shards: scenes_per_shard must be positive, got {scenes_per_shard}")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.glob(f"*{_SUFFIX}")):
        raise ValueError(f"write_shards: {folder} holds shards already; name another folder")
    waiting: list[Scene] = []
    files = count = 0
    for scene in scenes:
        waiting.append(scene)
        if len(waiting) == scenes_per_shard:
            write_shard(folder / f"{files:05d}{_SUFFIX}", waiting)
            files, count = files + 1, count + len(waiting)
            waiting = []
    if waiting:
        write_shard(folder / f"{files:05d}{_SUFFIX}", waiting)
    return count + len(waiting)


class Shards(Sequence[Scene]):
    """The scenes of all shards of a folder, in order; each is read when it is asked for.

    Args:
        folder: with shards of :func:`write_shards`.

    Raises:
        ScanError: no shards there, or a file that is none; names it.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = sorted(folder.glob(f"*{_SUFFIX}"))
        if not self._paths:
            raise ScanError(folder, "holds no shards", "Name a folder that write_shards filled")
        self._told = [_read_header(path) for path in self._paths]
        self._ends = list(accumulate(map(len, self._told)))

    def __len__(self) -> int:
        return self._ends[-1]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of all scenes, in order."""
        return tuple(
            _name_of(path, each)
            for path, told in zip(self._paths, self._told, strict=True)
            for each in told
        )

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...
    def __getitem__(self, index: int | slice) -> Scene | list[Scene]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(f"Shards: index must be below {len(self)}, got {index}")
        index %= len(self)
        shard = bisect_right(self._ends, index)
        number = index - (self._ends[shard - 1] if shard else 0)
        return _read_scene(self._paths[shard], self._told[shard][number])


def _read_header(path: Path) -> list[Any]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
        text = header.get("scenes", "[]")
        told = json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ScanError(path, f"is no whole shard ({error})", _REMEDY) from error
    if header.get("format") != _FORMAT or not isinstance(told, list) or not told:
        raise ScanError(path, f"is no shard of scenes ({_FORMAT!r})", _REMEDY)
    if header.get("sum") != str(crc32(text.encode())):
        raise ScanError(path, "has been changed since it was written", _REMEDY)
    return told


def _name_of(path: Path, told: Any) -> str:
    name = told["fields"].get("name") if isinstance(told, dict) and "fields" in told else None
    if not isinstance(name, str):
        raise ScanError(path, "holds a scene without a name", _REMEDY)
    return name


def _read_scene(path: Path, told: Any) -> Scene:
    from safetensors import SafetensorError, safe_open

    read: list[Tensor] = []

    def tensor(name: str) -> Tensor:
        read.append(file.get_tensor(name))
        return read[-1]

    try:
        with safe_open(path, framework="pt") as file:
            scene = _decode(Scene, told["fields"], tensor)
    except (SafetensorError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ScanError(path, f"holds a broken scene ({error})", _REMEDY) from error
    if reduce(_add_to_sum, read, 0) != told["sum"]:
        raise ScanError(path, "has been changed since it was written", _REMEDY)
    assert isinstance(scene, Scene)
    return scene


def _add_to_sum(total: int, tensor: Tensor) -> int:
    return crc32(tensor.contiguous().flatten().view(torch.uint8).numpy().data, total)


def _encode(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return what is no tensor as JSON values; tensors go aside under the name of their place."""
    if isinstance(value, Tensor):
        tensors[name] = value.contiguous().clone()  # two places may share memory
        return name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            each.name: _encode(getattr(value, each.name), f"{name}.{each.name}", tensors)
            for each in dataclasses.fields(value)
            if getattr(value, each.name) is not None
        }
    if isinstance(value, tuple):
        return [_encode(each, f"{name}.{place}", tensors) for place, each in enumerate(value)]
    if isinstance(value, range):
        return [value.start, value.stop]
    if value is None or isinstance(value, str | bool | int | float):
        return value
    raise TypeError(f"write_shard: {name} is {type(value).__name__}, which shards do not hold")


def _decode(kind: Any, value: Any, tensor: Any) -> Any:
    """Rebuild a value of a type from what :func:`_encode` made of it."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [each for each in typing.get_args(kind) if each is not type(None)]
        return None if value is None else _decode(kinds[0], value, tensor)
    if kind is Tensor:
        return tensor(value)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        assert isinstance(kind, type)
        return kind(**{name: _decode(hints[name], each, tensor) for name, each in value.items()})
    if typing.get_origin(kind) is tuple:
        members = typing.get_args(kind)
        kinds = [members[0]] * len(value) if members[1:] == (...,) else list(members)
        return tuple(_decode(k, each, tensor) for k, each in zip(kinds, value, strict=True))
    if kind is range:
        return range(*value)
    if not isinstance(value, kind) and not (kind is float and isinstance(value, int)):
        raise TypeError(f"expected {kind.__name__}, got {value!r}")
    return value
