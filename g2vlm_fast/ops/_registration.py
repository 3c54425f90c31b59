"""How an op enters torch: one definition, one implementation, one fake.

The implementation runs below autograd and picks the backend each time it runs, so that a
compiled graph keeps no choice. Gradients belong to a ``torch.autograd.Function`` around
the op, whose backward is an op too.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any

import torch
from torch import Tensor

_LIBRARY = torch.library.Library("g2vlm", "DEF")

_TENSORS = (Tensor, torch.nn.Parameter)
_SEQUENCES = (list, tuple)
_TYPES: dict[str, tuple[type, ...]] = {
    "Tensor": _TENSORS,
    "Optional[Tensor]": (*_TENSORS, NoneType),
    "bool": (bool,),
    "float": (float,),
    "Optional[float]": (float, NoneType),
    "int": (int,),
    "str": (str,),
    "List[bool]": _SEQUENCES,
    "List[int]": _SEQUENCES,
}

_dispatch_modes = torch._C._len_torch_dispatch_stack
_function_modes = torch._C._len_torch_function_stack
_profiler_enabled = torch._C._autograd._profiler_enabled
_tracing_state = torch._C._get_tracing_state
_transforms_active = torch._C._are_functorch_transforms_active


def define_op(
    schema: str,
    *,
    implementation: Callable[..., Any],
    fake: Callable[..., Any],
    library: torch.library.Library = _LIBRARY,
) -> Callable[..., Any]:
    """Define ``g2vlm::<schema>`` for CPU and CUDA tensors and return what calls it.

    Torch's dispatcher costs as much as all the rest of a small call, and is left out where nothing
    would see the op: no compiler, mode, transform, tracer or profiler is on, and the arguments are
    plain tensors and just what the schema says. ``torch.ops.g2vlm.<name>`` always goes through it.

    Args:
        schema: ``"name(Tensor x, int k) -> Tensor"``; fixed arity, no optional outputs.
        implementation: called with real tensors.
        fake: called with tensors that have shapes only; returns empty outputs.
        library: holds the op as long as it lives itself; that of this package unless told.
    """
    name = schema.split("(")[0]
    library.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    for key in ("CPU", "CUDA"):
        library.impl(name, implementation, key)
    torch.library.register_fake(f"{library.ns}::{name}", fake, lib=library)
    overload = getattr(getattr(torch.ops, library.ns), name).default
    kinds = [str(argument.type) for argument in overload._schema.arguments]
    first_tensor = kinds.index("Tensor")
    plain: dict[tuple[type, ...], bool] = {}

    def call(*arguments: Any) -> Any:
        if _is_watched():
            return overload(*arguments)
        types = tuple(map(type, arguments))
        is_plain = plain.get(types)
        if is_plain is None:
            is_plain = plain[types] = _are_plain(types, kinds)
        if not is_plain or arguments[first_tensor].is_meta:
            return overload(*arguments)
        return implementation(*arguments)

    return call


def _is_watched() -> bool:
    """Whether anything besides autograd follows the ops that run now."""
    return (
        torch.compiler.is_compiling()
        or _dispatch_modes() > 0
        or _function_modes() > 0
        or _transforms_active()
        or _profiler_enabled()
        or _tracing_state() is not None
    )


def _are_plain(types: tuple[type, ...], kinds: list[str]) -> bool:
    """Whether the dispatcher would hand arguments of these types on as they are."""
    return len(types) == len(kinds) and all(
        each in _TYPES[kind] for each, kind in zip(types, kinds, strict=True)
    )
