"""How large a difference is, beside how sure it is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from g2vlm_fast.eval.statistics_bootstrap import Array


def cliffs_delta(first: ArrayLike, second: ArrayLike) -> float:
    """Return ``P(a > b) - P(a < b)`` of random members a of the first and b of the second.

    In [-1, 1]; 0 for equal distributions. It knows neither pairs nor the size of a difference.
    Customary names: below 0.147 negligible, 0.33 small, 0.474 medium, else large (Romano et
    al., 2006).

    Args:
        first: ``[n]`` finite; second: ``[m]`` finite.

    Source: Cliff, "Dominance statistics", Psychological Bulletin 1993.
    """
    ours, theirs = _sample("cliffs_delta", first, 1), np.sort(_sample("cliffs_delta", second, 1))
    below = np.searchsorted(theirs, ours, side="left")
    above = len(theirs) - np.searchsorted(theirs, ours, side="right")
    return float((below - above).mean() / len(theirs))


def paired_d(differences: ArrayLike) -> float:
    """Return the mean of paired differences over their standard deviation: Cohen's d_z.

    In units of the spread between scenes; 0 where all differences are 0, and infinite where
    they are all equal otherwise. Source: Cohen, "Statistical Power Analysis", 1988, 2.3.5.
    """
    values = _sample("paired_d", differences, 2)
    mean, spread = float(values.mean()), float(values.std(ddof=1))
    if spread <= 1e-12 * abs(mean):
        return float(np.sign(mean) * np.inf) if mean else 0.0
    return mean / spread


def _sample(function: str, values: ArrayLike, least: int) -> Array:
    sample = np.asarray(values, dtype=np.float64).ravel()
    if sample.size < least or not np.isfinite(sample).all():
        raise ValueError(
            f"{function}: expected at least {least} finite values, got {sample.size} of which "
            f"{int((~np.isfinite(sample)).sum())} are NaN or infinite"
        )
    return sample
