"""``torch.nn`` modules around the ops."""

from g2vlm_fast.nn.chamfer import ChamferLoss
from g2vlm_fast.nn.edge_conv import EdgeConv
from g2vlm_fast.nn.gatv2_conv import GATv2Conv
from g2vlm_fast.nn.geometry_attention import GeometryCrossAttention, GeometrySelfAttention
from g2vlm_fast.nn.geometry_bias import GeometryBias
from g2vlm_fast.nn.graph_conv import GraphConv
from g2vlm_fast.nn.mesh_conv import MeshConv
from g2vlm_fast.nn.point_conv import PointConv
from g2vlm_fast.nn.voxel_pool import VoxelPool

__all__ = [
    "ChamferLoss",
    "EdgeConv",
    "GATv2Conv",
    "GeometryBias",
    "GeometryCrossAttention",
    "GeometrySelfAttention",
    "GraphConv",
    "MeshConv",
    "PointConv",
    "VoxelPool",
]
