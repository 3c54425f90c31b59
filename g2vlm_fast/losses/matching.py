"""Which predicted object stands for which true one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from g2vlm_fast.records import Prediction, Targets

_REACH = 1.0  # metres


class Matching(NamedTuple):
    """Pairs of rows of the packed predicted and true objects, one a true object at most."""

    predicted: Tensor  # [m] int64
    target: Tensor  # [m] int64

    def predicted_of(self, targets: int) -> Tensor:
        """Return the predicted object of each of ``targets`` true ones, -1 for none."""
        result = self.target.new_full((targets,), -1)
        return result.index_copy(0, self.target, self.predicted)

    def target_of(self, predicted: int) -> Tensor:
        """Return the true object of each of ``predicted`` ones, -1 for none."""
        result = self.predicted.new_full((predicted,), -1)
        return result.index_copy(0, self.predicted, self.target)


@torch.no_grad()
def match_objects(prediction: Prediction, targets: Targets) -> Matching:
    """Assign predicted to true objects, scene by scene, at the least total cost.

    Pairs whose centres are farther apart than 1 m are let go again: a query learns nothing true
    from an object that it does not see. The cost of a pair is twice the distance of the centres
    (m), plus half the L1 difference of the sizes (m), less the probability of the true class.

    Source: Carion et al., "End-to-end object detection with transformers", ECCV 2020; the
    assignment is scipy's (Jonker and Volgenant, 1987).
    """
    from scipy.optimize import linear_sum_assignment

    assert prediction.box_center is not None
    assert prediction.box_size is not None
    assert prediction.class_logits is not None
    assert prediction.object_offsets is not None
    assert targets.box_center is not None
    assert targets.box_size is not None
    assert targets.object_class is not None
    assert targets.object_offsets is not None
    probability = torch.softmax(prediction.class_logits, dim=-1)
    bounds = zip(prediction.object_offsets.tolist(), targets.object_offsets.tolist(), strict=True)
    predicted, target = [], []
    (p0, t0), *ends = bounds
    for p1, t1 in ends:
        distance = torch.cdist(prediction.box_center[p0:p1], targets.box_center[t0:t1])
        size = torch.cdist(
            prediction.box_size[p0:p1].sort(-1).values, targets.box_size[t0:t1].sort(-1).values, p=1
        )
        likely = probability[p0:p1, targets.object_class[t0:t1]]
        cost = (2 * distance + 0.5 * size - likely).nan_to_num(1e6)
        rows, columns = linear_sum_assignment(cost.cpu().numpy())
        near = (distance[rows, columns] <= _REACH).cpu()
        predicted.append(torch.as_tensor(rows)[near] + p0)
        target.append(torch.as_tensor(columns)[near] + t0)
        p0, t0 = p1, t1
    device = prediction.box_center.device
    return Matching(torch.cat(predicted).to(device), torch.cat(target).to(device))
