"""Specification of :class:`g2vlm_fast.ops.NearestIndex`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from g2vlm_fast.ops import _dispatch
from g2vlm_fast.ops.nearest import nearest
from g2vlm_fast.ops.nearest_index import NearestIndex
from g2vlm_fast.ops.specs.base import Hostile, InputFactory, Inputs, OpSpec
from g2vlm_fast.ops.specs.clouds import cloud_named, packed_pair, room, sizes_of
from g2vlm_fast.ops.specs.nearest import SPEC as NEAREST
from g2vlm_fast.ops.specs.points import normal_points, offsets

Found = tuple[Tensor, Tensor]


class Kept:
    """The index of a cloud, from its first search on."""

    def __init__(self) -> None:
        self._index: NearestIndex | None = None

    def of(self, target: Tensor, offsets: Tensor | None) -> NearestIndex:
        if self._index is None or self._index.target is not target:
            self._index = NearestIndex(target, offsets)
        return self._index

    def to(self, device: torch.device | str) -> Kept:
        """Return another: an index stays where it was built."""
        return Kept()


def build_and_query(
    query: Tensor,
    target: Tensor,
    *,
    query_offsets: Tensor | None = None,
    offsets: Tensor | None = None,
    before: Tensor | None = None,
    kept: Kept | None = None,
    **options: Any,
) -> Found:
    """Search by an index that is built now, or that is kept; or built before points moved."""
    if kept is not None:
        index = kept.of(target, offsets)
    elif before is not None:
        index = NearestIndex(before, offsets).refit(target)
    else:
        index = NearestIndex(target, offsets)
    return index.query(query, offsets=query_offsets, **options)


def _truth(
    query: Tensor,
    target: Tensor,
    *,
    query_offsets: Tensor | None = None,
    offsets: Tensor | None = None,
    before: Tensor | None = None,
    kept: Kept | None = None,
    **options: Any,
) -> Found:
    with _dispatch.use_backend("reference", "nearest"):
        return nearest(
            query, target, query_offsets=query_offsets, target_offsets=offsets, **options
        )


def _as_indexed(make: InputFactory) -> InputFactory:
    """Return a factory of the same search by an index, whose targets come first."""

    def changed(generator: torch.Generator) -> Inputs:
        inputs = make(generator)
        inputs = {"target": inputs.pop("target"), **inputs}
        if "target_offsets" in inputs:
            inputs["offsets"] = inputs.pop("target_offsets")
        return inputs

    return changed


def _moved(generator: torch.Generator) -> Inputs:
    """Targets that were elsewhere when the index was built, some of them nowhere."""
    before = normal_points(generator, 300)
    before[::7, 1] = torch.nan
    return {
        "query": normal_points(generator, 70),
        "target": normal_points(generator, 300),
        "before": before,
        "k": 3,
        "query_offsets": offsets(40, 0, 30),
        "offsets": offsets(17, 3, 280),
    }


def _many(generator: torch.Generator) -> Inputs:
    """More pairs than are all compared."""
    return {"query": normal_points(generator, 60), "target": normal_points(generator, 700)}


def _kept(make: InputFactory) -> InputFactory:
    return lambda generator: {**_as_indexed(make)(generator), "kept": Kept()}


def _query(points: int) -> InputFactory:
    return _kept(packed_pair(room, 1, points, points, ("target", "query")))


def _shaped(given: Mapping[str, Any]) -> InputFactory:
    optional = {"batch": 1, "neighbours": 1, "cloud": "room"}
    sizes = sizes_of(given, ("queries", "targets"), optional)
    return _kept(
        packed_pair(
            cloud_named(sizes["cloud"]),
            sizes["batch"],
            sizes["targets"],
            sizes["queries"],
            ("target", "query"),
            k=sizes["neighbours"],
        )
    )


def _spoiled(**changes: Any) -> Any:
    return lambda inputs: {**inputs, **changes}


SPEC = OpSpec(
    op="nearest_index",
    kernels=(
        "nearest_index_build",
        "nearest_index_refit",
        "nearest_index_query",
        "nearest_backward",
    ),
    function=build_and_query,
    reference=_truth,
    small={
        **{
            name: _as_indexed(make)
            for name, make in NEAREST.small.items()
            if name not in ("brute", "far_from_the_origin")
        },
        "many": _many,
        "moved": _moved,
    },
    timed={
        "query_B1_N1000000": _query(1_000_000),
        "cpu_query_N1000000": _query(1_000_000),
    },
    shaped=_shaped,
    cost=NEAREST.cost,
    suite="nearest",
    grad_inputs=("query", "target"),
    tolerance=NEAREST.tolerance,
    half_is_upcast=True,
    smooth=("plain", "one_dimension", "four_dimensions"),
    errors=NEAREST.errors,
    hostile=(
        Hostile("no neighbours", _spoiled(k=0), ValueError, "k"),
        Hostile("more slots than int32 counts", _spoiled(k=2**26), ValueError, "k"),
        Hostile("unknown norm", _spoiled(norm=3), ValueError, "norm"),
        Hostile("negative bound", _spoiled(max_distance=-1.0), ValueError, "max_distance"),
        Hostile(
            "offsets that end early",
            _spoiled(offsets=offsets(3), query_offsets=offsets(37)),
            ValueError,
            "offsets",
        ),
        Hostile(
            "queries in more segments",
            _spoiled(query_offsets=offsets(30, 7)),
            ValueError,
            "offsets",
        ),
        Hostile(
            "dimensions that differ",
            lambda i: {**i, "query": i["query"][:, :2]},
            ValueError,
            "query",
        ),
        Hostile(
            "dtypes that differ", lambda i: {**i, "query": i["query"].float()}, TypeError, "query"
        ),
        Hostile(
            "fewer points than before",
            lambda i: {**i, "before": i["target"][:-1]},
            ValueError,
            "target",
        ),
        Hostile(
            "points of another dtype than before",
            lambda i: {**i, "before": i["target"].float()},
            TypeError,
            "target",
        ),
    ),
)
