"""Who is timed: this package, its reference, and every peer that is installed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from g2vlm_fast.ops.specs import Inputs, OpSpec
from g2vlm_fast.ops.specs.compare import ops_on
from g2vlm_fast.profiling.truth import on_reference

Function = Callable[..., Any]
Adapter = Callable[[Inputs], Function]


class NotOffered(Exception):
    """A provider has no such case (ragged batches, more neighbours, another device)."""


@dataclass(frozen=True)
class Provider:
    """An implementation of some ops.

    ``adapters`` maps an op to what makes, from one input set, a function with the op's signature
    and outputs. Layouts that a user of the peer would hold anyway (padded batches, a sparse
    matrix) are made by the adapter, outside the time.
    """

    name: str
    adapters: Mapping[str, Adapter]
    modules: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu", "cuda")
    differentiable: bool = True
    partial: bool = True
    """Gives the first outputs of the op, perhaps not all."""

    def absent(self) -> str | None:
        """Return the module that is missing, or None where the provider can run."""
        return next((name for name in self.modules if not _importable(name)), None)

    def function(self, spec: OpSpec, inputs: Inputs) -> Function:
        return self.adapters[spec.op](inputs)

    def context(self, spec: OpSpec) -> contextlib.AbstractContextManager[Any]:
        """Return the context in which the provider's calls run."""
        return contextlib.nullcontext()


@dataclass(frozen=True)
class _Own(Provider):
    """This package on the backend it chooses by itself."""

    def function(self, spec: OpSpec, inputs: Inputs) -> Function:
        return spec.function


@dataclass(frozen=True)
class _Reference(Provider):
    """The plain-torch reference, in the dtype of the case."""

    def function(self, spec: OpSpec, inputs: Inputs) -> Function:
        return spec.reference or spec.function

    def context(self, spec: OpSpec) -> contextlib.AbstractContextManager[Any]:
        return on_reference(spec)


OWN = _Own("g2vlm_fast", {}, partial=False)
REFERENCE = _Reference("reference", {}, partial=False)
_PEERS = (
    "nearest",
    "point_to_mesh",
    "graph",
    "edge_attention",
    "scatter",
    "geometry_attention",
    "binding",
)


@cache
def peers() -> tuple[Provider, ...]:
    """Return every known peer, installed or not."""
    modules = [import_module(f"g2vlm_fast.profiling.peers.{name}") for name in _PEERS]
    return tuple(peer for module in modules for peer in module.PEERS)


def providers_of(spec: OpSpec, device: str) -> tuple[Provider, ...]:
    """Return who can be timed on ``spec`` here, this package first.

    What has no other implementation to be held against has no reference.
    """
    has_reference = spec.reference is not None or ops_on(spec, "reference")
    present = [
        peer
        for peer in peers()
        if spec.op in peer.adapters and device in peer.devices and peer.absent() is None
    ]
    return (OWN, *([REFERENCE] if has_reference else []), *present)


def absent_peers(ops: set[str]) -> dict[str, str]:
    """Return the peers of ``ops`` that are not installed, with the module each lacks."""
    found = {}
    for peer in peers():
        missing = peer.absent()
        if missing is not None and ops & peer.adapters.keys():
            found[peer.name] = missing
    return found


@cache
def _importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False
