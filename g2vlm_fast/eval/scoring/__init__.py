"""Scores of a prediction of one scene, as sums from which numbers over scenes are computed."""
