// One `bind_<stem>` per op; module.cpp calls them all.
#pragma once

#include <nanobind/nanobind.h>

#include "tensor.h"

namespace g2vlm::python {

void bind_edge_attention(nanobind::module_& module);
void bind_edge_conv(nanobind::module_& module);
void bind_graph_build(nanobind::module_& module);
void bind_graph_reduce(nanobind::module_& module);
void bind_geometry_attention(nanobind::module_& module);
void bind_nearest(nanobind::module_& module);
void bind_nearest_index(nanobind::module_& module);
void bind_point_to_mesh(nanobind::module_& module);
#ifdef G2VLM_WITH_CUDA
void bind_chamfer(nanobind::module_& module);
void bind_edge_mlp(nanobind::module_& module);
void bind_nearest_pair(nanobind::module_& module);
void bind_nearest_tree(nanobind::module_& module);
void bind_voxel_pool(nanobind::module_& module);
#endif

}  // namespace g2vlm::python
