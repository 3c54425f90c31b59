"""Where the fixed document frequencies of CIDEr come from.

``python -m g2vlm_fast.eval.scoring.caption_corpus`` writes them anew, which takes a minute and
makes another version of the scores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from g2vlm_fast.data import RoomConfig, generate_room, queries
from g2vlm_fast.data.rooms.splits import seeds_of
from g2vlm_fast.eval.facts import is_caption
from g2vlm_fast.eval.metrics.captioning import DocumentFrequencies
from g2vlm_fast.eval.metrics.language import tokens
from g2vlm_fast.eval.scoring.caption_frequencies import FILE

ROOMS = 500


def training_captions(count: int) -> list[str]:
    """Return the captions of the first rooms of the training split."""
    config = RoomConfig(image_size=(8, 8), views=(1, 1), sensor_noise=False)
    return [
        query.answer or ""
        for seed in seeds_of("train", count)
        for query in queries(generate_room(seed, config), seed, kinds=())
        if is_caption(query)
    ]


def frequencies_of(captions: Sequence[str]) -> DocumentFrequencies:
    """Return the frequencies of captions; n-grams of a single one are left out, as they may be."""
    found = DocumentFrequencies.of([[tokens(text)] for text in captions])
    return DocumentFrequencies(
        found.documents, {gram: count for gram, count in found.counts.items() if count > 1}
    )


def write_frequencies(frequencies: DocumentFrequencies, path: Path) -> None:
    """Write the file that :func:`~.caption_frequencies.caption_frequencies` reads."""
    counts = {" ".join(gram): count for gram, count in sorted(frequencies.counts.items())}
    text = json.dumps({"documents": frequencies.documents, "counts": counts}, indent=0)
    path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_frequencies(frequencies_of(training_captions(ROOMS)), Path(__file__).with_name(FILE))
