"""What a specification says of an op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

Inputs = dict[str, Any]
InputFactory = Callable[[torch.Generator], Inputs]


@dataclass(frozen=True)
class Cost:
    """The least work of a call: each input read once, each output written once."""

    bytes: int
    flops: int


@dataclass(frozen=True)
class Tolerance:
    """Largest relative L2 error against float64."""

    forward: float
    gradient: float


@dataclass(frozen=True)
class Hostile:
    """A bad call: ``change`` spoils good inputs; the op raises ``error`` naming ``argument``."""

    name: str
    change: Callable[[Inputs], Inputs]
    error: type[Exception]
    argument: str


@dataclass(frozen=True)
class OpSpec:
    """How to make inputs for an op, and how exact it must be.

    ``small`` and ``timed`` map case names to factories that draw float64 CPU inputs (keyword
    arguments of ``function``) from a generator; :func:`cast_inputs` moves them to a dtype and a
    device. Inputs named in ``float32_inputs`` (positions, bias parameters) stay float32 where
    the others become half precision. What a case is held against is ``reference`` in float64,
    on the very numbers that the backend under test got.
    """

    op: str
    """Stem of the op; its backends are those of the first of ``kernels``."""
    function: Callable[..., Any]
    """The public function."""
    small: Mapping[str, InputFactory]
    """Test cases: a few dozen rows, as hostile as is legal."""
    timed: Mapping[str, InputFactory]
    """Benchmark cases, by the names of the suite; those named ``cpu_...`` run on the CPU."""
    grad_inputs: tuple[str, ...]
    """Differentiable arguments of ``function``."""
    tolerance: Mapping[torch.dtype, Tolerance]
    """Input dtypes that are supported, and how exact each is."""
    float32_inputs: tuple[str, ...] = ()
    cost: Callable[[Inputs], Cost] | None = None
    suite: str = ""
    """Benchmark suite; empty where the op has no timed cases."""
    timed_forward_only: tuple[str, ...] = ()
    """Benchmark cases of inference: no backward pass is timed."""
    timed_dtype: torch.dtype = torch.float32
    """Dtype of the timed cases."""
    called: Mapping[str, InputFactory] = field(default_factory=dict)
    """Tiny inputs whose eager cost is timed on the CPU in float32; names that end in ``_grad``
    with a graph of autograd, the others without."""
    shaped: Callable[[Mapping[str, Any]], InputFactory] | None = None
    """From sizes by name, as a user writes them for ``g2vlm-fast profile --shapes``, to inputs;
    raises ValueError for a size that it does not know or that is missing."""
    kernels: tuple[str, ...] = ()
    """Registered ops that a call runs, forward first; the stem alone where left out."""
    reference: Callable[..., Any] | None = None
    """The truth; ``function`` on the ``reference`` backend where left out."""
    traceable: bool = True
    """False where sizes of outputs depend on values: a call reads one back and is not compiled,
    and need not be an op registered with torch."""
    half_is_upcast: bool = False
    """True where ``function`` hands float16 and bfloat16 to its kernels as float32."""
    smooth: tuple[str, ...] | None = None
    """Small cases that gradcheck may perturb (no ties, no kinks); None for all."""
    refused: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By backend, the small cases for which it has no kernel: it raises ``BackendError``."""
    hostile: tuple[Hostile, ...] = ()
    errors: Callable[[Inputs, list[Any], list[Any]], list[float]] | None = None
    """Errors of outputs from (float64 inputs, actual, expected); None for the relative L2
    error of each. For ops whose integer outputs may differ where two answers are equally
    good."""

    @property
    def registered(self) -> tuple[str, ...]:
        return self.kernels or (self.op,)
