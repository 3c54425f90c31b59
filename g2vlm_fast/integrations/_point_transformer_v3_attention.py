"""The serialized attention of Point Transformer V3: what it must be like, and how it then runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from g2vlm_fast.nn import GeometryBias
from g2vlm_fast.ops import BiasSpec, geometry_attention
from g2vlm_fast.ops.bias import MAX_REACH

Point = MutableMapping[str, Any]

_ATTRIBUTES = (
    *("proj", "proj_drop", "attn_drop"),
    *("num_heads", "channels", "scale", "enable_rpe", "enable_flash"),
)
_CHILDREN = frozenset({"qkv", "proj", "proj_drop", "softmax", "attn_drop", "rpe"})
_INTEGERS = frozenset({torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64})


def is_serialized_attention(module: nn.Module) -> bool:
    """Return whether a module attends between patches of points that are in an order."""
    return (
        hasattr(module, "qkv")
        and hasattr(module, "order_index")
        and callable(getattr(module, "get_padding_and_inverse", None))
    )


def why_not(module: nn.Module) -> str | None:
    """Return why serialized attention cannot be patched, None where it can be.

    A part that is not of the published module may do what the patch would leave out in silence.
    """
    size = "patch_size" if getattr(module, "enable_flash", True) else "patch_size_max"
    absent = [name for name in (*_ATTRIBUTES, size) if not hasattr(module, name)]
    if absent:
        return f"it has no attribute {', '.join(absent)}"
    others = [name for name, _ in module.named_children() if name not in _CHILDREN]
    others += [name for name, _ in module.named_parameters(recurse=False)]
    others += [name for name, _ in module.named_buffers(recurse=False)]
    if others:
        return f"what {', '.join(others)} adds to attention is not honoured"
    if "forward" in vars(module):
        return "its forward is replaced on the module itself; take that back first"
    if len(inspect.signature(type(module).forward).parameters) != 2:
        return "its forward takes more than a point"
    softmax = getattr(module, "softmax", None)
    if softmax is not None and not (isinstance(softmax, nn.Softmax) and softmax.dim == -1):
        return f"softmax is {softmax}, not torch.nn.Softmax(dim=-1)"
    if not isinstance(module.attn_drop, int | float | nn.Dropout):
        return f"attn_drop is a {type(module.attn_drop).__name__}, no torch.nn.Dropout, no number"
    if not isinstance(module.scale, int | float):
        return f"scale is a {type(module.scale).__name__}, not a number"
    widths = getattr(module.qkv, "out_features", None), 3 * cast(int, module.channels)
    if widths[0] is not None and widths[0] != widths[1]:
        return f"qkv has {widths[0]} outputs, not 3 * channels = {widths[1]}"
    return _why_not_its_table(module)


def _why_not_its_table(module: nn.Module) -> str | None:
    table = getattr(module, "rpe", None)
    if bool(module.enable_rpe) != (table is not None):
        there = "has none" if table is None else "has a table"
        return f"enable_rpe is {module.enable_rpe} and it {there}; set them alike"
    if table is not None:
        values = getattr(table, "rpe_table", None)
        if not isinstance(values, Tensor) or len(list(cast(nn.Module, table).parameters())) != 1:
            return "rpe is not one rpe_table"
        reach = reach_of(module)
        shape = [3 * (2 * reach + 1), cast(int, module.num_heads)]
        if list(values.shape) != shape or getattr(table, "pos_bnd", reach) != reach:
            return f"rpe_table {list(values.shape)} is not [3 * (2 * pos_bnd + 1), num_heads]"
    if not 1 <= reach_of(module) <= MAX_REACH:
        return f"its tables reach {reach_of(module)} cells either way, not from 1 to {MAX_REACH}"
    return None


def reach_of(module: nn.Module) -> int:
    """Return how many cells either way the tables of a module know, or would as published."""
    if module.enable_rpe:
        return cast(Any, module).rpe.rpe_table.shape[0] // 6
    largest = module.patch_size if module.enable_flash else module.patch_size_max
    return int(2 * (4 * cast(int, largest)) ** (1 / 3))


def parameters_of(rpe_table: Tensor) -> Tensor:
    """Return ``[H, 3 * (2 reach + 1)]`` of a published table ``[3 * (2 reach + 1), H]``.

    The published steps go from key to query and those of :class:`~g2vlm_fast.ops.AxisTable` from
    query to key. Gradients reach the published table.
    """
    return rpe_table.T.unflatten(1, (3, -1)).flip(-1).flatten(1)


class PatchedAttention(nn.Module):
    """What the class of a patched module puts in front of the class that it had."""

    original: type[nn.Module]

    # What the published module owns:
    qkv: nn.Module
    proj: nn.Module
    proj_drop: nn.Module
    rpe: nn.Module
    attn_drop: float | nn.Dropout
    num_heads: int
    order_index: int
    patch_size: int
    patch_size_max: int
    scale: float
    enable_rpe: bool
    enable_flash: bool
    get_padding_and_inverse: Callable[[Point], tuple[Tensor, Tensor, Tensor]]

    # What the patch adds, the second where there is no table:
    geometry_spec: BiasSpec
    geometry_bias: GeometryBias

    def forward(self, point: Point) -> Point:
        """Attend within the patches that the module itself forms, and replace ``feat``.

        Raises:
            TypeError: ``grid_coord`` is not of integers.
            ValueError: a field is missing, ``grid_coord`` is not of as many points as ``feat``,
                or a scene is empty without ``enable_flash``.
        """
        name = type(self).original.__name__
        _check(name, point)
        if not self.enable_flash:
            self.patch_size = min(_smallest_scene(name, point), self.patch_size_max)
        pad, unpad, bounds = self.get_padding_and_inverse(point)
        order = point["serialized_order"][self.order_index]
        padded = order[pad]  # a last patch borrows keys from the one before it, and no queries
        q, k, v = self.qkv(point["feat"]).unflatten(-1, (3, self.num_heads, -1)).unbind(1)
        cell = point["grid_coord"].double()
        parameters = self._bias_parameters()
        out = geometry_attention(
            q[order],
            k[padded],
            v[padded],
            bias=self.geometry_spec,
            bias_parameters=parameters.to(torch.promote_types(q.dtype, torch.float32)),
            q_position=cell[order],
            k_position=cell[padded],
            q_offsets=torch.searchsorted(unpad, bounds.to(unpad.dtype), out_int32=True),
            k_offsets=bounds.int(),
            scale=self.scale,
            dropout=self._dropout(),
        )
        attended = cast(Tensor, out).flatten(1)[point["serialized_inverse"][self.order_index]]
        point["feat"] = self.proj_drop(self.proj(attended))
        return point

    def _bias_parameters(self) -> Tensor:
        if self.enable_rpe:
            return parameters_of(cast(Tensor, self.rpe.rpe_table))
        return self.geometry_bias()

    def _dropout(self) -> float:
        if isinstance(self.attn_drop, nn.Dropout):
            return self.attn_drop.p if self.attn_drop.training else 0.0
        return self.attn_drop if self.training else 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by the class that the module had, as this one has no name."""
        return _bare, (type(self).original,), self.__getstate__()


_patched_classes: dict[type[nn.Module], type[PatchedAttention]] = {}


def patched_class(original: type[nn.Module]) -> type[PatchedAttention]:
    """Return the class of modules of a class while they are patched."""
    if original not in _patched_classes:
        name = f"Geometry{original.__name__}"
        bases = (PatchedAttention, original)
        _patched_classes[original] = type(name, bases, {"original": original})
    return _patched_classes[original]


def _bare(original: type[nn.Module]) -> PatchedAttention:
    cls = patched_class(original)
    return cls.__new__(cls)


def _check(name: str, point: Point) -> None:
    needed = ("feat", "offset", "grid_coord", "serialized_order", "serialized_inverse")
    absent = [field for field in needed if field not in point]
    if absent:
        raise ValueError(
            f"{name}: the point lacks {', '.join(absent)}; relative positions need them: sample it "
            "on a grid and serialize it first"
        )
    dtype = point["grid_coord"].dtype
    if dtype not in _INTEGERS:
        raise TypeError(
            f"{name}: grid_coord must be of integers, which count cells, got {dtype}; pass "
            "(coord / grid_size).floor().int()"
        )
    shape = [point["feat"].shape[0], 3]
    if list(point["grid_coord"].shape) != shape:
        raise ValueError(
            f"{name}: grid_coord must be {shape}, a row for each of feat, got "
            f"{list(point['grid_coord'].shape)}"
        )


def _smallest_scene(name: str, point: Point) -> int:
    offset = point["offset"]
    count = int(torch.diff(offset, prepend=offset.new_zeros(1)).min())
    if count < 1:
        raise ValueError(
            f"{name}: offset has a scene of {count} points, and without enable_flash all patches "
            "are as short as the smallest scene; leave that scene out"
        )
    return count
