#include <algorithm>

#include "common.cuh"
#include "g2vlm/point_to_mesh.h"
#include "grouped_sum.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;

// Who searched, and what they found.
struct Pairs {
  PointToMeshGradient<float> p;

  __host__ __device__ bool by_points() const { return p.search == MeshSearch::kPointToMesh; }
  __host__ __device__ int64_t count() const { return by_points() ? p.num_points : p.num_faces; }
  __host__ __device__ int64_t partners() const { return by_points() ? p.num_faces : p.num_points; }

  __device__ bool found(int64_t pair) const {
    return p.index[pair] >= 0 && p.index[pair] < partners();
  }
  __device__ int64_t point(int64_t pair) const { return by_points() ? pair : p.index[pair]; }
  __device__ int64_t vertex(int64_t pair, int corner) const {
    return p.faces[(by_points() ? p.index[pair] : pair) * 3 + corner];
  }
  __device__ bool has_vertices(int64_t pair) const {
    bool valid = true;
    for (int corner = 0; corner < 3; ++corner)
      valid &= vertex(pair, corner) >= 0 && vertex(pair, corner) < p.num_vertices;
    return valid;
  }

  // What the point of a pair gets; its triangle gets the opposite.
  __device__ float3 pull(int64_t pair) const {
    if (!found(pair) || !has_vertices(pair)) return {0.0F, 0.0F, 0.0F};
    const float3 at = load(p.points, point(pair));
    float3 apart = {0.0F, 0.0F, 0.0F};
    for (int corner = 0; corner < 3; ++corner) {
      const float3 from = subtract(at, load(p.vertices, vertex(pair, corner)));
      apart = add(apart, multiply(p.barycentric[pair * 3 + corner], from));
    }
    return multiply(multiply(2.0F, p.grad_distance[pair]), apart);
  }
};

struct PullOfPoint {
  Pairs pairs;
  __device__ float3 operator()(int64_t pair) const { return pairs.pull(pair); }
};

struct PullOfVertex {
  Pairs pairs;
  __device__ float3 operator()(int64_t item) const {
    return multiply(-pairs.p.barycentric[item], pairs.pull(item / 3));
  }
};

struct WriteRow {
  float* grad;
  __device__ void operator()(int64_t row, float3 sum) const { store(grad, row, sum); }
};

__global__ void __launch_bounds__(kThreads) pull_points(const __grid_constant__ Pairs pairs) {
  const int64_t pair = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair < pairs.count()) store(pairs.p.grad_points, pair, pairs.pull(pair));
}

__global__ void __launch_bounds__(kThreads)
    file_by_point(const __grid_constant__ Pairs pairs, uint32_t* points, uint32_t* items) {
  const int64_t pair = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (pair >= pairs.count()) return;
  points[pair] = static_cast<uint32_t>(pairs.found(pair) ? pairs.point(pair) : pairs.p.num_points);
  items[pair] = static_cast<uint32_t>(pair);
}

__global__ void __launch_bounds__(kThreads)
    file_by_vertex(const __grid_constant__ Pairs pairs, uint32_t* vertices, uint32_t* items) {
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  const int64_t pair = item / 3;
  if (pair >= pairs.count()) return;
  const bool counts = pairs.found(pair) && pairs.has_vertices(pair);
  vertices[item] = static_cast<uint32_t>(counts ? pairs.vertex(pair, static_cast<int>(item % 3))
                                                : pairs.p.num_vertices);
  items[item] = static_cast<uint32_t>(item);
}

// One sum after the other, in the same memory.
struct Plan {
  Workspace by_point, by_vertex;
  GroupedSum points, vertices;

  Plan(const Pairs& pairs, void* workspace)
      : by_point(workspace),
        by_vertex(workspace),
        points(pairs.p.num_points, pairs.by_points() ? 0 : pairs.count(), by_point),
        vertices(pairs.p.num_vertices, 3 * pairs.count(), by_vertex) {}
};

}  // namespace

size_t point_to_mesh_backward_workspace(const PointToMeshGradient<float>& problem, int device) {
  const DeviceGuard guard(device);
  const Plan plan({problem}, nullptr);
  return std::max(plan.by_point.bytes(), plan.by_vertex.bytes());
}

void point_to_mesh_backward_cuda(const PointToMeshGradient<float>& p, void* workspace, int device,
                                 void* stream) {
  const DeviceGuard guard(device);
  auto* const s = static_cast<cudaStream_t>(stream);
  const Pairs pairs{p};
  const int64_t count = pairs.count();
  Plan plan(pairs, workspace);
  if (p.grad_points != nullptr && pairs.by_points() && count > 0)
    pull_points<<<blocks_for(count, kThreads), kThreads, 0, s>>>(pairs);
  if (p.grad_points != nullptr && !pairs.by_points()) {
    if (count > 0)
      file_by_point<<<blocks_for(count, kThreads), kThreads, 0, s>>>(pairs, plan.points.group(),
                                                                     plan.points.item());
    plan.points.run(count, PullOfPoint{pairs}, WriteRow{p.grad_points}, s);
  }
  if (p.grad_vertices != nullptr) {
    if (count > 0)
      file_by_vertex<<<blocks_for(3 * count, kThreads), kThreads, 0, s>>>(
          pairs, plan.vertices.group(), plan.vertices.item());
    plan.vertices.run(3 * count, PullOfVertex{pairs}, WriteRow{p.grad_vertices}, s);
  }
  check_cuda(cudaGetLastError(), "point_to_mesh_backward");
}

}  // namespace g2vlm
