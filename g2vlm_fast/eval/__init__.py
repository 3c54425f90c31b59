"""The evaluator: metrics with intervals over scenes, each beside its chance level.

``g2vlm_fast.eval.metrics`` and ``g2vlm_fast.eval.statistics`` score anybody's predictions and need
no model: the names below are looked up at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from g2vlm_fast.eval.evaluation import DEFINITIONS, evaluate
    from g2vlm_fast.eval.facts import room_facts
    from g2vlm_fast.eval.metric import Definition, Metric
    from g2vlm_fast.eval.priors import Priors, RoomFacts
    from g2vlm_fast.eval.table import to_json, to_table, verdict

_HOME = {
    "DEFINITIONS": "evaluation",
    "Definition": "metric",
    "Metric": "metric",
    "Priors": "priors",
    "RoomFacts": "priors",
    "evaluate": "evaluation",
    "room_facts": "facts",
    "to_json": "table",
    "to_table": "table",
    "verdict": "table",
}

__all__ = [
    "DEFINITIONS",
    "Definition",
    "Metric",
    "Priors",
    "RoomFacts",
    "evaluate",
    "room_facts",
    "to_json",
    "to_table",
    "verdict",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
