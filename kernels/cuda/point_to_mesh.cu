// Nearest triangles of points and nearest points of triangles: both are sorted along a Hilbert
// curve, triangles by their centroids, and a warp searches for one of them in the tree of the
// other.
#include <algorithm>

#include "common.cuh"
#include "g2vlm/point_to_mesh.h"
#include "nearest_tree_build.cuh"
#include "triangle_tree.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;
constexpr int kPoints = 0, kFaces = 1;  // clouds

using Problem = PointToMeshProblem<float>;

__device__ float4 corner(const Problem& p, int64_t face, int number) {
  const int32_t vertex = p.faces[face * 3 + number];
  if (vertex < 0 || vertex >= p.num_vertices) return {NAN, NAN, NAN, 0.0F};
  const float* at = p.vertices + int64_t{vertex} * 3;
  return {at[0], at[1], at[2], 0.0F};
}

__device__ Triangle triangle_of(const Problem& p, int64_t face) {
  Triangle triangle{corner(p, face, 0), corner(p, face, 1), corner(p, face, 2)};
  triangle.a.w = __int_as_float(static_cast<int32_t>(face));
  return triangle;
}

__device__ void write(const Problem& p, int64_t row, float distance, int32_t index, float a,
                      float b, float c) {
  p.distance[row] = distance;
  p.index[row] = index;
  p.barycentric[row * 3] = a;
  p.barycentric[row * 3 + 1] = b;
  p.barycentric[row * 3 + 2] = c;
}

// A thread a face: its centroid. And a thread one who searches: unknown, as long as none finds it.
__global__ void __launch_bounds__(kThreads)
    prepare(const __grid_constant__ Problem p, int64_t searchers, float* centroids) {
  const int64_t item = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (item < searchers) write(p, item, NAN, -1, NAN, NAN, NAN);
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
  Triangle counts = triangle;
  if (!triangle.is_known()) counts = {nowhere, nowhere, nowhere};
  const auto &a = counts.a, &b = counts.b, &c = counts.c;
  write_box(
      tree.boxes + leaf,
      {fminf(fminf(a.x, b.x), c.x), fminf(fminf(a.y, b.y), c.y), fminf(fminf(a.z, b.z), c.z), 0.0F},
      {fmaxf(fmaxf(a.x, b.x), c.x), fmaxf(fmaxf(a.y, b.y), c.y), fmaxf(fmaxf(a.z, b.z), c.z), 0.0F},
      row, lane == 0);
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

__device__ void write_found(const Problem& p, int64_t row, const BestPair& found,
                            const Triangle& triangle, float4 point) {
  const OnTriangle<float> on = closest(triangle, point, p.min_area);
  write(p, row, found.distance(), found.row(), on.weight[0], on.weight[1], on.weight[2]);
}

// A warp a point.
__global__ void __launch_bounds__(kThreads)
    search_triangles(const __grid_constant__ Problem p, const __grid_constant__ Pair pair,
                     const __grid_constant__ Triangles triangles, uint32_t limit) {
  const Slot slot = slot_of_warp(pair.tree[kPoints]);
  if (!slot.used) return;
  const float4 point = pair.tree[kPoints].sorted[slot.number];
  const int32_t row = __float_as_int(point.w);
  if (!is_known(point)) return;
  TriangleSearch found(triangles, point, p.min_area, limit);
  walk(pair.tree[kFaces], slot.segment, found);
  if (threadIdx.x % kFanout != 0) return;
  if (found.row() < 0) return write(p, row, INFINITY, -1, 0.0F, 0.0F, 0.0F);
  write_found(p, row, found, triangle_of(p, found.row()), point);
}

// A warp a triangle.
__global__ void __launch_bounds__(kThreads)
    search_points(const __grid_constant__ Problem p, const __grid_constant__ Pair pair,
                  const __grid_constant__ Triangles triangles, uint32_t limit) {
  const Slot slot = slot_of_warp(pair.tree[kFaces]);
  if (!slot.used) return;
  const Triangle triangle = triangles.load(slot.number);
  const int32_t row = __float_as_int(triangle.a.w);
  if (!triangle.is_known()) return;
  TrianglePointSearch found(pair.tree[kPoints], triangle, p.min_area, limit);
  walk(pair.tree[kPoints], slot.segment, found);
  if (threadIdx.x % kFanout != 0) return;
  if (found.row() < 0) return write(p, row, INFINITY, -1, 0.0F, 0.0F, 0.0F);
  write_found(p, row, found, triangle, pair.tree[kPoints].point(found.row()));
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
    search_triangles<<<blocks_for(points.leaves() * kFanout, kWarps), kThreads, 0, s>>>(
        p, pair, plan.triangles, limit);
  else
    search_points<<<blocks_for(faces.leaves() * kFanout, kWarps), kThreads, 0, s>>>(
        p, pair, plan.triangles, limit);
  check_cuda(cudaGetLastError(), "point_to_mesh");
}

}  // namespace g2vlm
