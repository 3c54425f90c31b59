// Distances between packed points and the triangles of packed meshes, either way.
//
// Contract, for every implementation: the squared distance from a point to the nearest point of a
// triangle, which is given by its barycentric coordinates (none negative, sum 1). Triangles without
// area are the segments or points that they are. Where `min_area` is above 0, smaller triangles
// count as their three edges. Each searcher gets its nearest partner within its segment, of equal
// computed distances the lower row; distances are right to rounding, not to the bit. Searchers
// without a partner (none in the segment, or none within the maximum distance) hold distance
// +infinity, index -1, coordinates 0; those with a NaN coordinate hold NaN, -1, NaN. Partners with
// a coordinate that is not finite, and faces that name no vertex, are never found, and neither are
// distances whose square overflows; a face that searches and names no vertex counts as one with a
// NaN.
#pragma once

#include <cstddef>
#include <cstdint>

namespace g2vlm {

enum class MeshSearch { kPointToMesh, kMeshToPoint };  // who searches: every point, or every face

template <class T>
struct PointToMeshProblem {
  MeshSearch search;
  const T* points;               // [num_points, 3]
  const T* vertices;             // [num_vertices, 3]
  const int32_t* faces;          // [num_faces, 3] rows of the packed vertices
  const int32_t* point_offsets;  // [num_segments + 1]; null for one segment
  const int32_t* face_offsets;   // [num_segments + 1]; null for one segment
  T* distance;                   // [num_points] or [num_faces]: of those who search
  int32_t* index;                // same; a row of the packed partners
  T* barycentric;                // same, 3 each: where on the triangle
  int64_t num_points;
  int64_t num_vertices;
  int64_t num_faces;
  int32_t num_segments;
  T min_area;
  T max_distance;  // squared; +infinity for no bound
};

template <class T>
void point_to_mesh_cpu(const PointToMeshProblem<T>& problem, int threads);

// Bytes of device memory that the search needs.
size_t point_to_mesh_workspace(const PointToMeshProblem<float>& problem, int device);

// Enqueues on `stream` of `device`; never synchronises. Throws std::runtime_error on launch errors.
// Offsets are read on the device only: searchers that no segment covers get NaN, -1, NaN.
void point_to_mesh_cuda(const PointToMeshProblem<float>& problem, void* workspace, int device,
                        void* stream);

// The gradient of `distance`, with the place on the triangle held (it is where the distance is
// least, so that it does not count): 2 g (p - c) for the point p of a pair whose triangle is
// nearest at c, and -2 g b_i (p - c) for the triangle's vertex i of weight b_i. The sums of a
// vertex and of a point run in a fixed order, so that two runs agree to the bit. Pairs with index
// -1 count for nothing.
template <class T>
struct PointToMeshGradient {
  MeshSearch search;
  const T* grad_distance;  // [num_points] or [num_faces]: of those who searched
  const T* points;         // [num_points, 3]
  const T* vertices;       // [num_vertices, 3]
  const int32_t* faces;    // [num_faces, 3]
  const int32_t* index;    // of those who searched
  const T* barycentric;    // same, 3 each
  T* grad_points;          // [num_points, 3], or null where it is not wanted
  T* grad_vertices;        // [num_vertices, 3], or null where it is not wanted
  int64_t num_points;
  int64_t num_vertices;
  int64_t num_faces;
};

template <class T>
void point_to_mesh_backward_cpu(const PointToMeshGradient<T>& problem, int threads);

size_t point_to_mesh_backward_workspace(const PointToMeshGradient<float>& problem, int device);

void point_to_mesh_backward_cuda(const PointToMeshGradient<float>& problem, void* workspace,
                                 int device, void* stream);

}  // namespace g2vlm
