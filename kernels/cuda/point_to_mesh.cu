// Nearest triangles of points and nearest points of triangles: both are sorted along a Hilbert
// curve, triangles by their centroids, and a warp searches for one of them in the tree of the
// other.
#include <algorithm>

#include "common.cuh"
#include "g2vlm/point_to_mesh.h"
#include "nearest_tree_build.cuh"
#include "point_to_mesh.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;
constexpr int kPoints = 0, kFaces = 1;  // clouds

// A thread a face: its centroid. And a thread one who searches: unknown, as long as none finds it.
__global__ void __launch_bounds__(kThreads)
    prepare(const __grid_constant__ Problem p, int64_t searchers, float* centroids) {
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (item < searchers) write(p, item, NAN, -1, NAN);
  if (item >= p.num_faces) return;
  const Triangle t = triangle_of(p, item);
  constexpr float kThird = 1.0F / 3;
  centroids[item * 3] = kThird * t.a.x + kThird * t.b.x + kThird * t.c.x;
  centroids[item * 3 + 1] = kThird * t.a.y + kThird * t.b.y + kThird * t.c.y;
  centroids[item * 3 + 2] = kThird * t.a.z + kThird * t.b.z + kThird * t.c.z;
}

// A warp a leaf of the centroids: fetches the triangles and bounds them.
__global__ void __launch_bounds__(kThreads)
    fetch_triangles(const __grid_constant__ Problem p, const __grid_constant__ Tree tree,
                    Triangles triangles) {
  const int64_t leaf = int64_t{blockIdx.x} * (kThreads / kFanout) + threadIdx.x / kFanout;
  if (leaf >= tree.leaves()) return;
  const int32_t segment = tree.segment_of(0, leaf);
  if ((leaf - tree.start(0, segment)) * kFanout >= tree.points_of(segment)) return;
  const int lane = threadIdx.x % kFanout;
  const int32_t row = __float_as_int(tree.sorted[leaf * kFanout + lane].w);
  const float4 nowhere = {NAN, NAN, NAN, __int_as_float(kNoRow)};
  Triangle triangle{nowhere, nowhere, nowhere};
  if (row != kNoRow) triangle = triangle_of(p, row);
  triangles.store(leaf * kFanout + lane, triangle);
  Box box = triangle.box();
  if (!triangle.is_finite()) box = {nowhere, nowhere};
  write_box(tree.boxes + leaf, box.low, box.high, row, lane == 0);
}

struct Slot {
  int64_t number;
  int32_t segment;
  bool used;
};
// The place of a warp among the sorted of a tree.
__device__ Slot slot_of_warp(const Tree& tree) {
  const int64_t slot = int64_t{blockIdx.x} * (kThreads / kFanout) + threadIdx.x / kFanout;
  if (slot >= tree.leaves() * kFanout) return {0, 0, false};
  const int32_t segment = tree.segment_of(0, slot / kFanout);
  return {slot, segment, slot - tree.start(0, segment) * kFanout < tree.points_of(segment)};
}

__device__ void write_found(const Problem& p, int64_t row, const BestPair& found) {
  if (threadIdx.x % kFanout != 0) return;
  if (found.row() < 0) return write(p, row, INFINITY, -1, 0.0F);
  p.distance[row] = found.distance();
  p.index[row] = found.row();
}

// A warp a point. Where a coordinate is infinite nothing is found, and no box would help to see it.
__global__ void __launch_bounds__(kThreads)
    search_by_points(const __grid_constant__ Problem p, const __grid_constant__ Pair pair,
                     const __grid_constant__ Triangles triangles, uint32_t limit) {
  const Slot slot = slot_of_warp(pair.tree[kPoints]);
  if (!slot.used) return;
  const float4 point = pair.tree[kPoints].sorted[slot.number];
  if (!is_known(point)) return;
  TriangleSearch found(triangles, point, p.min_area, limit);
  if (is_finite(point)) walk(pair.tree[kFaces], slot.segment, found);
  write_found(p, __float_as_int(point.w), found);
}

// A warp a triangle.
__global__ void __launch_bounds__(kThreads)
    search_by_faces(const __grid_constant__ Problem p, const __grid_constant__ Pair pair,
                    const __grid_constant__ Triangles triangles, uint32_t limit) {
  const Slot slot = slot_of_warp(pair.tree[kFaces]);
  if (!slot.used) return;
  const Triangle triangle = triangles.load(slot.number);
  if (!triangle.is_known()) return;
  TrianglePointSearch found(pair.tree[kPoints], triangle, p.min_area, limit);
  if (triangle.is_finite()) walk(pair.tree[kPoints], slot.segment, found);
  write_found(p, __float_as_int(triangle.a.w), found);
}

struct Plan {
  Workspace memory;
  float* centroids;
  Triangles triangles;
  TreeBuilder builder;

  Plan(const Problem& p, void* workspace)
      : memory(workspace),
        centroids(memory.take<float>(p.num_faces * 3)),
        builder({{p.points, centroids},
                 {p.point_offsets, p.face_offsets},
                 {p.num_points, p.num_faces},
                 p.num_segments},
                memory, memory) {
    triangles.corners = memory.take<float4>(builder.pair().tree[kFaces].leaves() * kFanout * 3);
  }
};

}  // namespace

size_t point_to_mesh_workspace(const Problem& problem, int device) {
  const DeviceGuard guard(device);
  return Plan(problem, nullptr).memory.bytes();
}

void point_to_mesh_cuda(const Problem& p, void* workspace, int device, void* stream) {
  const bool by_points = p.search == MeshSearch::kPointToMesh;
  const int64_t searchers = by_points ? p.num_points : p.num_faces;
  if (searchers == 0) return;
  const DeviceGuard guard(device);
  Plan plan(p, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  prepare<<<blocks_for(std::max(searchers, p.num_faces), kThreads), kThreads, 0, s>>>(
      p, searchers, plan.centroids);
  plan.builder.sort({}, s);
  plan.builder.fill_leaves(s);
  const Pair& pair = plan.builder.pair();
  const Tree &points = pair.tree[kPoints], &faces = pair.tree[kFaces];
  constexpr int kWarps = kThreads / kFanout;
  fetch_triangles<<<blocks_for(faces.leaves(), kWarps), kThreads, 0, s>>>(p, faces, plan.triangles);
  TreeBuilder::fill_nodes(pair, s);
  const uint32_t limit = limit_of(p.max_distance);
  if (by_points)
    search_by_points<<<blocks_for(points.leaves() * kFanout, kWarps), kThreads, 0, s>>>(
        p, pair, plan.triangles, limit);
  else
    search_by_faces<<<blocks_for(faces.leaves() * kFanout, kWarps), kThreads, 0, s>>>(
        p, pair, plan.triangles, limit);
  place_on_triangles(p, searchers, s);
  check_cuda(cudaGetLastError(), "point_to_mesh");
}

}  // namespace g2vlm
