"""Modules with the interface of Point Transformer V3's serialized attention, and their points.

Names are those that the published module and its points have (Wu et al., CVPR 2024); attention is
written from the formula, patch by patch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Point(dict):
    """A dictionary whose fields are attributes, too."""

    def __getattr__(self, name: str) -> Any:
        if name not in self:
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value


def draw_point(
    counts: list[int], channels: int, *, orders: int = 2, dtype: torch.dtype = torch.float64
) -> Point:
    """Draw scenes of so many points on a grid wider than small tables reach."""
    generator = torch.Generator().manual_seed(sum(counts))
    scenes = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    order = torch.stack(
        [
            (scenes + torch.rand(len(scenes), generator=generator, dtype=torch.float64)).argsort()
            for _ in range(orders)
        ]
    )
    return Point(
        feat=torch.randn(len(scenes), channels, generator=generator, dtype=dtype),
        grid_coord=torch.randint(0, 30, (len(scenes), 3), generator=generator, dtype=torch.int32),
        offset=torch.tensor(counts).cumsum(0),
        serialized_order=order,
        serialized_inverse=order.argsort(1),
    )


class RPE(nn.Module):
    """Tables of x, y and z, one below the other, of steps from key to query."""

    def __init__(self, patch_size: int, num_heads: int) -> None:
        super().__init__()
        self.pos_bnd = int((4 * patch_size) ** (1 / 3) * 2)
        self.rpe_table = nn.Parameter(torch.randn(3 * (2 * self.pos_bnd + 1), num_heads))

    def of(self, cells: Tensor) -> Tensor:
        """Return ``[H, K, K]`` of the cells ``[K, 3]`` of one patch."""
        tables = self.rpe_table.unflatten(0, (3, -1))
        bias = torch.zeros((), dtype=self.rpe_table.dtype)
        for axis, table in enumerate(tables):
            steps = cells[:, None, axis].long() - cells[None, :, axis].long()
            bias = bias + table[steps.clamp(-self.pos_bnd, self.pos_bnd) + self.pos_bnd]
        return bias.permute(2, 0, 1)


class SerializedAttention(nn.Module):
    """Attends within patches of points along one of their orders."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        patch_size: int,
        *,
        scale: float | None = None,
        attn_drop: float = 0.0,
        order_index: int = 0,
        enable_rpe: bool = False,
        enable_flash: bool = False,
    ) -> None:
        super().__init__()
        self.channels, self.num_heads, self.order_index = channels, num_heads, order_index
        self.scale = scale or (channels // num_heads) ** -0.5
        self.enable_rpe, self.enable_flash = enable_rpe, enable_flash
        self.attn_drop: float | nn.Dropout
        if enable_flash:
            self.patch_size, self.attn_drop = patch_size, attn_drop
        else:
            self.patch_size, self.attn_drop = 0, nn.Dropout(attn_drop)
            self.patch_size_max = patch_size
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.proj_drop = nn.Dropout(0.0)
        self.softmax = nn.Softmax(dim=-1)
        self.rpe = RPE(patch_size, num_heads) if enable_rpe else None

    def patches(self, offset: Tensor) -> list[tuple[list[int], list[int]]]:
        """Return of each patch its own places along the order, and those that it borrows.

        A scene of more points than a patch is cut into patches; if the last of them is short by n
        points, it borrows the last n of the patch before it.
        """
        found, first, size = [], 0, self.patch_size
        for last in offset.tolist():
            for begin in range(first, last, size):
                own = list(range(begin, min(begin + size, last)))
                short = size - len(own) if begin > first else 0
                found.append((own, list(range(begin - short, begin))))
            first = last
        return found

    def get_padding_and_inverse(self, point: Point) -> tuple[Tensor, Tensor, Tensor]:
        pad: list[int] = []
        unpad: list[int] = []
        bounds = [0]
        for own, borrowed in self.patches(point.offset):
            unpad += range(len(pad), len(pad) + len(own))
            pad += own + borrowed
            bounds.append(len(pad))
        return torch.tensor(pad), torch.tensor(unpad), torch.tensor(bounds, dtype=torch.int32)

    def forward(self, point: Point) -> Point:
        if not self.enable_flash:
            counts = torch.diff(point.offset, prepend=torch.zeros(1, dtype=torch.long))
            self.patch_size = min(int(counts.min()), self.patch_size_max)
        order = point.serialized_order[self.order_index]
        rows = self.qkv(point.feat).unflatten(-1, (3, self.num_heads, -1))
        attended = torch.zeros_like(point.feat)
        for own, borrowed in self.patches(point.offset):
            points = order[own + borrowed]
            q, k, v = rows[points].permute(1, 2, 0, 3)
            scores = self.scale * q @ k.mT
            if self.rpe is not None:
                scores = scores + self.rpe.of(point.grid_coord[points])
            weight = self.softmax(scores)
            if isinstance(self.attn_drop, nn.Dropout):
                weight = self.attn_drop(weight)
            out = (weight @ v).transpose(0, 1).flatten(1)[: len(own)]
            attended = attended.index_copy(0, order[own], out)
        point.feat = self.proj_drop(self.proj(attended))
        return point


class PointTransformerV3(nn.Module):
    """Two layers of attention along two orders, which stand in where Pointcept is not installed."""

    def __init__(self, in_channels: int = 6, *, enable_rpe: bool, enable_flash: bool) -> None:
        super().__init__()
        self.embedding = nn.Linear(in_channels, 16)
        self.enc = nn.ModuleList(
            SerializedAttention(
                16, 2, 32, order_index=index, enable_rpe=enable_rpe, enable_flash=enable_flash
            )
            for index in range(2)
        )

    def forward(self, data_dict: dict[str, Tensor]) -> Point:
        point = Point(data_dict, feat=self.embedding(data_dict["feat"]))
        scene = torch.searchsorted(point.offset, torch.arange(len(point.feat)), right=True)
        keys = [(scene << 20) + point.grid_coord[:, axis] for axis in range(2)]
        point.serialized_order = torch.stack([key.argsort() for key in keys])
        point.serialized_inverse = point.serialized_order.argsort(1)
        for attention in self.enc:
            shortcut = point.feat
            point = attention(point)
            point.feat = shortcut + point.feat
        return point
