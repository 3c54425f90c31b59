"""What the backward passes of ops share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch


def first_derivative_only(op: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Make a backward pass refuse to be differentiated itself.

    ``torch.autograd.function.once_differentiable`` complains only where the engine walks through
    its error node; ``torch.autograd.grad`` with named inputs walks past it and loses terms in
    silence. So the refusal comes as soon as a graph of the gradients is asked for.
    """

    def decorate(backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def wrapper(ctx: Any, *grads: Any) -> Any:
            if torch.is_grad_enabled() and not torch.compiler.is_compiling():
                raise NotImplementedError(
                    f"{op}: second derivatives are not implemented; call without create_graph, "
                    f"or compute this part in plain torch"
                )
            return backward(ctx, *grads)

        return wrapper

    return decorate
