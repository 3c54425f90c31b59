"""Losses of the dense geometry: depth, normals and the smoothness of surfaces."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from g2vlm_fast.losses.terms import masked_mean
from g2vlm_fast.records import Prediction, SceneBatch, Targets

_CONFIDENT_ERROR = 0.05  # relative error of depth below which a pixel counts as right


def depth_loss(prediction: Prediction, targets: Targets) -> dict[str, Tensor]:
    r"""Depth, before and after the decoder, and how sure the model is of it.

    .. math:: \frac{1}{|P|} \sum_{p \in P} |\log \hat d_p - \log d_p|

    over the pixels P with known depth, for the output (``depth``) and for the coarse estimate at
    a quarter of the resolution (``coarse_depth``); ``confidence`` is the binary cross entropy of
    the event that the output is within 5 % of the truth.

    Source: Eigen, Puhrsch, Fergus, "Depth map prediction from a single image using a multi-scale
    deep network", NeurIPS 2014, without the scale-invariant term: depth here is metric.
    """
    assert prediction.depth is not None
    assert targets.depth is not None
    known = targets.depth > 0
    truth = targets.depth.clamp_min(1e-3).log()
    error = (prediction.depth.clamp_min(1e-3).log() - truth).abs()
    terms = {"depth": masked_mean(error, known)}
    if prediction.coarse_depth is not None:
        stride = truth.shape[-1] // prediction.coarse_depth.shape[-1]
        centres = (..., slice(stride // 2, None, stride), slice(stride // 2, None, stride))
        coarse = (prediction.coarse_depth.log() - truth[centres]).abs()
        terms["coarse_depth"] = masked_mean(coarse, known[centres])
    if prediction.confidence is not None:
        right = (error.detach() < _CONFIDENT_ERROR).float()
        entropy = F.binary_cross_entropy(prediction.confidence, right, reduction="none")
        terms["confidence"] = masked_mean(entropy, known)
    return terms


def normal_loss(prediction: Prediction, targets: Targets) -> Tensor:
    r"""``1 - cos`` of the angle between normals, meaned over the pixels that have one.

    Source: Eftekhar et al., "Omnidata", ICCV 2021.
    """
    assert prediction.normal is not None
    assert targets.normal is not None
    known = targets.normal.square().sum(1) > 0.25
    return masked_mean(1 - (prediction.normal * targets.normal).sum(1), known)


def surface_smoothness_loss(prediction: Prediction, batch: SceneBatch) -> Tensor:
    r"""Edge-aware smoothness of the normals and of inverse depth.

    .. math:: \sum_{a \in \{x, y\}} \operatorname{mean}_p e^{-10 |\partial_a I|}
              \left( |\partial_a n| + 10 \min(|\partial_a^2 \rho| / \rho, 0.1) \right)

    with the image I, the normals n and the inverse depth :math:`\rho`, whose second difference is
    0 on planes, however slanted; it is cut off, so that an occlusion is no reason to flatten it.

    Source: Godard, Mac Aodha, Brostow, "Unsupervised monocular depth estimation with left-right
    consistency", CVPR 2017, on normals and planes in place of first differences.
    """
    assert prediction.normal is not None
    assert prediction.depth is not None
    inverse = 1 / prediction.depth.clamp_min(1e-3)[:, None]
    total = prediction.depth.new_zeros(())
    for axis in (2, 3):
        edge = torch.exp(-10 * batch.images.diff(dim=axis).abs().mean(1))
        turn = prediction.normal.diff(dim=axis).abs().sum(1)
        total = total + (edge * turn).mean()
        length = inverse.shape[axis]
        bend = inverse.diff(n=2, dim=axis).abs() / inverse.narrow(axis, 1, length - 2).detach()
        inner = edge.narrow(axis - 1, 0, length - 2)
        total = total + 10 * (inner * bend[:, 0].clamp_max(0.1)).mean()
    return total
