// The searches among the partners of a segment, of kFanOut searchers at a time.
#pragma once

#include <cstdint>
#include <vector>

#include "point_to_mesh_tree.h"

namespace g2vlm {

// As closest_on_triangle, each step of it rounded once. Where multiply-adds round one weight in two
// ways, those of slivers do not add up to 1.
template <class T>
OnTriangle<T> place_on_triangle(const TriangleShape<T>& shape, const T (&a)[3], const T (&b)[3]);

// Fills the results of the rows `searchers` of the packed points, or faces; neighbours in that list
// had better be neighbours in space.
template <class T>
void search_faces(const PointToMeshProblem<T>& problem, const Partners<FaceLeaf<T>, T>& faces,
                  const std::vector<int32_t>& searchers, int threads);
template <class T>
void search_points(const PointToMeshProblem<T>& problem, const Partners<PointLeaf<T>, T>& points,
                   const std::vector<int32_t>& searchers, int threads);

}  // namespace g2vlm
