"""Groups of positions: which positions bear each index, as compressed rows.

Like the graph builders these are torch's sorts and counts, not kernels of ours. They are registered
as ops because they read values: on the CPU a wrong one raises, on a GPU it stops the stream by an
assertion on the device, so that nothing waits and CUDA graphs can be captured.
"""

from __future__ import annotations

import torch
from torch import Tensor

from g2vlm_fast.ops._registration import define_op
from g2vlm_fast.ops.reference.graph_build import offsets_of


def _require(satisfied: Tensor, message: str) -> None:
    """Raise ValueError on the CPU; assert on the device elsewhere, without waiting."""
    if not satisfied.is_cpu:
        torch._assert_async(satisfied, message)
    elif not satisfied:
        raise ValueError(message)


def _is_sorted(values: Tensor) -> Tensor:
    return (values[..., 1:] >= values[..., :-1]).all()


def _members(index: Tensor, num_groups: int, caller: str) -> Tensor:
    batch = index.shape[0]
    if index.is_cpu and index.numel():
        least, most = (int(bound) for bound in torch.aminmax(index))
        if least < 0 or most >= num_groups:
            wrong = least if least < 0 else most
            raise ValueError(f"{caller}: index must be from 0 to {num_groups - 1}, got {wrong}")
    elif index.numel():
        in_range = ((index >= 0) & (index < num_groups)).all()
        _require(in_range, f"{caller}: index must be from 0 to {num_groups - 1}")
    first = torch.arange(batch, dtype=torch.int32, device=index.device) * num_groups
    return (index.int() + first[:, None]).flatten()


def _sorted_positions(
    member: Tensor, num_groups: int, is_sorted: bool, caller: str
) -> tuple[Tensor, Tensor]:
    places = torch.arange(member.shape[0], dtype=torch.int32, device=member.device)
    if member.is_cpu:
        offsets = member.new_zeros(num_groups + 1)
        torch.cumsum(
            torch.bincount(member, minlength=num_groups), 0, dtype=torch.int32, out=offsets[1:]
        )
        return offsets, places if _is_sorted(member) else member.sort(stable=True).indices.int()
    if is_sorted:
        _require(_is_sorted(member), f"{caller}: index must be sorted along its last axis")
        return offsets_of(member, num_groups), places
    ordered, order = member.sort(stable=True)
    return offsets_of(ordered, num_groups), order.int()


def _segment_offsets(indptr: Tensor, length: int, caller: str) -> Tensor:
    batch = indptr.shape[0]
    in_range = ((indptr >= 0) & (indptr <= length)).all() & _is_sorted(indptr)
    _require(
        in_range,
        f"{caller}: indptr must never decrease and lie from 0 to {length}, the size of the axis "
        "that it divides",
    )
    first = torch.arange(batch, dtype=torch.int32, device=indptr.device) * length
    inner = (indptr.clamp(0, length).int() + first[:, None]).flatten()
    if not inner.is_cpu:
        inner = inner.cummax(0).values if inner.numel() else inner
    return torch.cat([inner.new_zeros(1), inner, inner.new_full((1,), batch * length)])


index_members = define_op(
    "index_members(Tensor index, SymInt num_groups, str caller) -> Tensor",
    implementation=_members,
    fake=lambda index, num_groups, caller: index.new_empty(index.numel(), dtype=torch.int32),
)
"""``[B, L]`` int32 or int64 indices to ``[B * L]`` int32: ``b * num_groups + index``, checked."""

sorted_positions = define_op(
    "sorted_positions(Tensor member, SymInt num_groups, bool is_sorted, str caller)"
    " -> (Tensor, Tensor)",
    implementation=_sorted_positions,
    fake=lambda member, num_groups, is_sorted, caller: (
        member.new_empty(num_groups + 1),
        torch.empty_like(member),
    ),
)
"""From the group of each position ``[E]`` int32 to the offsets ``[num_groups + 1]`` of the groups
and the positions ``[E]`` of each, rising. ``is_sorted`` spares a GPU the sort; the CPU looks."""

segment_offsets = define_op(
    "segment_offsets(Tensor indptr, SymInt length, str caller) -> Tensor",
    implementation=_segment_offsets,
    fake=lambda indptr, length, caller: indptr.new_empty(indptr.numel() + 2, dtype=torch.int32),
)
"""From pointers ``[B, N + 1]`` into an axis of ``length`` to int32 offsets ``[B * (N + 1) + 2]``
that cover all of ``B * length``: row ``b * (N + 1) + n + 1`` is run n of b, the others are gaps."""
