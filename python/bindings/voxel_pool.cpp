#include "g2vlm/voxel_pool.h"

#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <array>

#include "bindings.h"
#include "graph.h"

#ifdef G2VLM_WITH_CUDA
namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

using Positions = Tensor<const float>;
using Written = Tensor<int32_t>;

VoxelPoints points_of(const Positions& position, const OptionalIndices& offsets, double size) {
  const int64_t segments = offsets ? offsets->size(0) - 1 : 1;
  return {position.data(), data_or_null(offsets), position.size(0), static_cast<int32_t>(segments),
          size};
}

VoxelGrid grid_of(const std::array<double, 3>& low, const std::array<int64_t, 3>& extent) {
  return {{low[0], low[1], low[2]}, {extent[0], extent[1], extent[2]}};
}

}  // namespace

void bind_voxel_pool(nb::module_& module) {
  module.def(
      "voxel_bounds_cuda",
      [](Positions position, double size, Tensor<double> space) {
        void* stream = position.stream();
        nb::gil_scoped_release release;
        const auto [low, high, are_finite] = voxel_bounds_cuda(
            points_of(position, {}, size), space.data(), space.size(0), position.device(), stream);
        return std::array<double, 7>{
            low[0], low[1], low[2], high[0], high[1], high[2], are_finite ? 1.0 : 0.0};
      },
      "position"_a, "size"_a, "space"_a);
  module.def(
      "voxel_groups_workspace_cuda",
      [](Positions position, OptionalIndices offsets, double size, std::array<double, 3> low,
         std::array<int64_t, 3> extent) {
        return voxel_groups_workspace(points_of(position, offsets, size), grid_of(low, extent),
                                      position.device());
      },
      "position"_a, "offsets"_a.none(), "size"_a, "low"_a, "extent"_a);
  module.def(
      "voxel_groups_cuda",
      [](Positions position, OptionalIndices offsets, double size, std::array<double, 3> low,
         std::array<int64_t, 3> extent, Written order, Written order_again, Written slot,
         Written assignment, Written numbers, Written row_offsets, Written segment_offsets,
         Tensor<uint8_t> workspace) {
        void* stream = position.stream();
        nb::gil_scoped_release release;
        return voxel_groups_cuda(points_of(position, offsets, size), grid_of(low, extent),
                                 {order.data(), order_again.data(), slot.data(), assignment.data(),
                                  numbers.data(), row_offsets.data(), segment_offsets.data()},
                                 workspace.data(), position.device(), stream);
      },
      "position"_a, "offsets"_a.none(), "size"_a, "low"_a, "extent"_a, "order"_a, "order_again"_a,
      "slot"_a, "assignment"_a, "numbers"_a, "row_offsets"_a, "segment_offsets"_a, "workspace"_a);
}

}  // namespace g2vlm::python
#endif
