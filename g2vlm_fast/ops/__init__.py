"""Public ops. Importing this needs torch, numpy and the native module, and nothing else."""

from g2vlm_fast.ops._dispatch import BackendError, use_backend
from g2vlm_fast.ops._flops import register_flop_formulas
from g2vlm_fast.ops.anchor_context import AnchorContext
from g2vlm_fast.ops.bias import (
    AxisTable,
    BiasSpec,
    Direction,
    Distance,
    GaussianPowers,
    NormalDot,
    RadialBasis,
    RadialTable,
    SquaredDistance,
)
from g2vlm_fast.ops.chamfer import ChamferResult, chamfer_distance
from g2vlm_fast.ops.edge_attention import edge_attention
from g2vlm_fast.ops.edge_conv import edge_conv
from g2vlm_fast.ops.edge_mlp import edge_mlp
from g2vlm_fast.ops.gather_rows import gather_rows
from g2vlm_fast.ops.geometry_attention import GeometryAttentionResult, geometry_attention
from g2vlm_fast.ops.graph_build import Graph, Transpose
from g2vlm_fast.ops.graph_reduce import graph_reduce
from g2vlm_fast.ops.graph_reorder import ReorderedGraph, reorder_graph
from g2vlm_fast.ops.mesh_edges import MeshEdges
from g2vlm_fast.ops.nearest import nearest
from g2vlm_fast.ops.nearest_index import NearestIndex
from g2vlm_fast.ops.nearest_pair import nearest_pair
from g2vlm_fast.ops.point_to_mesh import mesh_to_point, point_to_mesh
from g2vlm_fast.ops.segment_csr import segment_csr
from g2vlm_fast.ops.voxel_pool import Clusters, interpolate, pool, unpool, voxel_clusters

__all__ = [
    "AnchorContext",
    "AxisTable",
    "BackendError",
    "BiasSpec",
    "ChamferResult",
    "Clusters",
    "Direction",
    "Distance",
    "GaussianPowers",
    "GeometryAttentionResult",
    "Graph",
    "MeshEdges",
    "NearestIndex",
    "NormalDot",
    "RadialBasis",
    "RadialTable",
    "ReorderedGraph",
    "SquaredDistance",
    "Transpose",
    "chamfer_distance",
    "edge_attention",
    "edge_conv",
    "edge_mlp",
    "gather_rows",
    "geometry_attention",
    "graph_reduce",
    "interpolate",
    "mesh_to_point",
    "nearest",
    "nearest_pair",
    "point_to_mesh",
    "pool",
    "register_flop_formulas",
    "reorder_graph",
    "segment_csr",
    "unpool",
    "use_backend",
    "voxel_clusters",
]
