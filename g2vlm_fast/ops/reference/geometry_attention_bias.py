"""The bias of :func:`g2vlm_fast.ops.geometry_attention` in plain torch: value and derivatives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.ops.bias import (
    TABLE_CODES,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    RadialTable,
    SquaredDistance,
)
from g2vlm_fast.ops.reference.geometry_attention_tables import Knots, Steps


class Pairs(NamedTuple):
    """How keys stand to queries, and how they face."""

    difference: Tensor  # [..., 3], from query to key
    square: Tensor  # [...]
    length: Tensor  # [...], sqrt(square + eps^2)
    k_normal: Tensor | None  # [..., 3]


class BiasTerms(NamedTuple):
    """The kinds of terms, and how many columns of the parameters or tables belong to each."""

    codes: Sequence[int]
    counts: Sequence[int]
    maximum: float  # metres, of the table over distance
    cell: float  # metres, of the tables over axes


class BiasDerivatives(NamedTuple):
    """Derivatives of the bias; the one by the difference is ``radial * difference + direction``."""

    parameters: list[Tensor]  # one a column, [...]
    tables: Iterator[Tensor]  # one a column, [...]
    radial: Tensor  # [...]
    direction: Tensor  # [..., 3]
    k_normal: Tensor  # [..., 3]


def pairs_of(difference: Tensor, eps: float, k_normal: Tensor | None = None) -> Pairs:
    """Return the pairs of a difference ``[..., 3]`` in metres."""
    square = difference.square().sum(-1)
    return Pairs(difference, square, (square + eps**2).sqrt(), k_normal)


def bias_of(terms: BiasTerms, parameters: Tensor, tables: Tensor | None, pairs: Pairs) -> Tensor:
    """Return the bias of pairs ``[...]``.

    The parameters ``[..., P]`` and the tables ``[..., C]`` broadcast against the pairs.
    """
    total = torch.zeros_like(pairs.square)
    for code, columns in _columns(terms, parameters):
        if code == Distance.code:
            total = total - columns[0] * pairs.length
        elif code == SquaredDistance.code:
            total = total - columns[0] * pairs.square
        elif code == Direction.code:
            for weight, coordinate in zip(columns, pairs.difference.unbind(-1), strict=True):
                total = total + weight * coordinate
        elif code == NormalDot.code:
            assert pairs.k_normal is not None
            for weight, coordinate in zip(columns, pairs.k_normal.unbind(-1), strict=True):
                total = total + weight * coordinate
        elif code == GaussianPowers.code:
            precision, *weights = columns
            power = (-precision * pairs.square).exp()
            total = total + _polynomial(weights, power)
        elif code == RadialBasis.code:
            for weight, center, precision in _basis_functions(columns):
                total = total + weight * (-precision * (pairs.length - center).square()).exp()
    for places, table in _tables(terms, tables, pairs):
        total = total + places.value(table)
    return total


def derivatives_of(
    terms: BiasTerms, parameters: Tensor, tables: Tensor | None, pairs: Pairs
) -> BiasDerivatives:
    """Return the derivatives of :func:`bias_of`."""
    difference, square, length, k_normal = pairs
    looked_up = list(_tables(terms, tables, pairs))
    slopes: list[Tensor] = []
    radial = torch.zeros_like(square)
    direction = normal = parameters.new_zeros(3)
    for code, columns in _columns(terms, parameters):
        if code == Distance.code:
            slopes.append(-length)
            radial = radial - columns[0] / length
        elif code == SquaredDistance.code:
            slopes.append(-square)
            radial = radial - 2 * columns[0]
        elif code == Direction.code:
            slopes.extend(difference.unbind(-1))
            direction = torch.stack(columns, -1)
        elif code == NormalDot.code:
            assert k_normal is not None
            slopes.extend(k_normal.unbind(-1))
            normal = torch.stack(columns, -1)
        elif code == GaussianPowers.code:
            precision, *weights = columns
            power = (-precision * square).exp()
            growth = _polynomial([m * each for m, each in enumerate(weights, 1)], power)
            slopes += [-square * growth, *(power**m for m in range(1, len(weights) + 1))]
            radial = radial - 2 * precision * growth
        elif code == RadialBasis.code:
            bumps, by_center, by_precision = [], [], []
            for weight, center, precision in _basis_functions(columns):
                offset = length - center
                bump = (-precision * offset.square()).exp()
                pull = 2 * weight * precision * offset * bump
                bumps.append(bump)
                by_center.append(pull)
                by_precision.append(-weight * bump * offset.square())
                radial = radial - pull / length
            slopes += bumps + by_center + by_precision
    for places, table in looked_up:
        if isinstance(places, Knots):
            radial = radial + places.slope(table) / length
    shares = (share for places, _ in looked_up for share in places.shares())
    return BiasDerivatives(slopes, shares, radial, direction, normal)


def _columns(terms: BiasTerms, parameters: Tensor) -> Iterator[tuple[int, list[Tensor]]]:
    """Yield the code and the columns ``[...]`` of each term that is a formula."""
    formulas = [
        (code, count)
        for code, count in zip(terms.codes, terms.counts, strict=True)
        if code not in TABLE_CODES
    ]
    groups = parameters.split([count for _, count in formulas], -1) if formulas else ()
    for (code, _), group in zip(formulas, groups, strict=True):
        yield code, list(group.unbind(-1))


def _tables(
    terms: BiasTerms, tables: Tensor | None, pairs: Pairs
) -> Iterator[tuple[Knots | Steps, Tensor]]:
    """Yield where pairs fall in each term that is a table, and the table ``[..., count]``."""
    first = 0
    for code, count in zip(terms.codes, terms.counts, strict=True):
        if code not in TABLE_CODES:
            continue
        assert tables is not None
        table = tables[..., first : first + count]
        first += count
        if code == RadialTable.code:
            yield Knots(pairs.length, count, terms.maximum), table
        else:
            yield Steps(pairs.difference, count, terms.cell), table


def _polynomial(weights: list[Tensor], power: Tensor) -> Tensor:
    """Return ``sum_m weights[m - 1] * power^m`` (Horner's rule)."""
    total = torch.zeros_like(power)
    for weight in reversed(weights):
        total = (total + weight) * power
    return total


def _basis_functions(columns: list[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield the weight, the center and the precision of each radial basis function."""
    count = len(columns) // 3
    return zip(columns[:count], columns[count : 2 * count], columns[2 * count :], strict=True)
