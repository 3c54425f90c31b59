"""Graphs of the edge lists of other libraries, each built once and kept as long as its list."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from g2vlm_fast.ops import Graph
from g2vlm_fast.ops._checks import INT32_MAX

_REBUILDS_BEFORE_WARNING = 50


class EdgeGraph(NamedTuple):
    """A graph, and where in the list each of its edges stands."""

    graph: Graph
    order: Tensor  # [E] int32


class EdgeGraphs:
    """The graphs of edge lists, by identity and version: a list that was changed is another.

    What changes a tensor behind its version counter (``.data``, an array that shares its memory)
    is not noticed.
    """

    def __init__(self, logger: logging.Logger) -> None:
        self._kept: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._logger = logger
        self._builds_in_a_row = 0

    def get(self, edges: Tensor, key: Hashable, build: Callable[[Tensor], EdgeGraph]) -> EdgeGraph:
        """Return what ``build(edges)`` returned for this list and key, or call it."""
        if edges.is_inference():  # its changes are not counted
            return self._built(edges, build)
        version, graphs = self._kept.get(edges, (None, {}))
        if version == edges._version and key in graphs:
            self._builds_in_a_row = 0
            found: EdgeGraph = graphs[key]
            return found
        built = self._built(edges, build)
        kept = graphs if version == edges._version else {}
        self._kept[edges] = (edges._version, {**kept, key: built})
        return built

    def _built(self, edges: Tensor, build: Callable[[Tensor], EdgeGraph]) -> EdgeGraph:
        self._builds_in_a_row += 1
        if self._builds_in_a_row == _REBUILDS_BEFORE_WARNING:
            self._logger.warning(
                "a graph was built for each of the last %d calls, which takes longer than a layer: "
                "hand the same tensor of edges to all layers, and make it once, not in each call",
                _REBUILDS_BEFORE_WARNING,
            )
        with torch.inference_mode(edges.is_inference()):  # a graph that is kept may be trained on
            return build(edges)


def graph_of_edges(
    source: Tensor, destination: Tensor, num_rows: int, num_sources: int
) -> EdgeGraph:
    """Build the graph of directed edges ``[E]``, those of a row in the order of the list.

    Raises:
        ValueError: an index is negative or too large.
    """
    places = torch.arange(source.shape[0], dtype=destination.dtype, device=source.device)
    by_place = Graph.from_edges(places, destination, num_rows, places.shape[0], coalesce=False)
    columns = source.clamp(-1, INT32_MAX).int()[by_place.columns]
    return EdgeGraph(Graph.from_csr(by_place.row_offsets, columns, num_sources), by_place.columns)
