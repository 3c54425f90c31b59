"""Which linear maps may be run together, past their modules."""

from __future__ import annotations

from torch import nn


def are_plain_alike(first: nn.Module, second: nn.Module) -> bool:
    """Return whether two maps are what their weights say, and of the same shape.

    A map of another class (wrapped, quantised, parametrised) and one with hooks, which weight
    norms, pruning and sharding put there, does more than its weights say.
    """
    return (
        _is_plain(first)
        and _is_plain(second)
        and first.weight.shape == second.weight.shape
        and (first.bias is None) == (second.bias is None)
    )


def _is_plain(module: nn.Module) -> bool:
    hooks = (
        module._forward_hooks,
        module._forward_pre_hooks,
        module._backward_hooks,
        module._backward_pre_hooks,
    )
    return type(module) is nn.Linear and not any(hooks)
