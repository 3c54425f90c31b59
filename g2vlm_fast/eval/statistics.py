"""Intervals, tests, effect sizes and power over scenes, which are the independent units.

What each is worth at how many scenes is simulated in docs/statistics.md.
"""

from g2vlm_fast.eval.statistics_bootstrap import (
    METHODS,
    RESAMPLES,
    Array,
    Interval,
    Statistic,
    cluster_bootstrap,
    difference_of_ratios,
    ratio_of_sums,
    weighted_bootstrap,
    wilson_interval,
)
from g2vlm_fast.eval.statistics_comparison import (
    benjamini_hochberg,
    holm,
    mcnemar_test,
    sign_flip_test,
    swap_test,
    wilcoxon_test,
)
from g2vlm_fast.eval.statistics_effect_size import cliffs_delta, paired_d
from g2vlm_fast.eval.statistics_power import paired_power, scenes_needed, smallest_effect
from g2vlm_fast.eval.statistics_seeds import hierarchical_bootstrap, interquartile_mean

__all__ = [
    "METHODS",
    "RESAMPLES",
    "Array",
    "Interval",
    "Statistic",
    "benjamini_hochberg",
    "cliffs_delta",
    "cluster_bootstrap",
    "difference_of_ratios",
    "hierarchical_bootstrap",
    "holm",
    "interquartile_mean",
    "mcnemar_test",
    "paired_d",
    "paired_power",
    "ratio_of_sums",
    "scenes_needed",
    "sign_flip_test",
    "smallest_effect",
    "swap_test",
    "weighted_bootstrap",
    "wilcoxon_test",
    "wilson_interval",
]
