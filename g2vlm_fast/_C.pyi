"""Native kernels of g2vlm_fast; call them through g2vlm_fast.ops."""

# Written by python/stub.py.

from collections.abc import Sequence

import torch

cuda_architectures: str
cuda_version: str
version: str

def chamfer_loss_backward_cuda(
    grad_loss: torch.Tensor,
    share: torch.Tensor,
    x_distance: torch.Tensor,
    y_distance: torch.Tensor | None,
    x_weights: torch.Tensor | None,
    y_weights: torch.Tensor | None,
    x_offsets: torch.Tensor | None,
    y_offsets: torch.Tensor | None,
    y_length: int,
    penalty: int,
    scale: float,
    squared: bool,
    mean: bool,
    x_grad: torch.Tensor,
    y_grad: torch.Tensor | None,
    x_weights_grad: torch.Tensor | None,
    y_weights_grad: torch.Tensor | None,
) -> None: ...
def chamfer_loss_cuda(
    x_distance: torch.Tensor,
    y_distance: torch.Tensor | None,
    x_weights: torch.Tensor | None,
    y_weights: torch.Tensor | None,
    x_offsets: torch.Tensor | None,
    y_offsets: torch.Tensor | None,
    y_length: int,
    penalty: int,
    scale: float,
    squared: bool,
    mean: bool,
    loss: torch.Tensor,
    share: torch.Tensor,
    workspace: torch.Tensor,
) -> None: ...
def chamfer_loss_workspace_cuda(x_length: int, y_length: int, segments: int) -> int: ...
def compact_rows(
    offsets: torch.Tensor,
    entries: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    threads: int,
) -> None: ...
def count_edges(
    destination: torch.Tensor,
    source: torch.Tensor | None,
    num_rows: int,
    num_sources: int,
    counts: torch.Tensor,
    invalid: torch.Tensor,
) -> None: ...
def count_faces(
    faces: torch.Tensor,
    num_vertices: int,
    counts: torch.Tensor,
    invalid: torch.Tensor,
) -> None: ...
def edge_conv_backward_cpu(
    grad: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    geometry: torch.Tensor | None,
    weight: torch.Tensor | None,
    transpose_offsets: torch.Tensor | None,
    transpose_rows: torch.Tensor | None,
    transpose_edges: torch.Tensor | None,
    winner: torch.Tensor,
    out: torch.Tensor,
    activation: int,
    reduce: int,
    grad_a: torch.Tensor,
    grad_b: torch.Tensor | None,
    grad_geometry: torch.Tensor | None,
    grad_weight: torch.Tensor | None,
    partial: torch.Tensor | None,
    threads: int,
) -> None: ...
def edge_conv_backward_cuda(
    grad: torch.Tensor,
    a: torch.Tensor,
    b: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    geometry: torch.Tensor | None,
    weight: torch.Tensor | None,
    transpose_offsets: torch.Tensor | None,
    transpose_rows: torch.Tensor | None,
    transpose_edges: torch.Tensor | None,
    winner: torch.Tensor,
    out: torch.Tensor,
    activation: int,
    reduce: int,
    grad_a: torch.Tensor,
    grad_b: torch.Tensor | None,
    grad_geometry: torch.Tensor | None,
    grad_weight: torch.Tensor | None,
    partial: torch.Tensor | None,
    threads: int,
) -> None: ...
def edge_conv_blocks(num_rows: int) -> int: ...
def edge_conv_cpu(
    a: torch.Tensor,
    b: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    geometry: torch.Tensor | None,
    weight: torch.Tensor | None,
    activation: int,
    reduce: int,
    out: torch.Tensor,
    winner: torch.Tensor | None,
    threads: int,
) -> None: ...
def edge_conv_cuda(
    a: torch.Tensor,
    b: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    geometry: torch.Tensor | None,
    weight: torch.Tensor | None,
    activation: int,
    reduce: int,
    out: torch.Tensor,
    winner: torch.Tensor | None,
    threads: int,
) -> None: ...
def fill_edges(
    destination: torch.Tensor,
    source: torch.Tensor | None,
    num_rows: int,
    num_sources: int,
    cursor: torch.Tensor,
    entries: torch.Tensor,
) -> None: ...
def fill_faces(
    faces: torch.Tensor,
    num_vertices: int,
    cursor: torch.Tensor,
    entries: torch.Tensor,
) -> None: ...
def geometry_attention_backward_cpu(
    grad_out: torch.Tensor,
    grad_lse: torch.Tensor | None,
    grad_mean: torch.Tensor | None,
    grad_variance: torch.Tensor | None,
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias_parameters: torch.Tensor | None,
    q_position: torch.Tensor | None,
    k_position: torch.Tensor | None,
    q_gate: torch.Tensor | None,
    q_offsets: torch.Tensor | None,
    k_offsets: torch.Tensor | None,
    out: torch.Tensor,
    lse: torch.Tensor,
    mean: torch.Tensor,
    variance: torch.Tensor,
    terms: Sequence[int],
    constants: Sequence[float],
    causal: bool,
    scale: float,
    grad_q: torch.Tensor,
    grad_k: torch.Tensor,
    grad_v: torch.Tensor,
    grad_bias_parameters: torch.Tensor | None,
    grad_q_position: torch.Tensor | None,
    grad_k_position: torch.Tensor | None,
    grad_gate: torch.Tensor | None,
    threads: int,
) -> None: ...
def geometry_attention_cpu(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias_parameters: torch.Tensor | None,
    q_position: torch.Tensor | None,
    k_position: torch.Tensor | None,
    q_gate: torch.Tensor | None,
    q_offsets: torch.Tensor | None,
    k_offsets: torch.Tensor | None,
    terms: Sequence[int],
    constants: Sequence[float],
    causal: bool,
    scale: float,
    out: torch.Tensor,
    lse: torch.Tensor,
    mean: torch.Tensor | None,
    variance: torch.Tensor | None,
    threads: int,
) -> None: ...
def graph_reduce_backward_cpu(
    grad: torch.Tensor,
    x: torch.Tensor | None,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    weight: torch.Tensor | None,
    transpose_offsets: torch.Tensor | None,
    transpose_rows: torch.Tensor | None,
    transpose_edges: torch.Tensor | None,
    winner: torch.Tensor,
    reduce: int,
    grad_x: torch.Tensor | None,
    grad_weight: torch.Tensor | None,
    threads: int,
) -> None: ...
def graph_reduce_backward_cuda(
    grad: torch.Tensor,
    x: torch.Tensor | None,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    weight: torch.Tensor | None,
    transpose_offsets: torch.Tensor | None,
    transpose_rows: torch.Tensor | None,
    transpose_edges: torch.Tensor | None,
    winner: torch.Tensor,
    reduce: int,
    grad_x: torch.Tensor | None,
    grad_weight: torch.Tensor | None,
    threads: int,
) -> None: ...
def graph_reduce_cpu(
    x: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    weight: torch.Tensor | None,
    reduce: int,
    out: torch.Tensor,
    winner: torch.Tensor | None,
    threads: int,
) -> None: ...
def graph_reduce_cuda(
    x: torch.Tensor,
    row_offsets: torch.Tensor,
    columns: torch.Tensor,
    weight: torch.Tensor | None,
    reduce: int,
    out: torch.Tensor,
    winner: torch.Tensor | None,
    threads: int,
) -> None: ...
def nearest_backward_cpu(
    grad_distance: torch.Tensor,
    query: torch.Tensor,
    target: torch.Tensor,
    index: torch.Tensor,
    grad_query: torch.Tensor | None,
    grad_target: torch.Tensor | None,
    norm: int,
    threads: int,
) -> None: ...
def nearest_backward_cuda(
    grad_distance: torch.Tensor,
    query: torch.Tensor,
    target: torch.Tensor,
    index: torch.Tensor,
    sorted: torch.Tensor | None,
    order: torch.Tensor | None,
    grad_query: torch.Tensor | None,
    grad_target: torch.Tensor | None,
    norm: int,
) -> None: ...
def nearest_cpu(
    query: torch.Tensor,
    target: torch.Tensor,
    query_offsets: torch.Tensor | None,
    target_offsets: torch.Tensor | None,
    distance: torch.Tensor,
    index: torch.Tensor,
    norm: int,
    max_distance: float,
    method: int,
    threads: int,
) -> None: ...
def nearest_cuda(
    query: torch.Tensor,
    target: torch.Tensor,
    query_offsets: torch.Tensor | None,
    target_offsets: torch.Tensor | None,
    distance: torch.Tensor,
    index: torch.Tensor,
    norm: int,
    max_distance: float,
    workspace: torch.Tensor | None,
) -> None: ...
def nearest_index_build_cpu(
    target: torch.Tensor,
    offsets: torch.Tensor | None,
    tree: torch.Tensor,
    threads: int,
) -> None: ...
def nearest_index_build_cuda(
    target: torch.Tensor,
    target_offsets: torch.Tensor | None,
    tree: torch.Tensor,
    workspace: torch.Tensor,
) -> None: ...
def nearest_index_bytes_cpu(target: torch.Tensor, offsets: torch.Tensor | None) -> int: ...
def nearest_index_bytes_cuda(
    target: torch.Tensor,
    target_offsets: torch.Tensor | None,
) -> tuple[int, int]: ...
def nearest_index_query_cpu(
    query: torch.Tensor,
    target: torch.Tensor,
    query_offsets: torch.Tensor | None,
    target_offsets: torch.Tensor | None,
    tree: torch.Tensor,
    distance: torch.Tensor,
    index: torch.Tensor,
    norm: int,
    max_distance: float,
    threads: int,
) -> None: ...
def nearest_index_refit_cpu(
    target: torch.Tensor,
    offsets: torch.Tensor | None,
    old: torch.Tensor,
    tree: torch.Tensor,
    threads: int,
) -> None: ...
def nearest_index_refit_cuda(
    target: torch.Tensor,
    target_offsets: torch.Tensor | None,
    tree: torch.Tensor,
) -> None: ...
def nearest_pair_backward_cuda(
    x_grad_distance: torch.Tensor,
    y_grad_distance: torch.Tensor,
    x: torch.Tensor,
    y: torch.Tensor,
    x_index: torch.Tensor,
    y_index: torch.Tensor,
    x_grad: torch.Tensor | None,
    y_grad: torch.Tensor | None,
    workspace: torch.Tensor,
) -> None: ...
def nearest_pair_backward_workspace_cuda(x: torch.Tensor, y: torch.Tensor) -> int: ...
def nearest_pair_cuda(
    x: torch.Tensor,
    y: torch.Tensor,
    x_offsets: torch.Tensor | None,
    y_offsets: torch.Tensor | None,
    x_distance: torch.Tensor,
    x_index: torch.Tensor,
    y_distance: torch.Tensor,
    y_index: torch.Tensor,
    tree: bool,
    workspace: torch.Tensor,
) -> None: ...
def nearest_pair_workspace_cuda(
    x: torch.Tensor,
    y: torch.Tensor,
    x_offsets: torch.Tensor | None,
    y_offsets: torch.Tensor | None,
    tree: bool,
) -> int: ...
def nearest_tree_cuda(
    query: torch.Tensor,
    target: torch.Tensor,
    query_offsets: torch.Tensor | None,
    target_offsets: torch.Tensor | None,
    distance: torch.Tensor,
    index: torch.Tensor,
    norm: int,
    max_distance: float,
    tree: torch.Tensor | None,
    workspace: torch.Tensor,
) -> None: ...
def nearest_tree_workspace_cuda(
    query: torch.Tensor,
    target: torch.Tensor,
    query_offsets: torch.Tensor | None,
    target_offsets: torch.Tensor | None,
    distance: torch.Tensor,
    index: torch.Tensor,
    indexed: bool,
) -> int: ...
def point_to_mesh_backward_cpu(
    grad_distance: torch.Tensor,
    points: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    index: torch.Tensor,
    barycentric: torch.Tensor,
    from_mesh: bool,
    grad_points: torch.Tensor | None,
    grad_vertices: torch.Tensor | None,
    threads: int,
) -> None: ...
def point_to_mesh_backward_cuda(
    grad_distance: torch.Tensor,
    points: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    index: torch.Tensor,
    barycentric: torch.Tensor,
    from_mesh: bool,
    grad_points: torch.Tensor | None,
    grad_vertices: torch.Tensor | None,
    workspace: torch.Tensor,
) -> None: ...
def point_to_mesh_backward_workspace_cuda(
    grad_distance: torch.Tensor,
    points: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    index: torch.Tensor,
    barycentric: torch.Tensor,
    from_mesh: bool,
    grad_points: torch.Tensor | None,
    grad_vertices: torch.Tensor | None,
) -> int: ...
def point_to_mesh_cpu(
    points: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    point_offsets: torch.Tensor | None,
    face_offsets: torch.Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
    distance: torch.Tensor,
    index: torch.Tensor,
    barycentric: torch.Tensor,
    threads: int,
) -> None: ...
def point_to_mesh_cuda(
    points: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    point_offsets: torch.Tensor | None,
    face_offsets: torch.Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
    distance: torch.Tensor,
    index: torch.Tensor,
    barycentric: torch.Tensor,
    workspace: torch.Tensor,
) -> None: ...
def point_to_mesh_workspace_cuda(
    points: torch.Tensor,
    vertices: torch.Tensor,
    faces: torch.Tensor,
    point_offsets: torch.Tensor | None,
    face_offsets: torch.Tensor | None,
    from_mesh: bool,
    min_area: float,
    max_distance: float,
) -> int: ...
def sort_rows(
    offsets: torch.Tensor,
    entries: torch.Tensor,
    kept: torch.Tensor | None,
    threads: int,
) -> None: ...
