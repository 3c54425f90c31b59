// What the kernels of point_to_mesh share.
#pragma once

#include "g2vlm/point_to_mesh.h"
#include "triangle_tree.cuh"

namespace g2vlm {

using Problem = PointToMeshProblem<float>;

__device__ inline float4 corner(const Problem& p, int64_t face, int number) {
  const int32_t vertex = p.faces[face * 3 + number];
  if (vertex < 0 || vertex >= p.num_vertices) return {NAN, NAN, NAN, 0.0F};
  const float* at = p.vertices + int64_t{vertex} * 3;
  return {at[0], at[1], at[2], 0.0F};
}

__device__ inline Triangle triangle_of(const Problem& p, int64_t face) {
  Triangle triangle{corner(p, face, 0), corner(p, face, 1), corner(p, face, 2)};
  triangle.a.w = __int_as_float(static_cast<int32_t>(face));
  return triangle;
}

// The result of one who finds nobody.
__device__ inline void write(const Problem& p, int64_t row, float distance, int32_t index,
                             float weight) {
  p.distance[row] = distance;
  p.index[row] = index;
  for (int64_t i = row * 3; i < row * 3 + 3; ++i) p.barycentric[i] = weight;
}

// Writes where on the triangles those who search found their partners.
void place_on_triangles(const Problem& p, int64_t searchers, cudaStream_t stream);

}  // namespace g2vlm
