#include "bindings.h"

namespace nb = nanobind;

NB_MODULE(_C, module) {
  module.doc() = "Native kernels of g2vlm_fast; call them through g2vlm_fast.ops.";
  module.attr("version") = G2VLM_VERSION;
#ifdef G2VLM_WITH_CUDA
  module.attr("cuda_version") = G2VLM_CUDA_VERSION;
  module.attr("cuda_architectures") = G2VLM_CUDA_ARCHITECTURES;
#else
  module.attr("cuda_version") = "";
  module.attr("cuda_architectures") = "";
#endif
  g2vlm::python::bind_edge_attention(module);
  g2vlm::python::bind_edge_conv(module);
  g2vlm::python::bind_graph_build(module);
  g2vlm::python::bind_graph_reduce(module);
  g2vlm::python::bind_geometry_attention(module);
  g2vlm::python::bind_nearest(module);
  g2vlm::python::bind_nearest_index(module);
  g2vlm::python::bind_point_to_mesh(module);
#ifdef G2VLM_WITH_CUDA
  g2vlm::python::bind_chamfer(module);
  g2vlm::python::bind_edge_mlp(module);
  g2vlm::python::bind_nearest_pair(module);
  g2vlm::python::bind_nearest_tree(module);
  g2vlm::python::bind_voxel_pool(module);
#endif
}
