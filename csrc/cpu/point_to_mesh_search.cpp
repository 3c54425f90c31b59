#include "point_to_mesh_search.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "g2vlm/parallel.h"
#include "instruction_set.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kSearchersPerPiece = 512;
constexpr int kMaxLevels = 8;  // kFanOut to this power is more than int32_t counts
constexpr int kMaxVisits = kMaxLevels * kFanOut;

// The nearest partner so far. A partner enters where its (distance, row) is below.
template <class T>
struct Best {
  T distance;
  int32_t row;
  int64_t leaf;
};

// The distance from an interval: 0 inside. A NaN counts as 0, and so leaves nothing out.
template <class T>
G2VLM_ALWAYS_INLINE T gap(T below, T above) {
  const T wide = below > T(0) ? below : T(0);
  return above > wide ? above : wide;
}

template <class T>
G2VLM_ALWAYS_INLINE T bound_of(T x, T y, T z) {
  return (x * x + y * y + z * z) * (T(1) - kSlack<T>);
}

template <class T>
bool any_nan(const T (&x)[3]) {
  return std::isnan(x[0]) || std::isnan(x[1]) || std::isnan(x[2]);
}

template <class T>
struct PointSearcher {
  T point[3];

  G2VLM_ALWAYS_INLINE PointSearcher(const PointToMeshProblem<T>& p, int64_t row)
      : point{p.points[row * 3], p.points[row * 3 + 1], p.points[row * 3 + 2]} {}

  bool has_nan() const { return any_nan(point); }

  G2VLM_ALWAYS_INLINE void bounds(const BoxNode<T>& node, T* __restrict out) const {
    const T x = point[0], y = point[1], z = point[2];
    for (int child = 0; child < kFanOut; ++child)
      out[child] = bound_of(gap(node.low[0][child] - x, x - node.high[0][child]),
                            gap(node.low[1][child] - y, y - node.high[1][child]),
                            gap(node.low[2][child] - z, z - node.high[2][child]));
  }

  G2VLM_ALWAYS_INLINE void distances(const FaceLeaf<T>& leaf, T* __restrict out) const {
    const T x = point[0], y = point[1], z = point[2];
    for (int lane = 0; lane < kFanOut; ++lane) {
      const T a[3] = {leaf.a[0][lane] - x, leaf.a[1][lane] - y, leaf.a[2][lane] - z};
      const T b[3] = {leaf.b[0][lane] - x, leaf.b[1][lane] - y, leaf.b[2][lane] - z};
      const TriangleShape<T> shape{
          {leaf.ab[0][lane], leaf.ab[1][lane], leaf.ab[2][lane]},
          {leaf.ac[0][lane], leaf.ac[1][lane], leaf.ac[2][lane]},
          {leaf.bc[0][lane], leaf.bc[1][lane], leaf.bc[2][lane]},
          {leaf.height[0][lane], leaf.height[1][lane], leaf.height[2][lane]},
          leaf.per_ab[lane],
          leaf.per_ac[lane],
          leaf.per_bc[lane],
          leaf.per_height[lane],
          leaf.foot[lane]};
      out[lane] = closest_on_triangle(shape, a, b).distance;
    }
  }
};

template <class T>
struct FaceSearcher {
  Triangle<T> triangle;
  TriangleShape<T> shape;
  Box<T> box;

  G2VLM_ALWAYS_INLINE FaceSearcher(const PointToMeshProblem<T>& p, int64_t row)
      : triangle(triangle_at(p, row)),
        shape(shape_of_triangle(triangle.a, triangle.b, triangle.c, p.min_area)),
        box(box_of(triangle)) {}

  bool has_nan() const { return any_nan(triangle.a) || any_nan(triangle.b) || any_nan(triangle.c); }

  G2VLM_ALWAYS_INLINE void bounds(const BoxNode<T>& node, T* __restrict out) const {
    const Box<T> here = box;
    for (int child = 0; child < kFanOut; ++child)
      out[child] =
          bound_of(gap(node.low[0][child] - here.high[0], here.low[0] - node.high[0][child]),
                   gap(node.low[1][child] - here.high[1], here.low[1] - node.high[1][child]),
                   gap(node.low[2][child] - here.high[2], here.low[2] - node.high[2][child]));
  }

  G2VLM_ALWAYS_INLINE void distances(const PointLeaf<T>& leaf, T* __restrict out) const {
    const Triangle<T> corners = triangle;
    const TriangleShape<T> fixed = shape;
    for (int lane = 0; lane < kFanOut; ++lane) {
      const T x = leaf.point[0][lane], y = leaf.point[1][lane], z = leaf.point[2][lane];
      const T a[3] = {corners.a[0] - x, corners.a[1] - y, corners.a[2] - z};
      const T b[3] = {corners.b[0] - x, corners.b[1] - y, corners.b[2] - z};
      out[lane] = closest_on_triangle(fixed, a, b).distance;
    }
  }
};

template <class Searcher, class Leaf, class T>
G2VLM_ALWAYS_INLINE void look_at(const Searcher& searcher, const Leaf* leaves, int64_t number,
                                 Best<T>& best) {
  alignas(64) T distances[kFanOut];
  searcher.distances(leaves[number], distances);
  bool any = false;
  for (int lane = 0; lane < kFanOut; ++lane) any |= distances[lane] <= best.distance;
  if (!any) return;
  for (int lane = 0; lane < kFanOut; ++lane) {
    const T distance = distances[lane];
    const int32_t row = leaves[number].row[lane];
    if (distance < best.distance || (distance == best.distance && row < best.row))
      best = {distance, row, number};
  }
}

template <class T>
struct Visit {
  T bound;
  int32_t level;
  int32_t child;  // counted over the whole level
};

// Puts the children that may hold a nearer partner on top of the stack, the nearest uppermost.
template <class Searcher, class T>
G2VLM_ALWAYS_INLINE int push_children(const Searcher& searcher, const BoxNode<T>& node,
                                      int32_t level, int32_t number, T limit, Visit<T>* visits,
                                      int size) {
  alignas(64) T bounds[kFanOut];
  searcher.bounds(node, bounds);
  const int base = size;
  for (int child = 0; child < node.children; ++child) {
    const T bound = bounds[child];
    if (bound > limit) continue;
    int place = size++;
    for (; place > base && visits[place - 1].bound <= bound; --place)
      visits[place] = visits[place - 1];
    visits[place] = {bound, level, number * kFanOut + child};
  }
  return size;
}

// `seed` is the leaf that is looked at first, and becomes where the partner was found.
template <class Searcher, class Leaf, class T>
G2VLM_ALWAYS_INLINE Best<T> search_tree(const Searcher& searcher, const Partners<Leaf, T>& partners,
                                        T limit, int64_t seed) {
  const BoxTree<T>& tree = partners.tree;
  const Leaf* leaves = partners.leaves.get();
  Best<T> best{limit, kNoRow, seed};
  look_at(searcher, leaves, seed, best);
  Visit<T> visits[kMaxVisits];
  const int32_t top = tree.num_levels() - 1;
  int size = push_children(searcher, tree.level(top)[0], top, 0, best.distance, visits, 0);
  while (size > 0) {
    const Visit<T> visit = visits[--size];
    if (visit.bound > best.distance) continue;
    if (visit.level > 0) {
      const int32_t below = visit.level - 1;
      size = push_children(searcher, tree.level(below)[visit.child], below, visit.child,
                           best.distance, visits, size);
    } else if (visit.child != seed) {
      look_at(searcher, leaves, visit.child, best);
    }
  }
  return best;
}

template <class Searcher, class Leaf, class T>
G2VLM_ALWAYS_INLINE Best<T> search_all(const Searcher& searcher, const Partners<Leaf, T>& partners,
                                       T limit) {
  Best<T> best{limit, kNoRow, 0};
  for (int64_t number = 0; number < partners.num_leaves; ++number)
    look_at(searcher, partners.leaves.get(), number, best);
  return best;
}

template <class T>
void write_nothing(const PointToMeshProblem<T>& p, int64_t row, T distance, T weight) {
  p.distance[row] = distance;
  p.index[row] = -1;
  std::fill_n(p.barycentric + row * 3, 3, weight);
}

template <class T>
G2VLM_ALWAYS_INLINE void write(const PointToMeshProblem<T>& p, int64_t row, const Best<T>& best) {
  if (best.row == kNoRow) {
    write_nothing(p, row, std::numeric_limits<T>::infinity(), T(0));
    return;
  }
  const bool points_search = p.search == MeshSearch::kPointToMesh;
  const Triangle<T> triangle = triangle_at(p, points_search ? best.row : row);
  const T* point = p.points + (points_search ? row : int64_t{best.row}) * 3;
  T a[3], b[3];
  for (int axis = 0; axis < 3; ++axis) {
    a[axis] = triangle.a[axis] - point[axis];
    b[axis] = triangle.b[axis] - point[axis];
  }
  const OnTriangle<T> nearest =
      closest_on_triangle(shape_of_triangle(triangle.a, triangle.b, triangle.c, p.min_area), a, b);
  p.distance[row] = best.distance;
  p.index[row] = best.row;
  std::copy_n(nearest.weight, 3, p.barycentric + row * 3);
}

template <class T, class Searcher, class Leaf>
struct Job {
  const PointToMeshProblem<T>& problem;
  const Partners<Leaf, T>& partners;
  const std::vector<int32_t>& searchers;

  int64_t count() const { return static_cast<int64_t>(searchers.size()); }
};

template <class T, class Searcher, class Leaf>
G2VLM_ALWAYS_INLINE void search_range(const Job<T, Searcher, Leaf>& job, int64_t begin,
                                      int64_t end) {
  const PointToMeshProblem<T>& p = job.problem;
  const T limit = std::min(p.max_distance, std::numeric_limits<T>::max());
  const bool tree = job.partners.tree.num_levels() > 0;
  int64_t seed = begin * job.partners.num_leaves / job.count();
  for (; begin < end; ++begin) {
    const int64_t row = job.searchers[static_cast<size_t>(begin)];
    const Searcher searcher(p, row);
    if (searcher.has_nan()) {
      write_nothing(p, row, std::numeric_limits<T>::quiet_NaN(),
                    std::numeric_limits<T>::quiet_NaN());
      continue;
    }
    const Best<T> best = tree ? search_tree(searcher, job.partners, limit, seed)
                              : search_all(searcher, job.partners, limit);
    seed = best.leaf;
    write(p, row, best);
  }
}

template <class T, class Searcher, class Leaf>
using SearchRange = void (*)(const Job<T, Searcher, Leaf>& job, int64_t begin, int64_t end);

template <class T, class Searcher, class Leaf>
void search_baseline(const Job<T, Searcher, Leaf>& job, int64_t begin, int64_t end) {
  search_range(job, begin, end);
}
#ifdef G2VLM_X86_DISPATCH
template <class T, class Searcher, class Leaf>
G2VLM_AVX2 void search_avx2(const Job<T, Searcher, Leaf>& job, int64_t begin, int64_t end) {
  search_range(job, begin, end);
}
template <class T, class Searcher, class Leaf>
G2VLM_AVX512 void search_avx512(const Job<T, Searcher, Leaf>& job, int64_t begin, int64_t end) {
  search_range(job, begin, end);
}
#endif

template <class T, class Searcher, class Leaf>
SearchRange<T, Searcher, Leaf> choose_search() {
#ifdef G2VLM_X86_DISPATCH
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return search_avx512<T, Searcher, Leaf>;
    case InstructionSet::kAvx2:
      return search_avx2<T, Searcher, Leaf>;
    case InstructionSet::kBaseline:
      break;
  }
#endif
  return search_baseline<T, Searcher, Leaf>;
}

template <class T, class Searcher, class Leaf>
void search(const Job<T, Searcher, Leaf>& job, int threads) {
  const SearchRange<T, Searcher, Leaf> run = choose_search<T, Searcher, Leaf>();
  parallel_for(job.count(), kSearchersPerPiece, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    run(job, begin, end);
  });
}

}  // namespace

template <class T>
void search_faces(const PointToMeshProblem<T>& p, const Partners<FaceLeaf<T>, T>& faces,
                  const std::vector<int32_t>& searchers, int threads) {
  search(Job<T, PointSearcher<T>, FaceLeaf<T>>{p, faces, searchers}, threads);
}

template <class T>
void search_points(const PointToMeshProblem<T>& p, const Partners<PointLeaf<T>, T>& points,
                   const std::vector<int32_t>& searchers, int threads) {
  search(Job<T, FaceSearcher<T>, PointLeaf<T>>{p, points, searchers}, threads);
}

#define G2VLM_INSTANTIATE(T)                                                                  \
  template void search_faces(const PointToMeshProblem<T>&, const Partners<FaceLeaf<T>, T>&,   \
                             const std::vector<int32_t>&, int);                               \
  template void search_points(const PointToMeshProblem<T>&, const Partners<PointLeaf<T>, T>&, \
                              const std::vector<int32_t>&, int);
G2VLM_INSTANTIATE(float)
G2VLM_INSTANTIATE(double)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
