"""Relative positions for Point Transformer V3 (Wu et al., CVPR 2024) without scores in memory.

The published model has one of the two: ``enable_rpe`` adds a learned table of relative positions to
scores that are all in memory, ``enable_flash`` has no scores in memory and no table. :func:`patch`
runs its attention on :func:`g2vlm_fast.ops.geometry_attention`, which has both.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Self, cast

import torch
from torch import nn

from g2vlm_fast.integrations._point_transformer_v3_attention import (
    PatchedAttention,
    is_serialized_attention,
    patched_class,
    reach_of,
    why_not,
)
from g2vlm_fast.nn import GeometryBias
from g2vlm_fast.ops import AxisTable, BiasSpec

__all__ = ["GeometryPatch", "patch", "unpatch"]


class GeometryPatch(nn.Module):
    """What :func:`patch` did to a model; ends with :meth:`unpatch`, or as a context manager.

    Its own parameters and its own ``state_dict`` are the new tables alone.

    Attributes:
        biases: the new tables by the number of their layer, as
            :class:`~g2vlm_fast.nn.GeometryBias`.
        patched: which table each patched module has, by the name of the module.
        left: why each other serialized attention was left as it was, by name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.biases = nn.ModuleDict()
        self.patched: dict[str, str] = {}
        self.left: dict[str, str] = {}
        self._attention: tuple[PatchedAttention, ...] = ()

    def unpatch(self) -> None:
        """Give the modules back as they were; the new tables stay here.

        Raises:
            RuntimeError: something else changed the class of a module since, say FSDP.
        """
        _give_back([module for module in self._attention if isinstance(module, PatchedAttention)])
        self._attention = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unpatch()

    def extra_repr(self) -> str:
        lines = [f"{name}: {table}" for name, table in self.patched.items()]
        lines += [f"{name}: left as it was, {reason}" for name, reason in self.left.items()]
        return "\n".join(lines)


def patch(model: nn.Module, *, layers: Collection[int] | None = None) -> GeometryPatch:
    """Give serialized attention relative positions without a score in memory.

    Modules are known by the attributes of the published one. One that has a table
    (``enable_rpe``) computes what it did, from the same parameter ``rpe.rpe_table``, which trains
    in place: the ``state_dict`` stays as it was. One that has none gets a child ``geometry_bias``
    whose table starts at zero, where the module is what it was; load a checkpoint before::

        model.load_state_dict(checkpoint)
        tables = patch(model)
        print(tables)
        torch.save(tables.state_dict(), "tables.pt")  # of the new ones

    Patches of points are those that the module forms: of ``patch_size`` points with
    ``enable_flash``, and as short as the smallest scene without. Dropout is that of ``attn_drop``,
    of other random draws. Scores and softmax are at least float32, whatever ``upcast_attention``
    and ``upcast_softmax`` say, and queries, keys and values are of the dtype that ``qkv`` returns:
    with ``enable_flash`` they are no longer cast to half precision; autocast does that.

    The table needs whole ``grid_coord``.

    Args:
        model: holds the modules, anywhere.
        layers: which serialized attention to patch, counted from 0 in the order of
            ``model.modules()``; None for all that can be.

    Returns:
        What was patched, and what was left and why.

    Raises:
        TypeError: no module.
        ValueError: no serialized attention, or none that can be patched; a layer that there is not
            or that cannot be; a model that is patched already.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"patch: model must be a torch.nn.Module, got {type(model).__name__}")
    if any(isinstance(module, PatchedAttention) for module in model.modules()):
        raise ValueError("patch: the model is patched already; unpatch(model) first")
    attention = [each for each in model.named_modules() if is_serialized_attention(each[1])]
    if not attention:
        raise ValueError(
            f"patch: {type(model).__name__} has no serialized attention of Point Transformer V3 "
            "(modules with qkv, order_index and get_padding_and_inverse)"
        )
    reasons = [why_not(module) for _, module in attention]
    result = GeometryPatch()
    for index in sorted(_chosen_of(attention, reasons, layers)):
        name, module = attention[index]
        patched = patched_class(type(module))
        spec = BiasSpec(AxisTable(reach_of(module), cell=1.0))  # positions count in cells
        module.geometry_spec = cast(Any, spec)
        if module.enable_rpe:
            result.patched[name] = "the table of its own"
        else:
            bias = _new_bias(module, spec)
            result.biases[str(index)] = module.geometry_bias = bias
            result.patched[name] = f"a new table, {bias.extra_repr()}"
        cast(Any, module).__class__ = patched
        result._attention += (cast(PatchedAttention, module),)
    for (name, _), reason in zip(attention, reasons, strict=True):
        if name not in result.patched:
            result.left[name] = reason or "not among layers"
    return result


def unpatch(model: nn.Module) -> None:
    """Do what :meth:`GeometryPatch.unpatch` does, to a copy or to what was unpickled.

    Raises:
        RuntimeError: something else changed the class of a module since, say FSDP.
    """
    _give_back([module for module in model.modules() if isinstance(module, PatchedAttention)])


def _give_back(attention: Collection[PatchedAttention]) -> None:
    for module in attention:
        if type(module) is not patched_class(type(module).original):
            raise RuntimeError(
                f"unpatch: {type(module).__name__} is no longer what patch made of it; take back "
                "what came after it first"
            )
    for module in attention:
        del module.geometry_spec
        if hasattr(module, "geometry_bias"):
            del module.geometry_bias
        cast(Any, module).__class__ = type(module).original


def _chosen_of(
    attention: list[tuple[str, nn.Module]],
    reasons: list[str | None],
    layers: Collection[int] | None,
) -> set[int]:
    """Return which layers to patch, all of which can be."""
    every = range(len(attention))
    possible = {index for index in every if reasons[index] is None}
    if layers is not None and not set(layers) <= set(every):
        raise ValueError(f"patch: layers must be from 0 to {every[-1]}, got {sorted(layers)}")
    chosen = possible if layers is None else set(layers)
    if chosen - possible or not possible:
        refused = sorted(chosen - possible or every)
        told = "; ".join(f"{attention[index][0] or 'it'}: {reasons[index]}" for index in refused)
        raise ValueError(f"patch: what was asked for cannot be patched: {told}")
    return chosen


def _new_bias(module: nn.Module, spec: BiasSpec) -> GeometryBias:
    bias = GeometryBias(spec, cast(int, module.num_heads))
    weight = next(cast(nn.Module, module.qkv).parameters())
    return bias.to(weight.device, torch.promote_types(weight.dtype, torch.float32))
