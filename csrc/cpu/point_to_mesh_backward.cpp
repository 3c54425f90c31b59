#include <algorithm>
#include <vector>

#include "g2vlm/parallel.h"
#include "g2vlm/point_to_mesh.h"
#include "hits_by_range.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kSearchersPerPiece = 4096;

template <class T>
int64_t num_searchers(const PointToMeshGradient<T>& p) {
  return p.search == MeshSearch::kPointToMesh ? p.num_points : p.num_faces;
}

// The point and the face of what a searcher found; rows of -1 where it found nothing.
struct Pair {
  int64_t point, face;
};

template <class T>
Pair pair_of(const PointToMeshGradient<T>& p, int64_t searcher) {
  const int64_t found = p.index[searcher];
  const bool points_search = p.search == MeshSearch::kPointToMesh;
  const Pair pair = points_search ? Pair{searcher, found} : Pair{found, searcher};
  if (found < 0 || pair.point >= p.num_points || pair.face >= p.num_faces) return {-1, -1};
  const int32_t* corners = p.faces + pair.face * 3;
  const bool named = std::all_of(
      corners, corners + 3, [&](int32_t corner) { return corner >= 0 && corner < p.num_vertices; });
  return named ? pair : Pair{-1, -1};
}

// Twice the gradient times the way from the triangle to the point. In double precision, as the
// sums: a vertex may be hit by everyone.
template <class T>
void find_pull(const PointToMeshGradient<T>& p, int64_t searcher, const Pair& pair, double* pull) {
  const double factor = -2 * static_cast<double>(p.grad_distance[searcher]);
  const T* point = p.points + pair.point * 3;
  std::fill_n(pull, 3, 0.0);
  for (int corner = 0; corner < 3; ++corner) {
    const double weight = static_cast<double>(p.barycentric[searcher * 3 + corner]);
    const T* vertex = p.vertices + int64_t{p.faces[pair.face * 3 + corner]} * 3;
    for (int axis = 0; axis < 3; ++axis)
      pull[axis] +=
          factor * weight * (static_cast<double>(vertex[axis]) - static_cast<double>(point[axis]));
  }
}

// Of points that searched: each has one pair.
template <class T>
void searching_point_gradients(const PointToMeshGradient<T>& p, int64_t begin, int64_t end) {
  for (; begin < end; ++begin) {
    double pull[3] = {};
    const Pair pair = pair_of(p, begin);
    if (pair.point >= 0) find_pull(p, begin, pair, pull);
    for (int axis = 0; axis < 3; ++axis)
      p.grad_points[begin * 3 + axis] = static_cast<T>(pull[axis]);
  }
}

// The sums of all targets. `target_of(entry)` is the row that an entry adds `add(entry, sum)` to.
template <class T, class TargetOf, class Add>
void sum_by_target(int64_t entries, int64_t num_targets, const TargetOf& target_of, const Add& add,
                   T* out, int threads) {
  const HitsByRange hits(entries, num_targets, target_of, threads);
  const int64_t range = targets_per_range(num_targets);
  parallel_for(num_targets, range, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    std::vector<double> sums(static_cast<size_t>((end - begin) * 3));
    const int64_t* stop = hits.end(begin / range);
    for (const int64_t* hit = hits.begin(begin / range); hit < stop; ++hit)
      add(*hit, sums.data() + (target_of(*hit) - begin) * 3);
    std::transform(sums.begin(), sums.end(), out + begin * 3,
                   [](double sum) { return static_cast<T>(sum); });
  });
}

template <class T>
void found_point_gradients(const PointToMeshGradient<T>& p, int threads) {
  const auto target_of = [&](int64_t searcher) { return pair_of(p, searcher).point; };
  const auto add = [&](int64_t searcher, double* sum) {
    double pull[3];
    find_pull(p, searcher, pair_of(p, searcher), pull);
    for (int axis = 0; axis < 3; ++axis) sum[axis] += pull[axis];
  };
  sum_by_target(num_searchers(p), p.num_points, target_of, add, p.grad_points, threads);
}

// An entry is a corner of the triangle of a searcher's pair.
template <class T>
void vertex_gradients(const PointToMeshGradient<T>& p, int threads) {
  const auto target_of = [&](int64_t entry) {
    const int64_t face = pair_of(p, entry / 3).face;
    return face < 0 ? int64_t{-1} : int64_t{p.faces[face * 3 + entry % 3]};
  };
  const auto add = [&](int64_t entry, double* sum) {
    double pull[3];
    find_pull(p, entry / 3, pair_of(p, entry / 3), pull);
    const double weight = static_cast<double>(p.barycentric[entry]);
    for (int axis = 0; axis < 3; ++axis) sum[axis] -= weight * pull[axis];
  };
  sum_by_target(num_searchers(p) * 3, p.num_vertices, target_of, add, p.grad_vertices, threads);
}

}  // namespace

template <class T>
void point_to_mesh_backward_cpu(const PointToMeshGradient<T>& p, int threads) {
  if (p.grad_points != nullptr && p.search == MeshSearch::kMeshToPoint)
    found_point_gradients(p, threads);
  if (p.grad_points != nullptr && p.search == MeshSearch::kPointToMesh)
    parallel_for(p.num_points, kSearchersPerPiece, threads, [&](int64_t begin, int64_t end) {
      const StrictFloatingPoint strict;
      searching_point_gradients(p, begin, end);
    });
  if (p.grad_vertices != nullptr) vertex_gradients(p, threads);
}

template void point_to_mesh_backward_cpu(const PointToMeshGradient<float>&, int);
template void point_to_mesh_backward_cpu(const PointToMeshGradient<double>&, int);

}  // namespace g2vlm
