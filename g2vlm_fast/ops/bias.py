"""What a geometric attention bias is made of.

A :class:`BiasSpec` is a static sum of terms. Each term is linear in its learned parameters, so
that one head's bias is ``sum_p theta_p * phi_p(difference)`` with
``difference = k_position - q_position`` in metres.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, NoReturn

from g2vlm_fast.ops._checks import check_number


@dataclass(frozen=True)
class Distance:
    """``-slope * sqrt(|difference|^2 + eps^2)``: one slope a head, per metre.

    ``eps`` (metres) keeps the gradient finite where two positions coincide.
    """

    code: ClassVar[int] = 0
    num_parameters: ClassVar[int] = 1
    eps: float = 1e-3

    def __post_init__(self) -> None:
        check_number("Distance", "eps", self.eps)
        if not (math.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"Distance: eps must be positive and finite, got {self.eps}")


@dataclass(frozen=True)
class SquaredDistance:
    """``-slope * |difference|^2``: one slope a head, per square metre."""

    code: ClassVar[int] = 1
    num_parameters: ClassVar[int] = 1


@dataclass(frozen=True)
class Direction:
    """``weight . difference``: a vector of three a head, per metre, in the world frame."""

    code: ClassVar[int] = 2
    num_parameters: ClassVar[int] = 3


Term = Distance | SquaredDistance | Direction


@dataclass(frozen=True, init=False)
class BiasSpec:
    """A static sum of terms, each at most once; no terms means plain attention.

    ``BiasSpec(Distance(), Direction())`` has ``num_parameters == 4``: column 0 is the slope of
    the distance, columns 1 to 3 are the direction, in the order of the terms.
    """

    terms: tuple[Term, ...]
    num_parameters: int = field(compare=False)
    codes: tuple[int, ...] = field(compare=False, repr=False)
    counts: tuple[int, ...] = field(compare=False, repr=False)
    eps: float = field(compare=False, repr=False)

    def __init__(self, *terms: Term) -> None:
        for term in terms:
            if not isinstance(term, Distance | SquaredDistance | Direction):
                raise TypeError(
                    "BiasSpec: terms must be Distance(), SquaredDistance() or Direction(), got "
                    f"{term!r}"
                )
        codes = tuple(term.code for term in terms)
        if len(set(codes)) != len(codes):
            raise ValueError(
                f"BiasSpec: each kind of term may appear once, got {', '.join(map(repr, terms))}"
            )
        lengths = {term.eps for term in terms if isinstance(term, Distance)}
        object.__setattr__(self, "terms", terms)
        object.__setattr__(self, "num_parameters", sum(term.num_parameters for term in terms))
        object.__setattr__(self, "codes", codes)
        object.__setattr__(self, "counts", tuple(term.num_parameters for term in terms))
        object.__setattr__(self, "eps", lengths.pop() if lengths else 0.0)


def _refuse(term: object) -> NoReturn:
    raise NotImplementedError(
        f"{type(term).__name__} is not available yet; the terms that exist are Distance, "
        "SquaredDistance and Direction"
    )


class NormalDot:
    """Cosine between normals. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)


class GaussianPowers:
    """Powers of one Gaussian of the distance. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)


class RadialBasis:
    """Free Gaussians of the distance. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)


class RadialTable:
    """A table over distance. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)


class AxisTable:
    """A table over each axis. Not available yet: raises ``NotImplementedError``."""

    def __init__(self, *_: Any, **__: Any) -> None:
        _refuse(self)
