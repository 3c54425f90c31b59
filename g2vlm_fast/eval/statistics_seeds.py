"""Training seeds and scenes together: what another training and other scenes would give."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from g2vlm_fast.eval.statistics_bootstrap import (
    RESAMPLES,
    Interval,
    Statistic,
    check_level,
    ratio_of_sums,
    row_blocks,
)


def hierarchical_bootstrap(
    per_seed_and_scene: ArrayLike,
    statistic: Statistic = ratio_of_sums,
    *,
    confidence: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Return the percentile interval of the mean over training seeds of a statistic.

    Every seed is judged on the same scenes, so seeds and scenes are crossed: each resample draws
    seeds and, independently, scenes, recomputes the statistic of each drawn seed on the drawn
    scenes and averages over seeds. Resampling both counts a little variance twice, so that the
    interval is rather too wide than too narrow.

    Args:
        per_seed_and_scene: ``[S, B, sums]``: sums of each scene under each training seed.
        statistic: maps sums ``[..., sums]`` to values ``[...]``.
        confidence: coverage asked for, between 0 and 1.
        resamples: bootstrap samples.
        seed: of the resampling.

    Returns:
        The interval. With one training seed it cannot know what another would give; the method
        is then called ``"percentile (one seed: scenes alone)"``. With less than two scenes it is
        undefined.

    Raises:
        ValueError: the shape is wrong, or a sum is not finite.

    Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007.
    """
    table = np.asarray(per_seed_and_scene, dtype=np.float64)
    if table.ndim != 3 or not table.shape[0] or not table.shape[2]:
        raise ValueError(
            "hierarchical_bootstrap: expected [seeds, scenes, sums] with at least one seed, got "
            f"shape {list(table.shape)}"
        )
    if not np.isfinite(table).all():
        raise ValueError(
            "hierarchical_bootstrap: sums must be finite; a run that failed on a scene scores its "
            "worst there"
        )
    check_level(confidence)
    seeds, scenes, _ = table.shape
    if scenes < 2:
        return Interval(np.nan, np.nan, "undefined")
    generator = np.random.default_rng(seed)
    parts = []
    for rows in row_blocks(resamples, scenes + seeds):
        scene_weights = generator.multinomial(scenes, np.full(scenes, 1 / scenes), size=rows)
        seed_weights = generator.multinomial(seeds, np.full(seeds, 1 / seeds), size=rows)
        by_seed = statistic(np.einsum("rb,sbk->rsk", scene_weights, table))
        drawn = np.where(seed_weights > 0, by_seed, 0.0)  # a seed left out may be undefined
        parts.append((drawn * seed_weights).sum(1) / seeds)
    values = np.concatenate(parts)
    values = values[np.isfinite(values)]
    if not values.size:
        return Interval(np.nan, np.nan, "undefined")
    low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
    name = "percentile" if seeds > 1 else "percentile (one seed: scenes alone)"
    return Interval(float(low), float(high), name)


def interquartile_mean(values: ArrayLike) -> float:
    """Return the mean of the middle half: a robust summary over seeds and scenes.

    Source: Agarwal et al., "Deep reinforcement learning at the edge of the statistical
    precipice", NeurIPS 2021.
    """
    from scipy.stats import trim_mean

    sample = np.asarray(values, dtype=np.float64).ravel()
    if not sample.size or not np.isfinite(sample).all():
        raise ValueError(
            f"interquartile_mean: expected finite values, at least one, got {sample.size}"
        )
    return float(trim_mean(sample, 0.25))
