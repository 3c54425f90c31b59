"""The cases of each suite, as the specifications of the ops name them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops.specs import Cost, InputFactory, Inputs, OpSpec, all_specs, cast_inputs
from g2vlm_fast.ops.specs.compare import HALVES
from g2vlm_fast.profiling.calls import bytes_of
from g2vlm_fast.profiling.hardware import ceilings

# Inputs in rotation outgrow the last cache this many times over; a set beyond the limit does so
# by itself.
_ROTATION_BYTES = {"cuda": 4 * (50 << 20), "cpu": 4 * (32 << 20)}
_LONE_SET_BYTES = 1 << 30
_MAX_SETS = 8


@dataclass(frozen=True)
class Case:
    """One input of one op, on one device, in one dtype."""

    suite: str
    name: str
    spec: OpSpec
    draw: InputFactory
    device: str
    dtype: torch.dtype
    passes: tuple[str, ...]

    def input_sets(self) -> list[Inputs]:
        """Draw the sets that timed calls rotate through: the same sizes, other numbers."""
        first = self._draw(0)
        size = max(1, bytes_of(first))
        if "call" in self.passes or size > _LONE_SET_BYTES:
            return [first]
        count = min(_MAX_SETS, max(2, math.ceil(_ROTATION_BYTES[self.device] / size)))
        return [first, *(self._draw(seed) for seed in range(1, count))]

    def _draw(self, seed: int) -> Inputs:
        inputs = self.draw(torch.Generator().manual_seed(seed))
        return cast_inputs(inputs, self.dtype, self.device, float32_inputs=self.spec.float32_inputs)

    def floor_ms(self, inputs: Inputs, direction: str, outputs: Sequence[Tensor]) -> float | None:
        """Return the time that the bytes and operations of a pass need at the machine's ceilings.

        The backward pass reads the inputs and the gradients of ``outputs`` and writes the
        gradients of ``grad_inputs``; its operations are at least twice those of the forward pass.
        """
        if self.spec.cost is None or direction == "call":
            return None
        cost = self.spec.cost(inputs)
        if direction == "fwd_bwd":
            gradients = [inputs[name] for name in self.spec.grad_inputs if name in inputs]
            moved = sum(each.nbytes for each in [*outputs, *gradients] if isinstance(each, Tensor))
            cost = Cost(2 * cost.bytes + moved, 3 * cost.flops)
        return ceilings(self.device, self.dtype).floor_ms(cost)


def _specs() -> list[OpSpec]:
    from g2vlm_fast.profiling.peers.binding import BINDING  # which needs providers, not cases
    from g2vlm_fast.profiling.peers.rendering import SPECS
    from g2vlm_fast.profiling.peers.scatter import SCATTER
    from g2vlm_fast.profiling.peers.scene_pair import SCENE_PAIR

    return [*all_specs().values(), BINDING, *SPECS, SCENE_PAIR, SCATTER]


def _passes(spec: OpSpec) -> tuple[str, ...]:
    return ("fwd", "fwd_bwd") if spec.grad_inputs else ("fwd",)


def case_device(name: str) -> str:
    """Return where a timed case runs: names that begin with ``cpu_`` belong to the CPU."""
    return "cpu" if name.startswith("cpu_") else "cuda"


def timed_cases(suite: str | None = None) -> list[Case]:
    """Return the cases of ``suite``, or of all suites, whether or not this machine has a GPU."""
    found = []
    for spec in _specs():
        for name, draw in spec.timed.items():
            found.append(_timed_case(spec, name, draw))
        for name, draw in spec.called.items():
            called_in = "binding" if spec.suite == "binding" else "call"
            found.append(Case(called_in, name, spec, draw, "cpu", torch.float32, ("call",)))
    return [case for case in found if suite is None or case.suite == suite]


def _timed_case(spec: OpSpec, name: str, draw: InputFactory) -> Case:
    """On the CPU, the forward pass in single precision: what its kernels are for."""
    if case_device(name) == "cuda":
        passes = ("fwd",) if name in spec.timed_forward_only else _passes(spec)
        return Case(spec.suite, name, spec, draw, "cuda", spec.timed_dtype, passes)
    dtype = torch.float32 if spec.timed_dtype in HALVES else spec.timed_dtype
    return Case(spec.suite, name, spec, draw, "cpu", dtype, ("fwd",))


def small_cases(suite: str | None = None) -> list[Case]:
    """Return the test cases of the specifications, to check providers without timing them."""
    found = []
    for spec in _specs():
        if not spec.suite or suite not in (None, spec.suite):
            continue
        dtype = torch.float32 if torch.float32 in spec.tolerance else next(iter(spec.tolerance))
        for name, draw in spec.small.items():
            found.append(Case(spec.suite, name, spec, draw, "cpu", dtype, _passes(spec)))
    return found


def shaped_cases(
    entries: Sequence[Mapping[str, Any]], device: str, suite: str | None = None
) -> list[Case]:
    """Return cases of a user's own shapes.

    Args:
        entries: one mapping a case: ``op``, ``name``, and optionally ``dtype`` and ``device``;
            all other keys are the sizes that the op's specification asks for.
        device: where entries without a device run.
        suite: leave out ops of other suites.

    Raises:
        ValueError: an entry names no known op, or sizes that its op does not take.
    """
    specs = all_specs()
    found = []
    for position, entry in enumerate(entries):
        where = f"shapes entry {position}"
        if not isinstance(entry, Mapping):
            raise ValueError(f"{where}: must be a table of names and sizes, got {entry!r}")
        sizes = dict(entry)
        op = sizes.pop("op", None)
        spec = specs.get(op)
        if spec is None or spec.shaped is None:
            known = sorted(name for name, each in specs.items() if each.shaped is not None)
            raise ValueError(f"{where}: op must be one of {known}, got {op!r}")
        name = str(sizes.pop("name", f"{op}_{position}"))
        dtype = _dtype(where, sizes.pop("dtype", None), spec)
        place = sizes.pop("device", device)
        if place not in ("cpu", "cuda"):
            raise ValueError(f"{where}: device must be 'cpu' or 'cuda', got {place!r}")
        try:
            draw = spec.shaped(sizes)
        except (TypeError, ValueError, KeyError) as error:
            raise ValueError(f"{where} ({op} {name!r}): {error}") from error
        if suite is None or spec.suite == suite:
            found.append(Case(spec.suite, name, spec, draw, place, dtype, _passes(spec)))
    return found


def _dtype(where: str, name: Any, spec: OpSpec) -> torch.dtype:
    if name is None:
        return spec.timed_dtype
    names = {str(dtype).removeprefix("torch."): dtype for dtype in spec.tolerance}
    if name not in names:
        raise ValueError(f"{where}: dtype must be one of {sorted(names)}, got {name!r}")
    return names[name]
