"""The document frequencies of CIDEr for captions of rooms, fixed in a file.

CIDEr weighs a phrase by how few captions have it. Taken from the captions that happen to be scored,
these weights would make the score of a scene depend on which others stand beside it; here they come
once and for all from rooms of the training split (:mod:`g2vlm_fast.eval.scoring.caption_corpus`).
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from g2vlm_fast.eval.metrics.captioning import DocumentFrequencies

FILE = "caption_frequencies.json"


@cache
def caption_frequencies() -> DocumentFrequencies:
    """Return the frequencies that every CIDEr of the protocol uses."""
    told = json.loads((files("g2vlm_fast.eval.scoring") / FILE).read_text(encoding="utf-8"))
    counts = {tuple(gram.split(" ")): count for gram, count in told["counts"].items()}
    return DocumentFrequencies(told["documents"], counts)
