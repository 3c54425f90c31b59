"""Systems that are not models: rules, guessers, fusion, and folders of predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType

from g2vlm_fast.eval.protocol.systems import System
from g2vlm_fast.eval.systems.completion import ExtrudeToFloor, PoissonReconstruction
from g2vlm_fast.eval.systems.fusion import TsdfFusion
from g2vlm_fast.eval.systems.guessers import Chance, MajorityAnswer, QuestionOnly
from g2vlm_fast.eval.systems.height_prior import HeightPrior
from g2vlm_fast.eval.systems.rules import ClassFrequency, ShuffledRooms
from g2vlm_fast.eval.systems.rules_on_boxes import RulesOnTrueBoxes
from g2vlm_fast.eval.systems.training_rooms import TrainingRooms

__all__ = ["SYSTEMS"]


@cache
def _height_prior() -> HeightPrior:
    """The one whose rooms are counted once, however many benchmarks it is judged on."""
    return HeightPrior()


@cache
def _training() -> TrainingRooms:
    """The rooms that all guessers share, so that they are made once."""
    return TrainingRooms()


SYSTEMS: Mapping[str, Callable[[], System]] = MappingProxyType(
    {
        "tsdf": TsdfFusion,
        "tsdf-inpainted": lambda: TsdfFusion(inpainted=True),
        "poisson": PoissonReconstruction,
        "extrude-to-floor": ExtrudeToFloor,
        "height-prior": _height_prior,
        "chance": lambda: Chance(_training()),
        "majority": lambda: MajorityAnswer(_training()),
        "question-only": lambda: QuestionOnly(_training()),
        "shuffled-geometry": lambda: ShuffledRooms(_training()),
        "class-frequency": lambda: ClassFrequency(_training()),
        "rules": lambda: RulesOnTrueBoxes(_training()),
    }
)
"""Systems that need no training, by name; ``docs/baselines.md`` says how good they are."""
