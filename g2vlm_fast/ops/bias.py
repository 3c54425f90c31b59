"""What a geometric attention bias is made of.

A :class:`BiasSpec` is a static sum of terms. Each term is a function of how a key stands to a
query, ``difference = k_position - q_position`` in metres, and of columns of learned parameters,
one row a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

from g2vlm_fast.ops._checks import check_integer, check_number

MAX_GAUSSIAN_POWERS = 8
MAX_RADIAL_BASIS = 16
MAX_KNOTS = 64
MAX_REACH = 63  # of Point Transformer V3 at patches of 8192 points


@dataclass(frozen=True)
class Distance:
    """``-slope * sqrt(|difference|^2 + eps^2)``: one slope a head, per metre.

    ``eps`` (metres) keeps the gradient finite where two positions coincide.
    """

    code: ClassVar[int] = 0
    num_parameters: ClassVar[int] = 1
    eps: float = 1e-3

    def __post_init__(self) -> None:
        _check_positive("Distance", "eps", self.eps)


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
        _check_positive("RadialBasis", "eps", self.eps)

    @property
    def num_parameters(self) -> int:
        return 3 * self.count


@dataclass(frozen=True)
class RadialTable:
    """A value at each of ``count`` distances, interpolated linearly between them.

    Knot k stands at ``maximum * k / (count - 1)`` metres of ``r = sqrt(|difference|^2 + eps^2)``;
    beyond the last knot the bias keeps its value. Any function of distance can be baked into such
    a table: a mixture, a small network, buckets. Positions get the slope of the interval that r is
    in, at a knot that of the interval beyond it, and none from the last knot on.

    Columns: the values, from the nearest knot to the farthest. ``count`` is from 2 to 64,
    ``maximum`` is in metres, ``eps`` (metres) is that of :class:`Distance`.
    """

    code: ClassVar[int] = 6
    count: int = 32
    maximum: float = 4.0
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_integer("RadialTable", "count", self.count, 2, MAX_KNOTS)
        _check_positive("RadialTable", "maximum", self.maximum)
        _check_positive("RadialTable", "eps", self.eps)

    @property
    def num_parameters(self) -> int:
        return self.count


@dataclass(frozen=True)
class AxisTable:
    """A value for each whole number of cells along each axis of the world, whatever ``q_frame``.

    The relative positions of Point Transformer V3 (Wu et al., CVPR 2024): the sum over the axes of
    ``table_axis[steps]`` with ``steps = floor(difference_axis / cell + 0.5)``, where steps beyond
    ``reach`` count as ``reach``, on either side. It is constant piece by piece, so that positions
    get no gradient.

    Columns: the table of x from ``-reach`` to ``reach``, then those of y and z. ``cell`` is in
    metres. ``reach`` is at most 63: the published model takes ``int(2 * (4 * patch)^(1/3))``, which
    is 31 at a patch of 1024 points and 63 at 8192. Its steps go from key to query: flip each of its
    tables.
    """

    code: ClassVar[int] = 7
    reach: int = 31
    cell: float = 1.0

    def __post_init__(self) -> None:
        check_integer("AxisTable", "reach", self.reach, 1, MAX_REACH)
        _check_positive("AxisTable", "cell", self.cell)

    @property
    def num_parameters(self) -> int:
        return 3 * (2 * self.reach + 1)


Table = RadialTable | AxisTable
Term = (
    Distance
    | SquaredDistance
    | Direction
    | NormalDot
    | GaussianPowers
    | RadialBasis
    | RadialTable
    | AxisTable
)
TABLE_CODES = frozenset({RadialTable.code, AxisTable.code})
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
        eps: metres, of the terms that soften the distance.
        maximum: metres, of the table over distance; 0 where there is none.
        cell: metres, of the tables over axes; 0 where there are none.
        has_tables: whether a term is a table.
    """

    terms: tuple[Term, ...]
    num_parameters: int = field(compare=False)
    codes: tuple[int, ...] = field(compare=False, repr=False)
    counts: tuple[int, ...] = field(compare=False, repr=False)
    eps: float = field(compare=False, repr=False)
    maximum: float = field(compare=False, repr=False)
    cell: float = field(compare=False, repr=False)
    has_tables: bool = field(compare=False, repr=False)

    def __init__(self, *terms: Term) -> None:
        for term in terms:
            if not isinstance(term, _KINDS):
                raise TypeError(f"BiasSpec: terms must be instances of {_NAMES}, got {term!r}")
        shown = ", ".join(map(repr, terms))
        codes = tuple(term.code for term in terms)
        if len(set(codes)) != len(codes):
            raise ValueError(f"BiasSpec: each kind of term may appear once, got {shown}")
        softening = {
            term.eps for term in terms if isinstance(term, Distance | RadialBasis | RadialTable)
        }
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
        maxima = (term.maximum for term in terms if isinstance(term, RadialTable))
        object.__setattr__(self, "maximum", next(maxima, 0.0))
        cells = (term.cell for term in terms if isinstance(term, AxisTable))
        object.__setattr__(self, "cell", next(cells, 0.0))
        object.__setattr__(self, "has_tables", not TABLE_CODES.isdisjoint(codes))


def _check_positive(term: str, argument: str, value: float) -> None:
    check_number(term, argument, value)
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{term}: {argument} must be positive and finite, got {value}")
