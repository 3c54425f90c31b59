"""Checks that metrics share; every message names the function, the argument and the remedy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def float_array(
    function: str, name: str, value: ArrayLike, shape: Sequence[int | str], *, finite: bool = True
) -> Array:
    """Return an array in float64 after checking its shape.

    Args:
        function: the metric, for the message.
        name: of the argument.
        value: anything that numpy takes.
        shape: lengths; a string stands for any length and names it.
        finite: refuse NaN and infinities.
    """
    array = np.asarray(value, dtype=np.float64)
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or length == wanted
        for length, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{function}: {name} must have shape [{', '.join(map(str, shape))}], "
            f"got {list(array.shape)}"
        )
    if finite and not np.isfinite(array).all():
        wrong = int(array.size - np.isfinite(array).sum())
        raise ValueError(
            f"{function}: {name} must be finite, but {wrong} of {array.size} values are NaN or "
            "infinite; leave them out where the metric allows a missing prediction"
        )
    return array


def thresholds_of(function: str, thresholds: Sequence[float]) -> tuple[float, ...]:
    """Return thresholds after checking that each is positive and finite."""
    for threshold in thresholds:
        if not 0 < threshold < np.inf:
            raise ValueError(
                f"{function}: thresholds must be positive and finite, got {threshold!r}"
            )
    return tuple(thresholds)


def same_keys(function: str, predicted: Sequence[object], truth: Sequence[object]) -> None:
    """Refuse predictions that miss a key of the truth, bring another, or bring one twice.

    A missing answer would shrink the denominator; whoever abstains must say so with an empty
    prediction under the key, which scores as a failure.
    """
    for side, keys in (("predictions", predicted), ("truth", truth)):
        if len(set(keys)) != len(keys):
            twice = sorted({str(key) for key in keys if list(keys).count(key) > 1})
            raise ValueError(f"{function}: {side} have ids that come twice: {twice[:5]}")
    missing = sorted(str(key) for key in set(truth) - set(predicted))
    extra = sorted(str(key) for key in set(predicted) - set(truth))
    if missing:
        raise ValueError(
            f"{function}: {len(missing)} of {len(truth)} ids have no prediction: {missing[:5]}; "
            "give an empty prediction, which counts as a failure"
        )
    if extra:
        raise ValueError(f"{function}: predictions of unknown ids: {extra[:5]}; remove them")
