"""Scores of a prediction of one scene, as sums from which numbers over scenes are computed."""

from g2vlm_fast.eval.scoring.galleries import RetrievalEntry
from g2vlm_fast.eval.scoring.retrieval import rank_entries, retrieval_rows
from g2vlm_fast.eval.scoring.scene import SCORES, score_case, score_named
from g2vlm_fast.eval.scoring.score import VERSION, Judgement, Score
from g2vlm_fast.eval.scoring.usable import contradiction

__all__ = [
    "SCORES",
    "VERSION",
    "Judgement",
    "RetrievalEntry",
    "Score",
    "contradiction",
    "rank_entries",
    "retrieval_rows",
    "score_case",
    "score_named",
]
