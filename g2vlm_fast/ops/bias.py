"""What a geometric attention bias is made of.

A :class:`BiasSpec` is a static sum of terms. Each term is a function of how a key stands to a
query, ``difference = k_position - q_position`` in metres, and of columns of learned parameters,
one row a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from g2vlm_fast.ops._checks import check_integer, check_number

MAX_GAUSSIAN_POWERS = 8
MAX_RADIAL_BASIS = 16


@dataclass(frozen=True)
class Distance:
    """``-slope * sqrt(|difference|^2 + eps^2)``: one slope a head, per metre.

    ``eps`` (metres) keeps the gradient finite where two positions coincide.
    """

    code: ClassVar[int] = 0
    num_parameters: ClassVar[int] = 1
    eps: float = 1e-3

    def __post_init__(self) -> None:
        _check_eps("Distance", self.eps)


@dataclass(frozen=True)
class SquaredDistance:
    """``-slope * |difference|^2``: one slope a head, per square metre."""

    code: ClassVar[int] = 1
    num_parameters: ClassVar[int] = 1


@dataclass(frozen=True)
class Direction:
    """``weight . difference``: a vector of three a head, per metre.

    Its axes are those of the world, or those of each query where ``q_frame`` is given (say left
    of it, behind it, above it).
    """

    code: ClassVar[int] = 2
    num_parameters: ClassVar[int] = 3


@dataclass(frozen=True)
class NormalDot:
    """``weight * q_normal . k_normal``: one weight a head, of the cosine between unit normals."""

    code: ClassVar[int] = 3
    num_parameters: ClassVar[int] = 1


@dataclass(frozen=True)
class GaussianPowers:
    """``sum_m weight_m * t^m`` with ``t = exp(-precision * |difference|^2)``, m from 1 to count.

    The m-th power is a Gaussian whose precision is m times that of the first, so that a mixture
    of ``count`` widths costs one exponential.

    Columns: the precision (per square metre), then the weights. ``count`` is at most 8. A negative
    precision makes functions that grow with distance; rows where they overflow are NaN.
    """

    code: ClassVar[int] = 4
    count: int = 5

    def __post_init__(self) -> None:
        check_integer("GaussianPowers", "count", self.count, 1, MAX_GAUSSIAN_POWERS)

    @property
    def num_parameters(self) -> int:
        return 1 + self.count


@dataclass(frozen=True)
class RadialBasis:
    """``sum_m weight_m * exp(-precision_m * (r - center_m)^2)``, r the softened distance.

    Gaussian radial basis functions (Broomhead and Lowe, 1988) of
    ``r = sqrt(|difference|^2 + eps^2)``, whose centers and widths are learned as well.

    Columns: the weights, the centers (metres), the precisions (per square metre), ``count`` of
    each. ``count`` is at most 16; ``eps`` (metres) is that of :class:`Distance`. Of negative
    precisions see :class:`GaussianPowers`.
    """

    code: ClassVar[int] = 5
    count: int = 5
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_integer("RadialBasis", "count", self.count, 1, MAX_RADIAL_BASIS)
        _check_eps("RadialBasis", self.eps)

    @property
    def num_parameters(self) -> int:
        return 3 * self.count


Term = Distance | SquaredDistance | Direction | NormalDot | GaussianPowers | RadialBasis
_KINDS = Term.__args__
_NAMES = ", ".join(kind.__name__ for kind in _KINDS)


@dataclass(frozen=True, init=False)
class BiasSpec:
    """A static sum of terms, each kind at most once; no terms means plain attention.

    ``BiasSpec(Distance(), Direction())`` has ``num_parameters == 4``: column 0 is the slope of
    the distance, columns 1 to 3 are the direction, in the order of the terms. Terms that soften
    the distance do so by one ``eps``, in metres; it is 0 where no term does.

    Attributes:
        codes: the numbers by which kernels know the terms.
        counts: how many columns each term has for kernels: a weight of normals becomes the
            vector that is multiplied with the normal of the key.
    """

    terms: tuple[Term, ...]
    num_parameters: int = field(compare=False)
    codes: tuple[int, ...] = field(compare=False, repr=False)
    counts: tuple[int, ...] = field(compare=False, repr=False)
    eps: float = field(compare=False, repr=False)

    def __init__(self, *terms: Term) -> None:
        for term in terms:
            if not isinstance(term, _KINDS):
                raise TypeError(f"BiasSpec: terms must be instances of {_NAMES}, got {term!r}")
        shown = ", ".join(map(repr, terms))
        codes = tuple(term.code for term in terms)
        if len(set(codes)) != len(codes):
            raise ValueError(f"BiasSpec: each kind of term may appear once, got {shown}")
        softening = {term.eps for term in terms if isinstance(term, Distance | RadialBasis)}
        if len(softening) > 1:
            raise ValueError(f"BiasSpec: terms must agree on eps, got {shown}")
        columns = [term.num_parameters for term in terms]
        counts = (
            3 if isinstance(term, NormalDot) else n for term, n in zip(terms, columns, strict=True)
        )
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "num_parameters", sum(columns))
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "counts", tuple(counts))
        object.__setattr__(self, "eps", softening.pop() if softening else 0.0)


def _check_eps(term: str, eps: float) -> None:
    check_number(term, "eps", eps)
    if not (math.isfinite(eps) and eps > 0):
        raise ValueError(f"{term}: eps must be positive and finite, got {eps}")


def _refuse(term: object) -> NoReturn:
    raise NotImplementedError(
        f"{type(term).__name__} is not available yet; the terms that exist are {_NAMES}"
    )


class RadialTable:
    """A table over distance. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)


class AxisTable:
    """A table over each axis. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)
