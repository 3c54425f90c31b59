"""Philox-4x32-10 in plain torch: random words that depend on a counter and a key alone.

J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3",
2011. Words of 32 bits are kept in int64, which holds every intermediate product.
"""

from __future__ import annotations

from torch import Tensor

_ROUNDS = 10
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_WORD = 0xFFFFFFFF

Words = tuple[Tensor, Tensor, Tensor, Tensor]


def philox(counter: Words, key: tuple[Tensor, Tensor]) -> Words:
    """Return the four random words of counters and keys, all int64 in [0, 2^32), broadcast."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        high0, low0 = _product(c0, _MULTIPLIERS[0])
        high1, low1 = _product(c2, _MULTIPLIERS[1])
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + _WEYL[0]) & _WORD, (k1 + _WEYL[1]) & _WORD
    return c0, c1, c2, c3


def seed_words(seed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the low and the high word of an int64 seed, two's complement."""
    return seed & _WORD, (seed >> 32) & _WORD


def _product(word: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """Return the high and the low word of a product, by halves of the factor: no overflow."""
    low = word * (factor & 0xFFFF)
    middle = word * (factor >> 16) + (low >> 16)
    return middle >> 16, ((middle & 0xFFFF) << 16) | (low & 0xFFFF)
