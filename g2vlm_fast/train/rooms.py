"""The stream of training batches: rooms that are introduced bit by bit, made ahead of time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from g2vlm_fast.data import (
    AnswerVocabulary,
    Query,
    RoomBatches,
    RoomConfig,
    collate,
    queries,
    seeds_of,
)
from g2vlm_fast.data.collate import Tokenize
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.records import SceneBatch, Targets
from g2vlm_fast.train.config import DataConfig

_REPLAY_STREAM, _TEXT_STREAM = 5, 6


class GrowingRooms(RoomBatches, Dataset[tuple[SceneBatch, Targets]]):
    """Batches of some new rooms and some that were seen before.

    Making a room costs more than a step of a small model. So that training never waits for long
    and never sees few rooms for long, every batch brings ``fresh`` rooms until all are known; the
    others are replayed at random. Batch ``index`` stays a function of the arguments alone.

    Args:
        data: sizes of the stream.
        seed: of order, texts and samples.
        tokenize: the tokenizer of the language encoder.
        answer_vocabulary: the words of answers.
    """

    def __init__(
        self,
        data: DataConfig,
        *,
        seed: int,
        tokenize: Tokenize,
        answer_vocabulary: AnswerVocabulary,
    ) -> None:
        super().__init__(
            seeds_of("train", data.rooms),
            data.scenes_per_step,
            seed=seed,
            tokenize=tokenize,
            answer_vocabulary=answer_vocabulary,
            config=RoomConfig(image_size=data.image_size, views=data.views),
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
        self._texts: dict[int, list[Query]] = {}

    def seeds_of_batch(self, index: int) -> list[int]:
        """Return the rooms of batch ``index``: the new ones, then replayed ones."""
        known = self.known_after(self.data, index)
        new = self.seeds[known : self.known_after(self.data, index + 1)]
        draws = Draws(self.seed, _REPLAY_STREAM, index)
        replayed = draws.shuffled(self.seeds[:known])[: self.scenes_per_batch - len(new)]
        return [*new, *replayed]

    def batch(self, index: int) -> tuple[SceneBatch, Targets]:
        """Return batch ``index``: of the texts of each room, some, drawn anew in every batch."""
        draws = Draws(self.seed, _TEXT_STREAM, index)
        chosen = self.seeds_of_batch(index)
        return collate(
            [self.room(seed) for seed in chosen],
            [self._some_texts(seed, draws) for seed in chosen],
            image_size=self.config.image_size,
            tokenize=self.tokenize,
            answer_vocabulary=self.answer_vocabulary,
            num_surface_points=self.num_surface_points,
            num_query_points=self.num_query_points,
            seed=draws.integer(0, 2**31 - 1),
        )

    def _some_texts(self, seed: int, draws: Draws) -> list[Query]:
        """Draw texts of a room: its statement and caption always, others at random.

        A room has the same texts whenever it comes, so that a frozen language encoder, which
        remembers them, reads each once.
        """
        if seed not in self._texts:
            self._texts[seed] = queries(self.room(seed), seed)
        statement, caption, *others = self._texts[seed]
        return [statement, caption, *draws.shuffled(others)][: self.texts_per_scene]

    @staticmethod
    def known_after(data: DataConfig, batches: int) -> int:
        """Return how many rooms the first batches hold."""
        if batches == 0:
            return 0
        return min(data.scenes_per_step + data.fresh_per_step * (batches - 1), data.rooms)

    def __getitem__(self, index: int) -> tuple[SceneBatch, Targets]:
        return self.batch(index)


class _From(Sampler[int]):
    """All indices from one on."""

    def __init__(self, index: int) -> None:
        self.index = index

    def __iter__(self) -> Iterator[int]:
        index = self.index
        while True:
            yield index
            index += 1


def prefetched(
    batches: GrowingRooms, index: int, *, workers: int, ahead: int = 4
) -> Iterator[tuple[SceneBatch, Targets]]:
    """Return the endless stream of batches from ``index`` on, made by other processes.

    The stream is the same for every number of workers; 0 makes the batches in this process.
    Every worker keeps rooms of its own, so more of them repeat work until all rooms are made.
    """
    if workers == 0:
        return batches.batches_from(index)
    loader: DataLoader[Any] = DataLoader(
        batches,
        batch_size=None,
        sampler=_From(index),
        num_workers=workers,
        prefetch_factor=ahead,
    )
    return iter(loader)
