"""The evaluator: metrics with intervals over scenes, each beside its chance level."""

from g2vlm_fast.eval.evaluate import DEFINITIONS, evaluate
from g2vlm_fast.eval.facts import room_facts
from g2vlm_fast.eval.metric import Definition, Metric
from g2vlm_fast.eval.priors import Priors, RoomFacts
from g2vlm_fast.eval.table import to_json, to_table, verdict

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
