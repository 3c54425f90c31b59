"""Whether a prediction is of the case that it is scored on; what is not, fails and is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from g2vlm_fast.data.interchange import ScenePrediction
from g2vlm_fast.eval.protocol.cases import Case
from g2vlm_fast.eval.scoring.frames import another_frame

UNIT_FACTOR = 30.0
"""How many times too large a prediction must be to be taken for one in another unit.

An inch is 1/39 of a metre, and a prediction that is too small for its scene is still beyond this
in centimetres.
"""


@dataclass(frozen=True)
class Usable:
    """What is scored, and why it says nothing if it had to be put aside."""

    prediction: ScenePrediction
    failure: str = ""


def usable(case: Case, prediction: ScenePrediction | None, failure: str = "") -> Usable:
    """Return a prediction if it can be scored on a case, and else one that says nothing.

    Args:
        case: what it should be about.
        prediction: None where the system failed.
        failure: why it did.
    """
    if prediction is not None:
        failure = contradiction(case, prediction)
        if not failure:
            return Usable(prediction)
    return Usable(ScenePrediction(scene=case.name, system="none"), failure or "no prediction")


def contradiction(case: Case, prediction: ScenePrediction) -> str:
    """Say why a prediction cannot be of a case; empty where it can.

    It names another scene or a view that the scene has not; it is more than :data:`UNIT_FACTOR`
    times too large; its cloud or its mesh fits the scene in another frame, and not in its world.
    What fits nowhere is no contradiction: it is scored as it is.
    """
    if prediction.scene != case.name:
        return f"the prediction is of scene {prediction.scene!r}, not of {case.name!r}"
    views = 0 if case.given is None else case.given.num_views
    beyond = [view for view in prediction.views if view >= views]
    if beyond:
        return f"the prediction is of view {beyond[0]}, but the scene has {views} views"
    return _another_unit(case, prediction) or _another_frame(case, prediction)


def _another_unit(case: Case, prediction: ScenePrediction) -> str:
    sizes: list[tuple[str, float, float]] = []
    if case.surface is not None:
        truth = _spread(case.surface.points.numpy())
        for name in ("points", "vertices"):
            cloud = getattr(prediction, name)
            if cloud is not None:
                sizes.append((name, _spread(cloud), truth))
    if case.depth is not None and prediction.depth is not None:
        sizes.append(("depth", _positive(prediction.depth), _positive(case.depth.depth.numpy())))
    if case.graph is not None:
        boxes = np.array([thing.size for thing in prediction.objects])
        sizes.append(("sizes of objects", _positive(boxes), _positive(case.graph.boxes.size)))
    for name, said, true in sizes:
        if said > UNIT_FACTOR * true > 0:
            return f"{name} are {said / true:.0f} times too large for the scene; write metres"
    return ""


def _another_frame(case: Case, prediction: ScenePrediction) -> str:
    if case.surface is None:
        return ""
    for name in ("points", "vertices"):
        cloud = getattr(prediction, name)
        if cloud is not None:
            frame = another_frame(torch.from_numpy(cloud), case.surface, case.given)
            if frame:
                return f"{name} fit the scene if they are in {frame}; write them in its world"
    return ""


def _spread(points: NDArray[np.floating[Any]]) -> float:
    """Median distance along an axis from the median point; NaN for no points."""
    return float(np.median(np.abs(points - np.median(points, axis=0)))) if len(points) else np.nan


def _positive(lengths: NDArray[np.floating[Any]]) -> float:
    """Median of the positive lengths; NaN for none."""
    positive = lengths[lengths > 0]
    return float(np.median(positive)) if positive.size else np.nan
