#include "point_to_mesh_search.h"

#include "g2vlm/parallel.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kSearchersPerPiece = 32 * kFanOut;
constexpr int kMaxLevels = 8;  // kFanOut to this power is more than int32_t counts
constexpr int kMaxVisits = kMaxLevels * kFanOut;

struct ByMultiplyAdds {
  template <class T>
  G2VLM_ALWAYS_INLINE OnTriangle<T> operator()(const TriangleShape<T>& shape, const T (&a)[3],
                                               const T (&b)[3]) const {
    return closest_on_triangle(shape, a, b);
  }
};

template <class T>
struct PointSearcher {
  T point[3];

  static G2VLM_ALWAYS_INLINE void prefetch(const PointToMeshProblem<T>& p, int64_t row) {
    prefetch_to_read(p.points + row * 3);
  }

  G2VLM_ALWAYS_INLINE void load(const PointToMeshProblem<T>& p, int64_t row) {
    std::copy_n(p.points + row * 3, 3, point);
  }

  const T* begin() const { return point; }
  const T* end() const { return point + 3; }

  G2VLM_ALWAYS_INLINE Box<T> box() const {
    return {{point[0], point[1], point[2]}, {point[0], point[1], point[2]}};
  }

  template <class Find>
  G2VLM_ALWAYS_INLINE OnTriangle<T> closest(const FaceLeaf<T>& leaf, int lane,
                                            const Find& find) const {
    T a[3], b[3];
    TriangleShape<T> shape;
    for (int axis = 0; axis < 3; ++axis) {
      a[axis] = leaf.a[axis][lane] - point[axis];
      b[axis] = leaf.b[axis][lane] - point[axis];
      shape.ab[axis] = leaf.ab[axis][lane];
      shape.ac[axis] = leaf.ac[axis][lane];
      shape.bc[axis] = leaf.bc[axis][lane];
      shape.height[axis] = leaf.height[axis][lane];
    }
    shape.per_ab = leaf.per_ab[lane];
    shape.per_ac = leaf.per_ac[lane];
    shape.per_bc = leaf.per_bc[lane];
    shape.per_height = leaf.per_height[lane];
    shape.foot = leaf.foot[lane];
    return find(shape, a, b);
  }
};

template <class T>
struct FaceSearcher {
  Triangle<T> triangle;
  TriangleShape<T> shape;

  static G2VLM_ALWAYS_INLINE void prefetch(const PointToMeshProblem<T>& p, int64_t row) {
    prefetch_triangle(p, row);
  }

  G2VLM_ALWAYS_INLINE void load(const PointToMeshProblem<T>& p, int64_t row) {
    triangle = triangle_at(p, row);
    const auto& [a, b, c] = triangle.corner;
    shape = shape_of_triangle(a, b, c, p.min_area);
  }

  const T* begin() const { return triangle.corner[0]; }
  const T* end() const { return triangle.corner[0] + 9; }

  G2VLM_ALWAYS_INLINE Box<T> box() const { return box_of(triangle); }

  template <class Find>
  G2VLM_ALWAYS_INLINE OnTriangle<T> closest(const PointLeaf<T>& leaf, int lane,
                                            const Find& find) const {
    T a[3], b[3];
    for (int axis = 0; axis < 3; ++axis) {
      a[axis] = triangle.corner[0][axis] - leaf.point[axis][lane];
      b[axis] = triangle.corner[1][axis] - leaf.point[axis][lane];
    }
    return find(shape, a, b);
  }
};

// The nearest partner so far. Others enter where their (distance, row) is below.
struct Best {
  int32_t row, leaf, lane;
};

// Searchers next to each other on the curve, which descend together. Lanes that search nothing let
// nothing in.
template <class T, class Searcher>
struct alignas(64) Group {
  T low[3][kFanOut], high[3][kFanOut];
  T distance[kFanOut];  // of the best
  Best best[kFanOut];
  Searcher searcher[kFanOut];
  Box<T> box;  // around all
  T widest;    // of the distances
  int32_t row[kFanOut];
  int size;

  G2VLM_ALWAYS_INLINE void find_widest() {
    widest = distance[0];
    for (int lane = 1; lane < kFanOut; ++lane)
      widest = distance[lane] > widest ? distance[lane] : widest;
  }
};

template <class T, class Searcher>
G2VLM_ALWAYS_INLINE void load_lane(const PointToMeshProblem<T>& p, int64_t row, T limit, int lane,
                                   Group<T, Searcher>& group) {
  Searcher& searcher = group.searcher[lane];
  searcher.load(p, row);
  const bool searches = is_finite(searcher.begin(), searcher.end());
  const Box<T> box = searches ? searcher.box() : empty_box<T>();
  for (int axis = 0; axis < 3; ++axis) {
    group.low[axis][lane] = box.low[axis];
    group.high[axis][lane] = box.high[axis];
  }
  cover(group.box, box);
  group.distance[lane] = searches ? limit : -std::numeric_limits<T>::infinity();
}

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

// Lists the lanes that a partner in a child may enter, and returns how many there are.
template <class T, class Searcher>
G2VLM_ALWAYS_INLINE int find_needing(const Group<T, Searcher>& group, const BoxNode<T>& node,
                                     int child, int* lanes) {
  const T low_x = node.low[0][child], high_x = node.high[0][child];
  const T low_y = node.low[1][child], high_y = node.high[1][child];
  const T low_z = node.low[2][child], high_z = node.high[2][child];
  alignas(64) T bounds[kFanOut];
  for (int lane = 0; lane < kFanOut; ++lane)
    bounds[lane] = bound_of(gap(low_x - group.high[0][lane], group.low[0][lane] - high_x),
                            gap(low_y - group.high[1][lane], group.low[1][lane] - high_y),
                            gap(low_z - group.high[2][lane], group.low[2][lane] - high_z));
  int count = 0;
  for (int lane = 0; lane < kFanOut; ++lane) {
    lanes[count] = lane;
    count += bounds[lane] <= group.distance[lane];
  }
  return count;
}

template <class T>
struct Visit {
  T bound;
  int32_t level;
  int32_t child;  // counted over the whole level
};

// Puts the children that may hold a nearer partner on top of the stack, the nearest uppermost.
template <class T, class Searcher>
G2VLM_ALWAYS_INLINE int push_children(const Group<T, Searcher>& group, const BoxNode<T>& node,
                                      int32_t level, int32_t number, Visit<T>* visits, int size) {
  alignas(64) T bounds[kFanOut];
  for (int child = 0; child < kFanOut; ++child)
    bounds[child] = bound_of(
        gap(node.low[0][child] - group.box.high[0], group.box.low[0] - node.high[0][child]),
        gap(node.low[1][child] - group.box.high[1], group.box.low[1] - node.high[1][child]),
        gap(node.low[2][child] - group.box.high[2], group.box.low[2] - node.high[2][child]));
  const int base = size;
  for (int child = 0; child < kFanOut; ++child) {
    const T bound = bounds[child];
    if (bound > group.widest) continue;
    int place = size++;
    for (; place > base && visits[place - 1].bound <= bound; --place)
      visits[place] = visits[place - 1];
    visits[place] = {bound, level, number * kFanOut + child};
  }
  return size;
}

template <class T, class Searcher, class Leaf>
G2VLM_ALWAYS_INLINE void look_at(const Leaf& leaf, int32_t number, int lane,
                                 Group<T, Searcher>& group) {
  const Searcher searcher = group.searcher[lane];
  alignas(64) T distances[kFanOut];
  for (int i = 0; i < kFanOut; ++i)
    distances[i] = searcher.closest(leaf, i, ByMultiplyAdds()).distance;
  T distance = group.distance[lane];
  for (int i = 0; i < kFanOut; ++i) {
    if (!(distances[i] <= distance)) continue;
    if (distances[i] == distance && leaf.row[i] >= group.best[lane].row) continue;
    distance = distances[i];
    group.best[lane] = {leaf.row[i], number, i};
  }
  group.distance[lane] = distance;
}

// `seed` is the leaf that all lanes look at first.
template <class T, class Searcher, class Leaf>
G2VLM_ALWAYS_INLINE void search_tree(const Partners<Leaf, T>& partners, int32_t seed,
                                     Group<T, Searcher>& group) {
  const BoxTree<T>& tree = partners.tree;
  int lanes[kFanOut + 1];
  for (int lane = 0; lane < group.size; ++lane) look_at(partners.leaves[seed], seed, lane, group);
  group.find_widest();
  Visit<T> visits[kMaxVisits];
  const int32_t top = tree.num_levels() - 1;
  int size = push_children(group, tree.level(top)[0], top, 0, visits, 0);
  while (size > 0) {
    const Visit<T> visit = visits[--size];
    if (visit.bound > group.widest) continue;
    const BoxNode<T>& node = tree.level(visit.level)[visit.child / kFanOut];
    const int count = find_needing(group, node, visit.child % kFanOut, lanes);
    if (count == 0) continue;
    if (visit.level > 0) {
      const int32_t below = visit.level - 1;
      size = push_children(group, tree.level(below)[visit.child], below, visit.child, visits, size);
    } else if (visit.child != seed) {
      for (int i = 0; i < count; ++i)
        look_at(partners.leaves[visit.child], visit.child, lanes[i], group);
      group.find_widest();
    }
  }
}

template <class T, class Searcher, class Leaf>
G2VLM_ALWAYS_INLINE void search_all(const Partners<Leaf, T>& partners, Group<T, Searcher>& group) {
  for (int32_t number = 0; number < partners.num_leaves; ++number)
    for (int lane = 0; lane < group.size; ++lane)
      look_at(partners.leaves[number], number, lane, group);
}

template <class T>
G2VLM_ALWAYS_INLINE void write(const PointToMeshProblem<T>& p, int64_t row, T distance,
                               int32_t index, const T (&weight)[3]) {
  p.distance[row] = distance;
  p.index[row] = index;
  std::copy_n(weight, 3, p.barycentric + row * 3);
}

template <class T, class Searcher, class Leaf>
G2VLM_ALWAYS_INLINE void finish(const PointToMeshProblem<T>& p, const Partners<Leaf, T>& partners,
                                const Group<T, Searcher>& group) {
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  for (int lane = 0; lane < group.size; ++lane) {
    const Searcher& searcher = group.searcher[lane];
    const Best& best = group.best[lane];
    if (best.row != kNoRow) {
      const OnTriangle<T> on =
          searcher.closest(partners.leaves[best.leaf], best.lane, place_on_triangle<T>);
      write(p, group.row[lane], group.distance[lane], best.row, on.weight);
    } else if (std::any_of(searcher.begin(), searcher.end(), [](T x) { return std::isnan(x); })) {
      write(p, group.row[lane], Limits<T>::kNan, -1,
            {Limits<T>::kNan, Limits<T>::kNan, Limits<T>::kNan});
    } else {
      write(p, group.row[lane], kInfinity, -1, {T(0), T(0), T(0)});
    }
  }
}

template <class T, class Searcher, class Leaf>
struct Job {
  const PointToMeshProblem<T>& problem;
  const Partners<Leaf, T>& partners;
  const std::vector<int32_t>& rows;  // of the searchers
};

template <class T, class Searcher, class Leaf>
G2VLM_ALWAYS_INLINE void search_range(const Job<T, Searcher, Leaf>& job, size_t begin, size_t end) {
  const PointToMeshProblem<T>& p = job.problem;
  // Squares that overflow are no distances.
  const T limit = std::min(p.max_distance, Limits<T>::kLargest);
  const bool tree = job.partners.tree.num_levels() > 0;
  Group<T, Searcher> group;
  auto seed =
      static_cast<int32_t>(begin * static_cast<size_t>(job.partners.num_leaves) / job.rows.size());
  for (; begin < end; begin += kFanOut) {
    group.size = static_cast<int>(std::min<size_t>(kFanOut, end - begin));
    group.box = empty_box<T>();
    for (int lane = 0; lane < kFanOut; ++lane) {
      const size_t place = begin + static_cast<size_t>(lane);
      group.best[lane] = {kNoRow, 0, 0};
      group.row[lane] = job.rows[std::min(place, end - 1)];
      load_lane(p, group.row[lane], limit, lane, group);
      if (place >= end) group.distance[lane] = -std::numeric_limits<T>::infinity();
      if (place + kFanOut < end) Searcher::prefetch(p, job.rows[place + kFanOut]);
    }
    if (tree) {
      search_tree(job.partners, seed, group);
    } else {
      search_all(job.partners, group);
    }
    finish(p, job.partners, group);
    if (group.best[group.size - 1].row != kNoRow) seed = group.best[group.size - 1].leaf;
  }
}

template <class T, class Searcher, class Leaf>
using SearchRange = void (*)(const Job<T, Searcher, Leaf>& job, size_t begin, size_t end);

template <class T, class Searcher, class Leaf>
void search_baseline(const Job<T, Searcher, Leaf>& job, size_t begin, size_t end) {
  search_range(job, begin, end);
}
#ifdef G2VLM_X86_DISPATCH
template <class T, class Searcher, class Leaf>
G2VLM_AVX2 void search_avx2(const Job<T, Searcher, Leaf>& job, size_t begin, size_t end) {
  search_range(job, begin, end);
}
template <class T, class Searcher, class Leaf>
G2VLM_AVX512 void search_avx512(const Job<T, Searcher, Leaf>& job, size_t begin, size_t end) {
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
  const auto count = static_cast<int64_t>(job.rows.size());
  parallel_for(count, kSearchersPerPiece, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    run(job, static_cast<size_t>(begin), static_cast<size_t>(end));
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
