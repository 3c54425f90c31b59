"""The plan of a call by pointers: its values as rows, and the runs that they fall into."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.compat._scatter_groups import Groups
from g2vlm_fast.compat._scatter_layout import (
    NUMBERS,
    aligned_layout,
    check_any_shape,
    check_sizes,
)
from g2vlm_fast.ops._graph_build_backends import INDICES


class Runs:
    """The runs of a call by pointers, with gaps before, between and behind them."""

    def __init__(
        self, caller: str, src: Any, indptr: Any, out: Any, length: int | None = None
    ) -> None:
        check_any_shape(caller, "src", src, NUMBERS)
        check_any_shape(caller, "indptr", indptr, INDICES, src.device)
        if indptr.dim() > src.dim():
            raise ValueError(
                f"{caller}: indptr must have at most the {src.dim()} axes of src, got shape "
                f"{list(indptr.shape)}"
            )
        dim = indptr.dim() - 1
        shape = list(src.shape)
        if length is not None:
            shape[dim] = length
        spread = indptr.view([*indptr.shape, *[1] * (src.dim() - dim - 1)])
        self.layout, flat = aligned_layout(caller, "indptr", spread, tuple(shape), dim, spare=1)
        self.size = max(flat.shape[1] - 1, 0)
        if out is not None and check_sizes(caller, "out", out, tuple(shape), dim, src) != self.size:
            raise ValueError(
                f"{caller}: out must have size {self.size} along axis {dim}, one entry for each "
                f"run of indptr, got shape {list(out.shape)}"
            )
        self._pointers = flat.shape[1]
        self.groups = Groups.of_pointers(flat, self.layout.length, caller)

    def answer(self, rows: Tensor, out: Tensor | None, dtype: torch.dtype) -> Tensor:
        """Return the rows of the runs, without those of the gaps, as a tensor."""
        blocks = rows[1:].reshape(self.layout.blocks, self._pointers, rows.shape[1])
        found = self.layout.unrows(blocks[:, : self.size].flatten(0, 1), self.size).to(dtype)
        return found if out is None else out.copy_(found)

    def with_gaps(self, src: Tensor) -> Tensor:
        """Return the values of the runs as rows, with rows of 0 for the gaps."""
        rows = self.layout.rows(src)
        rows = rows.reshape(self.layout.blocks, self.size, rows.shape[1])
        behind = rows.new_zeros(rows.shape[0], self._pointers - self.size, rows.shape[2])
        blocks = torch.cat([rows, behind], 1).flatten(0, 1)
        return torch.cat([blocks.new_zeros(1, blocks.shape[1]), blocks])
