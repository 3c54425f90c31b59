"""What a system is given of one scene, and what is true of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from g2vlm_fast.data import Query, Scene
from g2vlm_fast.data.rendering.primitives import Primitives
from g2vlm_fast.eval.metrics.boxes import Boxes


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceTruth:
    """The complete surface of a scene, in the world of what was given, metres.

    How far a prediction is from it is measured to its solids or its mesh where it has them, and
    else to the nearest of its points, which are then to be dense.
    """

    points: Tensor  # [S, 3] float32, uniform by area
    normals: Tensor  # [S, 3] float32, unit, into free space
    hidden: Tensor  # [S] bool: no given view sees it
    primitives: Primitives | None = None  # exact solids, where the scene is made of them
    mesh: tuple[Tensor, Tensor] | None = None  # vertices [N, 3] float32, faces [F, 3] int32


@dataclass(frozen=True, kw_only=True, eq=False)
class DepthTruth:
    """Depth along z of the given views, at the size of their images."""

    depth: Tensor  # [V, H, W] float32 metres, 0 where undefined
    missing: Tensor  # [V, H, W] bool: the system was given no depth here


@dataclass(frozen=True, kw_only=True, eq=False)
class GraphTruth:
    """The objects of a scene and what holds between them."""

    boxes: Boxes  # of K objects, metres
    class_names: tuple[str, ...]
    relations: NDArray[np.int8] | None  # [K, K, R] of ontology.RELATIONS: 1, 0, -1 undecided


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One scene of a benchmark; a truth that is None is of a task that is not asked here.

    Attributes:
        name: unique in the benchmark, fit for the name of a folder.
        given: what a system may look at; None where it is asked about boxes that nobody filmed.
        queries: phrases, questions and requests for captions, with what is true of them.
    """

    name: str
    given: Scene | None
    queries: tuple[Query, ...] = ()
    surface: SurfaceTruth | None = None
    depth: DepthTruth | None = None
    graph: GraphTruth | None = None

    def __post_init__(self) -> None:
        if self.given is not None and self.given.truth is not None:
            raise ValueError(f"case {self.name!r}: what is given must not hold the truth")

    @cached_property
    def asked(self) -> tuple[Query, ...]:
        """The texts without what is true of them."""
        return tuple(
            replace(
                query, answer=None, value=None, referred=None, program=None, objects=(), spoken=""
            )
            for query in self.queries
        )


class Benchmark(Protocol):
    """Cases in a fixed order, made when they are asked for.

    Attributes:
        name: for people.
        fingerprint: changes whenever what is given, asked or true changes.
    """

    @property
    def name(self) -> str: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def names(self) -> Sequence[str]:
        """The names of all cases, known without making them."""
        ...

    def case(self, index: int) -> Case: ...
