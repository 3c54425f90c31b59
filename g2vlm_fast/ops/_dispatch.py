"""Which backend runs an op: one table, read each time an op runs.

Every op registers its implementations by backend name. The choice is made by the op, the
device, the dtype and, where a backend has kernels for some sizes alone, the arguments;
:func:`use_backend` and the environment variable ``G2VLM_BACKEND`` (``reference``, or
``nearest=cpu,edge_conv=reference``; read once) override it. Nothing falls back in silence: what
cannot run where it was asked to raises.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

BACKENDS = ("reference", "cpu", "cuda", "triton")

FLOAT32 = frozenset({torch.float32})
FLOAT32_64 = frozenset({torch.float32, torch.float64})
FLOATS = frozenset({torch.float16, torch.bfloat16, torch.float32, torch.float64})


class BackendError(RuntimeError):
    """The chosen backend cannot run here; the message says why and what to do."""


@dataclass(frozen=True)
class Implementation:
    """One op on one backend."""

    run: Callable[..., Any]
    devices: frozenset[str]
    dtypes: frozenset[torch.dtype]
    kernels: str
    """The backend whose kernels run, mostly its own."""
    lacks: Callable[..., str | None] | None = None
    """From the arguments of ``run`` to what it has no kernel for, None where it has one."""


_TABLE: dict[str, dict[str, Implementation]] = {}
_overrides: list[dict[str, str]] = []


def without_autocast(run: Callable[..., Any]) -> Callable[..., Any]:
    """Keep autocast from rounding the matrix products inside an implementation made of torch."""

    @functools.wraps(run)
    def plain(*arguments: Any, **named: Any) -> Any:
        with torch._C._DisableAutocast():
            return run(*arguments, **named)

    return plain


def register_backend(
    op: str,
    backend: str,
    run: Callable[..., Any],
    *,
    devices: tuple[str, ...],
    dtypes: frozenset[torch.dtype],
    kernels: str | None = None,
    lacks: Callable[..., str | None] | None = None,
) -> None:
    """Add an implementation of ``op``.

    Where no backend is asked for, an op runs on the first one registered that takes the device, the
    dtype and, by its ``lacks``, the arguments, and whose kernels this machine can run.

    Args:
        op: name of the registered op.
        backend: one of :data:`BACKENDS`.
        run: takes the arguments of the op.
        devices: types of devices.
        dtypes: of the tensor that an op is chosen by.
        kernels: the backend whose kernels run where they are not its own, as for a backward pass
            that goes with a forward pass of another kind.
        lacks: from the arguments of ``run`` to what it has no kernel for, None where it has one.
    """
    if backend not in BACKENDS:
        raise ValueError(f"register_backend: backend must be one of {BACKENDS}, got {backend!r}")
    if backend == "reference":
        run = without_autocast(run)
    entry = Implementation(run, frozenset(devices), dtypes, kernels or backend, lacks)
    _TABLE.setdefault(op, {})[backend] = entry
    _choose.cache_clear()


_PARTS = ("_backward", "_build", "_refit", "_query")


def stem(op: str) -> str:
    """Return the name that chooses for ``op`` and for all other parts of the same work."""
    for part in _PARTS:
        op = op.removesuffix(part)
    return op


def stems() -> tuple[str, ...]:
    """Return the names that choose, one for an op and its backward pass."""
    return tuple(sorted({stem(op) for op in _TABLE}))


@contextlib.contextmanager
def use_backend(backend: str, *ops: str) -> Iterator[None]:
    """Run ``ops`` (all of them when none is named) on ``backend`` inside the ``with`` block.

    An op's name chooses for its forward and its backward pass together. The choice holds for the
    whole process, because autograd runs the backward pass of GPU tensors on threads of its own.
    """
    if backend not in BACKENDS:
        raise ValueError(f"use_backend: backend must be one of {BACKENDS}, got {backend!r}")
    for op in ops:
        if not isinstance(op, str) or op not in stems():
            raise ValueError(f"use_backend: {op!r} is not an op; ops are {list(stems())}")
    choices = dict.fromkeys(ops or ("*",), backend)
    _overrides.append(choices)
    try:
        yield
    finally:
        del _overrides[next(i for i, each in enumerate(_overrides) if each is choices)]


def parse_choices(value: str) -> dict[str, str]:
    """Parse ``"reference"`` or ``"nearest=cpu,edge_conv=reference"``; ``"*"`` is every op."""
    choices = {}
    for entry in filter(None, value.split(",")):
        op, _, backend = entry.rpartition("=")
        if backend.strip() not in BACKENDS:
            raise BackendError(
                f"G2VLM_BACKEND={value!r}: {backend!r} is not a backend; use one of {BACKENDS}, "
                "alone or as op=backend separated by commas"
            )
        choices[op.strip() or "*"] = backend.strip()
    return choices


@cache
def _environment() -> dict[str, str]:
    choices = parse_choices(os.environ.get("G2VLM_BACKEND", ""))
    unknown = choices.keys() - {*stems(), "*"}
    if unknown:
        raise BackendError(f"G2VLM_BACKEND: {sorted(unknown)} are no ops; ops are {list(stems())}")
    return choices


def _requested(op: str) -> str | None:
    """Return the backend asked for, the innermost choice first, or None."""
    if not _overrides and not _environment():
        return None
    for _, choices in overrides():
        for name in (stem(op), "*"):
            if name in choices:
                return choices[name]
    return None


def overrides() -> list[tuple[str, dict[str, str]]]:
    """Return the choices in force, the one that decides first.

    Each is ``"use_backend"`` or ``"G2VLM_BACKEND"`` with its backends by op, ``"*"`` for all ops.
    """
    found = [("use_backend", dict(choices)) for choices in reversed(_overrides)]
    if _environment():
        found.append(("G2VLM_BACKEND", dict(_environment())))
    return found


@cache
def unavailable(backend: str) -> str | None:
    """Return why ``backend`` cannot run on this machine, or None where it can."""
    if backend in ("reference", "cpu"):
        return None
    interpreted = backend == "triton" and os.environ.get("TRITON_INTERPRET") == "1"
    if backend == "cuda":
        from g2vlm_fast import _C

        if not _C.cuda_architectures:
            return "this build has no CUDA kernels; rebuild with -Ccmake.define.G2VLM_CUDA=ON"
    if backend == "triton":
        from importlib.util import find_spec

        if find_spec("triton") is None:
            return "triton is not installed; pip install 'g2vlm-fast[gpu]'"
    if not interpreted and not torch.cuda.is_available():
        return "torch sees no CUDA device"
    return None


def _default(op: str, device: str, dtype: torch.dtype, passed_over: tuple[str, ...]) -> str:
    on_device = [
        backend
        for backend, entry in _TABLE[op].items()
        if backend != "reference"
        and device in entry.devices
        # The interpreter of Triton is for tests, on request.
        and (backend, device) != ("triton", "cpu")
    ]
    if not on_device:
        raise BackendError(
            f"{op}: no kernel for {device} tensors; run it on the reference implementation with "
            f"use_backend('reference', '{stem(op)}')"
        )
    left = [each for each in on_device if each not in passed_over] or on_device
    fitting = [each for each in left if dtype in _TABLE[op][each].dtypes] or left
    usable = (each for each in fitting if unavailable(_TABLE[op][each].kernels) is None)
    return next(usable, fitting[0])


@cache
def _choose(
    op: str,
    requested: str | None,
    device: str,
    dtype: torch.dtype,
    passed_over: tuple[str, ...] = (),
) -> str:
    backend = requested or _default(op, device, dtype, passed_over)
    implementation = _TABLE[op].get(backend)
    if implementation is None:
        raise BackendError(
            f"{op}: there is no {backend} implementation; it has {sorted(_TABLE[op])}"
        )
    if device not in implementation.devices:
        raise BackendError(
            f"{op}: the {backend} backend takes {sorted(implementation.devices)} tensors, "
            f"got {device}; move the tensors or choose another backend"
        )
    if dtype not in implementation.dtypes:
        names = sorted(str(each).removeprefix("torch.") for each in implementation.dtypes)
        raise BackendError(
            f"{op}: the {backend} backend takes {', '.join(names)}, got "
            f"{str(dtype).removeprefix('torch.')}; cast the input or choose another backend"
        )
    reason = unavailable(implementation.kernels)
    if reason is not None:
        raise BackendError(f"{op}: the {backend} backend cannot run: {reason}")
    return backend


def backend_of(op: str, device: str, dtype: torch.dtype) -> str:
    """Return the backend that ``op`` runs on now, or raise :class:`BackendError`.

    Where that backend has not all kernels of an op, the next one runs what it lacks.
    """
    return _choose(op, _requested(op), device, dtype)


def _device_of(key: Tensor) -> str:
    return "cpu" if key.is_cpu else key.device.type


def implementation(op: str, key: Tensor, arguments: tuple[Any, ...] = ()) -> Callable[..., Any]:
    """Return what runs ``op`` now on tensors of ``key``'s device and dtype.

    ``arguments`` are what it will be called with, for ops of which a backend has not all kernels:
    the next backend runs what the first one lacks, unless the first one was asked for by name.
    """
    device = _device_of(key)
    requested = _requested(op)
    passed_over: tuple[str, ...] = ()
    while True:
        backend = _choose(op, requested, device, key.dtype, passed_over)
        found = _TABLE[op][backend]
        lacking = None if found.lacks is None else found.lacks(*arguments)
        if lacking is None:
            return found.run
        if requested or backend in passed_over:
            raise BackendError(
                f"{op}: the {backend} backend has no kernel yet for {lacking}; "
                "choose another backend"
            )
        passed_over = (*passed_over, backend)


def table() -> dict[str, dict[str, Implementation]]:
    """Return every op's implementations, for reports and tests."""
    return {op: dict(implementations) for op, implementations in _TABLE.items()}
