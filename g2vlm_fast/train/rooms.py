"""The stream of training batches: rooms that are introduced bit by bit, made ahead of time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from g2vlm_fast.data import (
    AnswerVocabulary,
    Query,
    RoomBatches,
    collate,
    queries,
    seeds_of,
)
from g2vlm_fast.data.collate import Tokenize
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.packing import EveryPlaceFrom
from g2vlm_fast.ontology import EVERYTHING, Ontology
from g2vlm_fast.records import SceneBatch, Targets
from g2vlm_fast.train.config import DataConfig

_REPLAY_STREAM, _TEXT_STREAM = 5, 6


EncodeTexts = Callable[[Tensor, Tensor], Tensor]
"""Packed token ids ``[L]`` and offsets ``[U + 1]`` to features ``[L, width]``."""


class Example(NamedTuple):
    """What a step trains on."""

    batch: SceneBatch
    targets: Targets
    text_features: Tensor | None  # [L, width] of the texts, where a frozen encoder was given


class GrowingRooms(RoomBatches, Dataset[Example]):
    """Batches of some new rooms and some that were seen before.

    Making a room costs more than a step of a small model. So that training never waits for long
    and never sees few rooms for long, every batch brings ``fresh`` rooms until all are known; the
    others are replayed at random. Batch ``index`` stays a function of the arguments alone.

    A room has the same texts whenever it comes, and a frozen language encoder reads all of them
    when the room is made: its features are a function of the room alone, down to their bits.

    Args:
        data: sizes of the stream.
        seed: of order, texts and samples.
        tokenize: the tokenizer of the language encoder.
        answer_vocabulary: the words of answers.
        ontology: the classes and relations of the model.
        encode_texts: the frozen language encoder, which must not remember texts; None where it is
            trained with the model.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        seed: int,
        tokenize: Tokenize,
        answer_vocabulary: AnswerVocabulary,
        ontology: Ontology = EVERYTHING,
        encode_texts: EncodeTexts | None = None,
    ) -> None:
        super().__init__(
            seeds_of("train", data.rooms),
            data.scenes_per_step,
            seed=seed,
            tokenize=tokenize,
            answer_vocabulary=answer_vocabulary,
            ontology=ontology,
            config=data.room_config(),
            texts_per_scene=data.texts_per_scene,
            num_surface_points=data.surface_points,
            num_query_points=data.query_points,
        )
        if not 0 <= data.fresh_per_step <= data.scenes_per_step:
            raise ValueError(
                f"DataConfig: fresh_per_step must be 0 to scenes_per_step "
                f"({data.scenes_per_step}), got {data.fresh_per_step}"
            )
        self.data = data
        self.encode_texts = encode_texts
        self._texts: dict[int, list[Query]] = {}
        self._features: dict[int, dict[str, Tensor]] = {}

    def seeds_of_batch(self, index: int) -> list[int]:
        """Return the rooms of batch ``index``: the new ones, then replayed ones."""
        known = self.known_after(self.data, index)
        new = self.seeds[known : self.known_after(self.data, index + 1)]
        draws = Draws(self.seed, _REPLAY_STREAM, index)
        replayed = draws.shuffled(self.seeds[:known])[: self.scenes_per_batch - len(new)]
        return [*new, *replayed]

    def __getitem__(self, index: int) -> Example:
        """Return batch ``index``: of the texts of each room, some, drawn anew in every batch."""
        draws = Draws(self.seed, _TEXT_STREAM, index)
        chosen = self.seeds_of_batch(index)
        texts = [self._some_texts(seed, draws) for seed in chosen]
        batch, targets = self._collate(chosen, texts, seed=draws.integer(0, 2**31 - 1))
        if self.encode_texts is None:
            return Example(batch, targets, None)
        features = [
            self._features_of(seed)[text.text]
            for seed, of_room in zip(chosen, texts, strict=True)
            for text in of_room
        ]
        return Example(batch, targets, torch.cat(features))

    def _texts_of(self, seed: int) -> list[Query]:
        if seed not in self._texts:
            self._texts[seed] = queries(self.room(seed), seed)
        return self._texts[seed]

    def _some_texts(self, seed: int, draws: Draws) -> list[Query]:
        """Draw texts of a room: its statement and caption always, others at random."""
        statement, caption, *others = self._texts_of(seed)
        return [statement, caption, *draws.shuffled(others)][: self.texts_per_scene]

    def _features_of(self, seed: int) -> dict[str, Tensor]:
        """Return the features of every text of a room."""
        if seed not in self._features:
            assert self.encode_texts is not None
            texts = self._texts_of(seed)
            batch, _ = self._collate([seed], [texts], samples=False)
            assert batch.text_ids is not None
            assert batch.text_offsets is not None
            features = self.encode_texts(batch.text_ids, batch.text_offsets)
            sizes = batch.text_offsets.diff().tolist()
            named = zip(texts, features.split(sizes), strict=True)
            self._features[seed] = {text.text: feature for text, feature in named}
        return self._features[seed]

    def _collate(
        self, seeds: list[int], texts: list[list[Query]], *, samples: bool = True, seed: int = 0
    ) -> tuple[SceneBatch, Targets]:
        return collate(
            [self.room(seed) for seed in seeds],
            texts,
            image_size=self.config.image_size,
            tokenize=self.tokenize,
            answer_vocabulary=self.answer_vocabulary,
            ontology=self.ontology,
            num_surface_points=self.num_surface_points if samples else 0,
            num_query_points=self.num_query_points if samples else 0,
            seed=seed,
        )

    @staticmethod
    def known_after(data: DataConfig, batches: int) -> int:
        """Return how many rooms the first batches hold."""
        if batches == 0:
            return 0
        return min(data.scenes_per_step + data.fresh_per_step * (batches - 1), data.rooms)


def prefetched(
    batches: Dataset[Example], index: int, *, workers: int, ahead: int = 4
) -> Iterator[Example]:
    """Return the endless stream of batches from ``index`` on, made by other processes.

    The stream is the same for every number of workers; 0 makes the batches in this process.
    Every worker keeps rooms of its own, so more of them repeat work until all rooms are made.
    """
    if workers == 0:
        return (batches[number] for number in itertools.count(index))
    loader: DataLoader[Any] = DataLoader(
        batches,
        batch_size=None,
        sampler=EveryPlaceFrom(index),
        num_workers=workers,
        prefetch_factor=ahead,
        pin_memory=torch.cuda.is_available(),
    )
    return iter(loader)
