// Compiled without contraction of products and sums: the weights of a place add up to 1 only where
// each of them is rounded the same way wherever it stands.
#include "common.cuh"
#include "point_to_mesh.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;

// A thread one who searched.
__global__ void __launch_bounds__(kThreads)
    place(const __grid_constant__ Problem p, int64_t searchers) {
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (row >= searchers || p.index[row] < 0) return;
  const bool by_points = p.search == MeshSearch::kPointToMesh;
  const int64_t face = by_points ? p.index[row] : row;
  const float* at = p.points + (by_points ? row : p.index[row]) * 3;
  const OnTriangle<float> on =
      closest(triangle_of(p, face), float4{at[0], at[1], at[2], 0.0F}, p.min_area);
  for (int i = 0; i < 3; ++i) p.barycentric[row * 3 + i] = on.weight[i];
}

}  // namespace

void place_on_triangles(const Problem& p, int64_t searchers, cudaStream_t stream) {
  place<<<blocks_for(searchers, kThreads), kThreads, 0, stream>>>(p, searchers);
}

}  // namespace g2vlm
