"""Run layers of PyTorch Geometric on the ops of this package, without changing the model.

``patch()`` replaces the ``forward`` of ``EdgeConv``, ``PointNetConv``, ``GraphConv``, ``SAGEConv``
and ``GATv2Conv``, for all their modules, until ``unpatch()`` or the end of a ``with`` block::

    with pyg.patch(model) as patched:
        print(patched)  # which modules run on ours, and why others do not
        model(x, edge_index)

A layer runs on ours where its network is ``Linear``, ``Linear, activation`` or ``Linear,
activation, Linear`` (with ReLU, SiLU or LeakyReLU of slope 0.2 between; behind the last one, before
a maximum, any that rises and keeps 0), its aggregation is a sum, a mean or a maximum (a minimum
too where there is no network), and its edges are a tensor. All else runs on the original, and a
warning of the logger ``g2vlm_fast.compat.pyg`` says why, once for each reason.

Graphs are built once for each tensor ``edge_index`` and kept as long as it, so hand the same tensor
to all layers. Results agree to rounding. Different on purpose:

- The gradient of a maximum goes to the first edge that attains it; PyG's is split among equals.
- Sums run in a fixed order, in float32 for half precision, so results are the same in every run.
- Second derivatives raise: run them without the patch.
- ``EdgeConv`` computes ``(W1 - W2) x_i + W2 x_j`` for ``W1 x_i + W2 (x_j - x_i)``: where neighbours
  are far more alike than features are large, half precision loses what PyG keeps.

Under ``torch.compile`` the originals run; before ``torch.jit.script``, which does not take what
replaces them, call ``unpatch()``.
"""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn

from g2vlm_fast.compat._edge_graphs import EdgeGraphs
from g2vlm_fast.compat._pyg_aggregations import GATV2_CONV, GRAPH_CONV, SAGE_CONV
from g2vlm_fast.compat._pyg_checks import StandIn
from g2vlm_fast.compat._pyg_convolutions import EDGE_CONV, POINT_CONV
from g2vlm_fast.compat._pyg_networks import Unsupported
from g2vlm_fast.ops import BackendError

__all__ = ["ModuleReport", "Patch", "patch", "unpatch"]

_STAND_INS = (EDGE_CONV, POINT_CONV, GRAPH_CONV, SAGE_CONV, GATV2_CONV)
_logger = logging.getLogger(__name__)
_active: Patch | None = None


class ModuleReport(NamedTuple):
    """Whether a module of a model runs on ours."""

    name: str  # in the model
    kind: str  # its class
    refusal: str | None  # why it does not run on ours; None where it does

    def __str__(self) -> str:
        runs = "runs on g2vlm_fast" if self.refusal is None else f"runs on PyG: {self.refusal}"
        return f"{self.name or '(the model)'} ({self.kind}): {runs}"


class Patch:
    """The layers of PyG that are replaced now; a context that puts them back at its end."""

    def __init__(self) -> None:
        self.refusals: Counter[tuple[str, str]] = Counter()
        """How many calls the original ran, by class and reason."""
        self.modules: tuple[ModuleReport, ...] = ()
        """Of the model that was given to :func:`patch`."""
        self._graphs = EdgeGraphs(_logger)
        self._originals: dict[type, Callable[..., Any]] = {}

    def report(self, model: nn.Module) -> tuple[ModuleReport, ...]:
        """Say of every layer of message passing in a model whether it runs on ours.

        Only what the modules show is known: a call with edges of another kind than a tensor, or a
        dtype without a kernel, still runs on the original, with a warning.
        """
        from torch_geometric.nn import MessagePassing

        layers = [each for each in model.named_modules() if isinstance(each[1], MessagePassing)]
        return tuple(
            ModuleReport(name, type(module).__name__, self._refusal(module))
            for name, module in layers
        )

    def __enter__(self) -> Patch:
        return self

    def __exit__(self, *_: object) -> None:
        if _active is self:
            unpatch()

    def __str__(self) -> str:
        return "\n".join(map(str, self.modules))

    def _refusal(self, module: nn.Module) -> str | None:
        for kind, stand_in in _stand_ins().items():
            if isinstance(module, kind):
                try:
                    stand_in.check(module)
                except Unsupported as refusal:
                    return str(refusal)
                return None
        return "there is nothing that stands for its class"

    def _replace(self, kind: Any, stand_in: StandIn) -> None:
        original = kind.forward

        @functools.wraps(original)
        def forward(module: Any, *args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                return original(module, *args, **kwargs)
            try:
                return stand_in.run(module, self._graphs, *args, **kwargs)
            except (Unsupported, BackendError) as refusal:
                self._note(type(module).__name__, str(refusal))
            return original(module, *args, **kwargs)

        self._originals[kind] = original
        kind.forward = forward

    def _note(self, kind: str, refusal: str) -> None:
        if not self.refusals[kind, refusal]:
            _logger.warning("%s runs on PyG: %s", kind, refusal)
        self.refusals[kind, refusal] += 1

    def _restore(self) -> None:
        for kind, original in self._originals.items():
            kind.forward = original  # type: ignore[attr-defined]


def patch(model: nn.Module | None = None) -> Patch:
    """Replace the layers of PyG, for every module there is or will be.

    Args:
        model: reported on (``print(patch(model))``), and logged: what runs on ours at level INFO,
            what does not as warnings. None for no report.

    Raises:
        ImportError: PyTorch Geometric is not installed.
        RuntimeError: the layers are replaced already.
    """
    global _active
    if _active is not None:
        raise RuntimeError("patch: the layers of PyG are replaced already; call unpatch() before")
    patched = Patch()
    if model is not None:
        patched.modules = patched.report(model)
        for module in patched.modules:
            _logger.log(logging.INFO if module.refusal is None else logging.WARNING, "%s", module)
    for kind, stand_in in _stand_ins().items():
        patched._replace(kind, stand_in)
    _active = patched
    return patched


def unpatch() -> None:
    """Put the layers of PyG back; nothing happens where they are not replaced."""
    global _active
    if _active is not None:
        _active._restore()
    _active = None


def _stand_ins() -> dict[type, StandIn]:
    try:
        import torch_geometric.nn
    except ImportError as missing:
        raise ImportError(
            f"compat.pyg: PyTorch Geometric must be importable, got {missing}; "
            "pip install torch_geometric"
        ) from missing
    return {getattr(torch_geometric.nn, each.name): each for each in _STAND_INS}
