#include "g2vlm/point_to_mesh.h"

#include <numeric>
#include <vector>

#include "g2vlm/parallel.h"
#include "point_to_mesh_search.h"
#include "point_to_mesh_tree.h"

namespace g2vlm {
namespace {

// Pairs for each row of a segment above which a tree pays. Measured on one core with AVX-512, small
// faces on a sphere, milliseconds without / with a tree, from points and from faces: 64 points and
// 64 faces: 0.019 / 0.029, 0.020 / 0.021; 128 and 128: 0.062 / 0.049, 0.067 / 0.041; 1024 and 1024:
// 2.1 / 0.43, 2.2 / 0.39; 1 and 4096: 0.10 / 0.22, 0.29 / 0.39.
constexpr int64_t kPairsPerRow = 50;

struct Rows {
  int32_t begin, end;

  int64_t count() const { return int64_t{end} - begin; }
};

struct Segment {
  Rows points, faces;

  int64_t count() const { return points.count() + faces.count(); }
  bool wants_tree() const { return points.count() * faces.count() > kPairsPerRow * count(); }
};

Rows rows_at(const int32_t* offsets, int32_t number, int64_t all) {
  if (offsets == nullptr) return {0, static_cast<int32_t>(all)};
  return {offsets[number], offsets[number + 1]};
}

std::vector<int32_t> as_they_are(const Rows& rows) {
  std::vector<int32_t> found(static_cast<size_t>(rows.count()));
  std::iota(found.begin(), found.end(), rows.begin);
  return found;
}

template <class T>
void search_segment(const PointToMeshProblem<T>& p, const Segment& segment, int threads) {
  const auto [points, faces] = segment;
  const bool tree = segment.wants_tree();
  if (p.search == MeshSearch::kPointToMesh) {
    const auto partners = gather_faces(p, faces.begin, faces.end, tree, threads);
    const auto searchers =
        tree ? order_points(p, points.begin, points.end, threads) : as_they_are(points);
    search_faces(p, partners, searchers, threads);
  } else {
    const auto partners = gather_points(p, points.begin, points.end, tree, threads);
    const auto searchers =
        tree ? order_faces(p, faces.begin, faces.end, threads) : as_they_are(faces);
    search_points(p, partners, searchers, threads);
  }
}

}  // namespace

template <class T>
OnTriangle<T> place_on_triangle(const TriangleShape<T>& shape, const T (&a)[3], const T (&b)[3]) {
  return closest_on_triangle(shape, a, b);
}

// A segment that is much of all work is shared by the threads; others are taken whole.
template <class T>
void point_to_mesh_cpu(const PointToMeshProblem<T>& p, int threads) {
  std::vector<Segment> whole;
  for (int32_t number = 0; number < p.num_segments; ++number) {
    const Segment segment{rows_at(p.point_offsets, number, p.num_points),
                          rows_at(p.face_offsets, number, p.num_faces)};
    if (segment.count() * 4 * threads > p.num_points + p.num_faces) {
      search_segment(p, segment, threads);
    } else {
      whole.push_back(segment);
    }
  }
  parallel_for(static_cast<int64_t>(whole.size()), 1, threads,
               [&](int64_t i, int64_t) { search_segment(p, whole[static_cast<size_t>(i)], 1); });
}

template OnTriangle<float> place_on_triangle(const TriangleShape<float>&, const float (&)[3],
                                             const float (&)[3]);
template OnTriangle<double> place_on_triangle(const TriangleShape<double>&, const double (&)[3],
                                              const double (&)[3]);
template void point_to_mesh_cpu(const PointToMeshProblem<float>&, int);
template void point_to_mesh_cpu(const PointToMeshProblem<double>&, int);

}  // namespace g2vlm
