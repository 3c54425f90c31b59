"""Batches of generated rooms as a function of (seed, index) alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from g2vlm_fast.data.collate import Tokenize, collate
from g2vlm_fast.data.draws import Draws
from g2vlm_fast.data.language.answers import AnswerVocabulary
from g2vlm_fast.data.language.texts import queries
from g2vlm_fast.data.recent import Recent
from g2vlm_fast.data.rooms.config import RoomConfig
from g2vlm_fast.data.rooms.generate import generate_room
from g2vlm_fast.data.scene import Query, Scene
from g2vlm_fast.data.stored_rooms import StoredRooms
from g2vlm_fast.ontology import EVERYTHING, Ontology
from g2vlm_fast.records import SceneBatch, Targets

_ORDER_STREAM, _TEXT_STREAM = 3, 4
_SEED_SPACE = 2**31 - 1

MEMORY = 4 * 2**30
"""Bytes of rooms that a stream of batches keeps unless it is told otherwise."""


def draw_texts(scene: Scene, count: int, seed: int) -> list[Query]:
    """Draw texts about a scene: its statement, its caption, then others at random.

    Args:
        scene: a scene with truth.
        count: how many; fewer come back where the scene has not as many.
        seed: 0 or larger; another seed gives other words and questions.
    """
    statement, caption, *others = queries(scene, seed)
    return [statement, caption, *Draws(seed, _TEXT_STREAM).shuffled(others)][:count]


def make_batch(
    scenes: Sequence[Scene],
    *,
    seed: int,
    image_size: tuple[int, int],
    tokenize: Tokenize,
    answer_vocabulary: AnswerVocabulary,
    ontology: Ontology = EVERYTHING,
    texts_per_scene: int = 8,
    num_surface_points: int = 1024,
    num_query_points: int = 512,
) -> tuple[SceneBatch, Targets]:
    """Collate scenes with texts and samples that are a function of ``seed``."""
    draws = Draws(seed, _TEXT_STREAM)
    texts = [draw_texts(s, texts_per_scene, draws.integer(0, _SEED_SPACE)) for s in scenes]
    return collate(
        scenes,
        texts,
        image_size=image_size,
        tokenize=tokenize,
        answer_vocabulary=answer_vocabulary,
        ontology=ontology,
        num_surface_points=num_surface_points,
        num_query_points=num_query_points,
        seed=draws.integer(0, _SEED_SPACE),
    )


class RoomBatches:
    """Batches of generated rooms; batch ``index`` is a function of the arguments alone.

    Every epoch goes through the rooms in an order of its own, but for those at its end that do not
    fill a batch, with texts and samples of its own;
    rooms are made when first needed, and kept while memory lasts: about 0.4 MB each at 3 views of
    48 x 64, 30 MB at 8 views of 240 x 320.

    Args:
        seeds: the rooms, for example ``seeds_of("train", 256)``.
        scenes_per_batch: rooms in a batch; at most ``len(seeds)``.
        seed: of order, texts and samples.
        config: what rooms are drawn from; its ``image_size`` is that of the batches.
        tokenize: the tokenizer of the language encoder.
        answer_vocabulary: the words of answers.
        ontology: the classes and relations of the model.
        texts_per_scene: texts of every room in a batch.
        num_surface_points: surface samples of every room.
        num_query_points: signed-distance queries of every room.
        device: where rooms are rendered, as of :func:`generate_room`.
        stored: rooms to be read instead of being made.
        memory: bytes of rooms that are kept; others are made anew when they come again.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        scenes_per_batch: int,
        *,
        seed: int,
        tokenize: Tokenize,
        answer_vocabulary: AnswerVocabulary,
        ontology: Ontology = EVERYTHING,
        config: RoomConfig | None = None,
        texts_per_scene: int = 8,
        num_surface_points: int = 1024,
        num_query_points: int = 512,
        device: torch.device | str = "cpu",
        stored: StoredRooms | None = None,
        memory: int = MEMORY,
    ) -> None:
        if not 1 <= scenes_per_batch <= len(seeds):
            raise ValueError(
                f"RoomBatches: scenes_per_batch must be 1 to {len(seeds)} (the number of seeds), "
                f"got {scenes_per_batch}"
            )
        self.seeds = list(seeds)
        self.scenes_per_batch = scenes_per_batch
        self.seed = seed
        self.tokenize = tokenize
        self.answer_vocabulary = answer_vocabulary
        self.ontology = ontology
        self.config = config or RoomConfig()
        self.texts_per_scene = texts_per_scene
        self.num_surface_points = num_surface_points
        self.num_query_points = num_query_points
        self.device = device
        self.stored = stored
        self._rooms = Recent(self._make, memory)

    def room(self, seed: int) -> Scene:
        """Return the room of a seed, read or made when it is not in memory."""
        return self._rooms[seed]

    def _make(self, seed: int) -> Scene:
        if self.stored is not None:
            return self.stored.room(seed)
        return generate_room(seed, self.config, device=self.device)

    def seeds_of_batch(self, index: int) -> list[int]:
        """Return the rooms of batch ``index``."""
        per_epoch = len(self.seeds) // self.scenes_per_batch
        epoch, position = divmod(index, per_epoch)
        order = Draws(self.seed, _ORDER_STREAM, epoch).shuffled(self.seeds)
        start = position * self.scenes_per_batch
        return order[start : start + self.scenes_per_batch]

    def batch(self, index: int) -> tuple[SceneBatch, Targets]:
        """Return batch ``index`` (0, 1, ...; epochs follow each other without end)."""
        return make_batch(
            [self.room(seed) for seed in self.seeds_of_batch(index)],
            seed=Draws(self.seed, _TEXT_STREAM, index).integer(0, _SEED_SPACE),
            image_size=self.config.image_size,
            tokenize=self.tokenize,
            answer_vocabulary=self.answer_vocabulary,
            ontology=self.ontology,
            texts_per_scene=self.texts_per_scene,
            num_surface_points=self.num_surface_points,
            num_query_points=self.num_query_points,
        )

    def batches_from(self, index: int) -> Iterator[tuple[SceneBatch, Targets]]:
        """Return the endless stream of batches from ``index`` on."""
        while True:
            yield self.batch(index)
            index += 1
