"""Missing depth filled in from the depth around it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def inpaint_depth(depth: Tensor) -> Tensor:
    """Fill missing depth so that inverse depth is harmonic there: ``laplace(1 / z) = 0``.

    Inverse depth of a plane is affine in the pixel, and affine functions are harmonic: a hole in
    a plane is filled with the plane. Elsewhere the filled values lie between those around.

    Args:
        depth: ``[V, H, W]`` float32 metres along z, 0 = missing.

    Returns:
        The same with every pixel filled; a view without any depth stays as it is.

    Source: Chan and Shen, "Mathematical models for local nontexture inpaintings", SIAM Journal on
    Applied Mathematics 62(3), 2002, whose simplest model is the harmonic one.
    """
    filled = [_fill(view.double().numpy()) for view in depth]
    return torch.from_numpy(np.stack(filled)).to(depth.dtype)


def _fill(depth: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import spsolve

    missing = depth <= 0
    count = int(missing.sum())
    if count in (0, depth.size):
        return depth
    inverse = np.where(missing, 0.0, 1.0 / np.where(missing, 1.0, depth))
    number = np.full(depth.shape, -1)
    number[missing] = np.arange(count)
    here, neighbour, known = _links(number, inverse)
    unknown = neighbour >= 0
    degree = np.bincount(here, minlength=count)
    rows = np.concatenate([np.arange(count), here[unknown]])
    columns = np.concatenate([np.arange(count), neighbour[unknown]])
    values = np.concatenate([degree, -np.ones(int(unknown.sum()))])
    laplacian = csr_array((values, (rows, columns)), shape=(count, count)).tocsc()
    border = np.bincount(here[~unknown], weights=known[~unknown], minlength=count)
    result = depth.copy()
    result[missing] = 1.0 / spsolve(laplacian, border)
    return result


def _links(
    number: NDArray[np.int64], inverse: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Every missing pixel with each neighbour: their numbers (-1 = known) and inverse depths."""
    ends = [
        (number[:, :-1], number[:, 1:], inverse[:, 1:]),
        (number[:, 1:], number[:, :-1], inverse[:, :-1]),
        (number[:-1], number[1:], inverse[1:]),
        (number[1:], number[:-1], inverse[:-1]),
    ]
    links = [(a[a >= 0], b[a >= 0], value[a >= 0]) for a, b, value in ends]
    here, neighbour, known = (np.concatenate(parts) for parts in zip(*links, strict=True))
    return here, neighbour, known
