"""Networks of linear layers and activations, read so that an op can stand for them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

_INTERCEPTS = re.compile(r"_forward(_pre)?_hooks|_backward(_pre)?_hooks")


class Unsupported(Exception):
    """The original has to run; the message says why."""


@dataclass(frozen=True)
class Message:
    """One linear layer, or two with an activation between, and what follows the reduction."""

    layers: tuple[Any, ...]  # Linear of torch or PyG
    activation: str  # behind the first layer
    after: nn.Module | None  # commutes with the reduction, and keeps 0

    def finish(self, reduced: Tensor) -> Tensor:
        if self.after is None:
            return reduced
        in_place = getattr(self.after, "inplace", False)
        out: Tensor = self.after(reduced.clone() if in_place else reduced)
        return out


def read_message(network: Any, reduce: str) -> Message:
    """Read the network that makes messages.

    Args:
        network: ``Linear``, ``Linear, activation``, or ``Linear, activation, Linear`` and possibly
            another activation; as a module, a ``Sequential`` or an ``MLP`` of PyG.
        reduce: how messages are reduced.
    """
    parts = _parts(network)
    is_linear = [_is_linear(part) for part in parts]
    if is_linear in ([True], [True, False]):
        activation = _name(parts[1]) if len(parts) == 2 else "none"
        if activation is not None:
            return Message((parts[0],), activation, None)
        return Message((parts[0],), "none", _monotone(parts[1], reduce))
    if is_linear in ([True, True], [True, False, True], [True, False, True, False]):
        between = _name(parts[1]) if not is_linear[1] else "none"
        if between is None:
            raise Unsupported(f"there is no kernel with {parts[1]} between two linear layers")
        behind = _monotone(parts[3], reduce) if len(parts) == 4 else None
        return Message(tuple(part for part in parts if _is_linear(part)), between, behind)
    names = ", ".join(type(part).__name__ for part in parts)
    raise Unsupported(
        f"messages are made by ({names}), not by one or two Linear with an activation between"
    )


def check_unhooked(module: nn.Module) -> None:
    """Refuse a module that does more when it is called than its ``forward`` says."""
    hooked = any(hooks for name, hooks in vars(module).items() if _INTERCEPTS.fullmatch(name))
    if hooked or "forward" in vars(module):
        raise Unsupported(f"{type(module).__name__} has hooks, or a forward of its own")


def _parts(network: Any) -> list[nn.Module]:
    """Return the modules that are applied one after the other, without those that do nothing."""
    from torch_geometric.nn import MLP

    if not isinstance(network, nn.Module):
        raise Unsupported(f"messages are made by a {type(network).__name__}, which is no module")
    if type(network) is nn.Identity:
        return []
    check_unhooked(network)
    if type(network) is nn.Sequential:
        return [part for each in network for part in _parts(each)]
    if type(network) is not MLP:
        return [network]
    return _parts_of_mlp(network)


def _parts_of_mlp(mlp: Any) -> list[nn.Module]:
    if any(type(norm) is not nn.Identity for norm in mlp.norms):
        raise Unsupported("messages are made by an MLP with normalisation")
    if any(mlp.dropout):
        raise Unsupported("messages are made by an MLP with dropout")
    act = nn.Identity() if mlp.act is None else mlp.act
    activated = len(mlp.lins) - bool(mlp.plain_last)
    pairs = [[lin, act] if place < activated else [lin] for place, lin in enumerate(mlp.lins)]
    return [part for pair in pairs for module in pair for part in _parts(module)]


def _is_linear(part: nn.Module) -> bool:
    from torch_geometric.nn import Linear

    return type(part) in (nn.Linear, Linear)


def _name(part: nn.Module) -> str | None:
    """Return the name by which the ops know an activation."""
    if type(part) is nn.ReLU:
        return "relu"
    if type(part) is nn.SiLU:
        return "silu"
    if type(part) is nn.LeakyReLU and part.negative_slope == 0.2:
        return "leaky_relu"
    return None


def _monotone(part: nn.Module, reduce: str) -> nn.Module:
    """Return an activation that commutes with the reduction and maps 0 to 0."""
    rises = type(part) in (nn.ReLU, nn.Tanh, nn.Softsign)
    rises = rises or (type(part) is nn.LeakyReLU and part.negative_slope >= 0)
    rises = rises or (type(part) is nn.ELU and part.alpha >= 0)
    if not rises or reduce != "max":
        raise Unsupported(
            f"there is no kernel for {part} behind the last linear layer and {reduce}"
        )
    return part
