#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>

#include "g2vlm/parallel.h"
#include "hilbert_order.h"
#include "instruction_set.h"
#include "nearest_arithmetic.h"
#include "nearest_group.h"
#include "nearest_tree.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kQueriesPerPiece = 64 * kWidth;
constexpr int kMaxVisits = kMaxLevels * kWidth;

template <class T>
struct Visit {
  T bound;
  int32_t level;
  int32_t child;  // counted over the whole level
};

// The distance from an interval: 0 inside. A NaN, from infinite ends, counts as 0, and so prunes
// nothing.
template <class T>
G2VLM_ALWAYS_INLINE T gap(T below, T above) {
  const T wide = below > T(0) ? below : T(0);
  return above > wide ? above : wide;
}

// The points of a group lie far apart in memory; asks for them while another group is searched.
template <class T>
G2VLM_ALWAYS_INLINE void prefetch_group(const NearestProblem<T>& p, const HilbertOrder& order,
                                        int32_t first, int64_t begin, int64_t end) {
  for (end = std::min(begin + kWidth, end); begin < end; ++begin) {
    const int64_t row = first + order[begin];
    prefetch_to_read(p.query + row * p.dim);
    prefetch_to_write(p.distance + row * p.k);
    prefetch_to_write(p.index + row * p.k);
  }
}

template <class T>
G2VLM_ALWAYS_INLINE void load_group(const T* query, const HilbertOrder& order, int32_t first,
                                    int64_t begin, int64_t end, int32_t dim, T max_distance,
                                    Group<T>& group) {
  group.size = static_cast<int>(std::min<int64_t>(kWidth, end - begin));
  for (int lane = 0; lane < kWidth; ++lane) {
    const bool real = lane < group.size;
    group.row[lane] = first + order[real ? begin + lane : end - 1];
    group.limit[lane] = real ? max_distance : -std::numeric_limits<T>::infinity();
    group.limit_index[lane] = kNoIndex;
    const T* point = query + int64_t{group.row[lane]} * dim;
    for (int axis = 0; axis < kMaxTreeDim; ++axis)
      group.point[axis][lane] = axis < dim ? point[axis] : T(0);
  }
  group.widest = max_distance;
  for (int axis = 0; axis < kMaxTreeDim; ++axis) {
    group.low[axis] = *std::min_element(group.point[axis], group.point[axis] + kWidth);
    group.high[axis] = *std::max_element(group.point[axis], group.point[axis] + kWidth);
  }
}

template <class T>
G2VLM_ALWAYS_INLINE void find_widest(Group<T>& group) {
  T widest = group.limit[0];
  for (int lane = 1; lane < kWidth; ++lane)
    widest = group.limit[lane] > widest ? group.limit[lane] : widest;
  group.widest = widest;
}

// Marks the queries that a target in a child may enter; false where there is none.
template <int kNorm, class T>
G2VLM_ALWAYS_INLINE bool find_needing(const Group<T>& group, const Node<T>& node, int child,
                                      IndexOf<T>* __restrict needing) {
  const T low_x = node.low[0][child], high_x = node.high[0][child];
  const T low_y = node.low[1][child], high_y = node.high[1][child];
  const T low_z = node.low[2][child], high_z = node.high[2][child];
  const IndexOf<T> first = node.first[child];
  IndexOf<T> any = 0;
  for (int lane = 0; lane < kWidth; ++lane) {
    const T x = group.point[0][lane], y = group.point[1][lane], z = group.point[2][lane];
    const T bound = distance_of<kNorm>(gap(low_x - x, x - high_x), gap(low_y - y, y - high_y),
                                       gap(low_z - z, z - high_z));
    const bool needed = precedes(bound, first, group.limit[lane], group.limit_index[lane]);
    needing[lane] = needed;
    any |= needed;
  }
  return any != 0;
}

// Puts the children that the group may need on top of the stack, the nearest uppermost.
template <int kNorm, class T>
G2VLM_ALWAYS_INLINE int push_children(const Group<T>& group, const Node<T>& node, int32_t level,
                                      int32_t number, Visit<T>* visits, int size) {
  alignas(64) T bounds[kWidth];
  for (int child = 0; child < kWidth; ++child)
    bounds[child] = distance_of<kNorm>(
        gap(node.low[0][child] - group.high[0], group.low[0] - node.high[0][child]),
        gap(node.low[1][child] - group.high[1], group.low[1] - node.high[1][child]),
        gap(node.low[2][child] - group.high[2], group.low[2] - node.high[2][child]));
  const int base = size;
  for (int child = 0; child < node.children; ++child) {
    const T bound = bounds[child];
    if (bound > group.widest) continue;
    int place = size++;
    for (; place > base && visits[place - 1].bound <= bound; --place)
      visits[place] = visits[place - 1];
    visits[place] = {bound, level, number * kWidth + child};
  }
  return size;
}

template <int kNorm, class Keep, class T>
G2VLM_ALWAYS_INLINE void search_group(const NearestTree<T>& tree, Keep& keep, Group<T>& group,
                                      int32_t& seed) {
  alignas(64) IndexOf<T> needing[kWidth];
  Visit<T> visits[kMaxVisits];
  keep.start(group);
  const int32_t seeded = seed;
  std::fill_n(needing, kWidth, IndexOf<T>(1));
  keep.template scan<kNorm>(tree.leaves[seeded], needing, group);
  find_widest(group);
  const int32_t top = tree.shape.num_levels - 1;
  int size = push_children<kNorm>(group, tree.level(top)[0], top, 0, visits, 0);
  while (size > 0) {
    const Visit<T> visit = visits[--size];
    if (visit.bound > group.widest) continue;
    const Node<T>& node = tree.level(visit.level)[visit.child / kWidth];
    if (!find_needing<kNorm>(group, node, visit.child % kWidth, needing)) continue;
    if (visit.level > 0) {
      const int32_t below = visit.level - 1;
      size = push_children<kNorm>(group, tree.level(below)[visit.child], below, visit.child, visits,
                                  size);
    } else if (visit.child != seeded) {
      const T before = group.limit[kWidth - 1];
      keep.template scan<kNorm>(tree.leaves[visit.child], needing, group);
      find_widest(group);
      if (group.limit[kWidth - 1] < before) seed = visit.child;
    }
  }
  keep.finish(group);
}

template <class T>
struct Job {
  const NearestProblem<T>& problem;
  const NearestTree<T>& tree;
  const HilbertOrder& order;  // of the segment's queries
  int32_t first_query;
};

template <int kNorm, class Keep, class T>
G2VLM_ALWAYS_INLINE void search_range(const Job<T>& job, int64_t begin, int64_t end) {
  const NearestProblem<T>& p = job.problem;
  Keep keep(p);
  Group<T> group;
  int32_t seed = static_cast<int32_t>(begin * job.tree.shape.num_leaves / job.order.size());
  for (; begin < end; begin += kWidth) {
    load_group(p.query, job.order, job.first_query, begin, end, p.dim, p.max_distance, group);
    prefetch_group(p, job.order, job.first_query, begin + kWidth, end);
    search_group<kNorm>(job.tree, keep, group, seed);
  }
}

template <class T>
G2VLM_ALWAYS_INLINE void search_any(const Job<T>& job, int64_t begin, int64_t end) {
  if (job.problem.k == 1) {
    if (job.problem.norm == 1) {
      search_range<1, One<T>>(job, begin, end);
    } else {
      search_range<2, One<T>>(job, begin, end);
    }
  } else if (job.problem.k <= kMostListed) {
    if (job.problem.norm == 1) {
      search_range<1, Many<T>>(job, begin, end);
    } else {
      search_range<2, Many<T>>(job, begin, end);
    }
  } else if (job.problem.norm == 1) {
    search_range<1, Most<T>>(job, begin, end);
  } else {
    search_range<2, Most<T>>(job, begin, end);
  }
}

template <class T>
using SearchRange = void (*)(const Job<T>& job, int64_t begin, int64_t end);

template <class T>
void search_baseline(const Job<T>& job, int64_t begin, int64_t end) {
  search_any(job, begin, end);
}
#ifdef G2VLM_X86_DISPATCH
template <class T>
G2VLM_AVX2 void search_avx2(const Job<T>& job, int64_t begin, int64_t end) {
  search_any(job, begin, end);
}
template <class T>
G2VLM_AVX512 void search_avx512(const Job<T>& job, int64_t begin, int64_t end) {
  search_any(job, begin, end);
}
#endif

template <class T>
SearchRange<T> choose_search() {
#ifdef G2VLM_X86_DISPATCH
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return search_avx512<T>;
    case InstructionSet::kAvx2:
      return search_avx2<T>;
    case InstructionSet::kBaseline:
      break;
  }
#endif
  return search_baseline<T>;
}

template <class T>
void fill_unknown(const NearestProblem<T>& p, int64_t row) {
  std::fill_n(p.distance + row * p.k, p.k, std::numeric_limits<T>::quiet_NaN());
  std::fill_n(p.index + row * p.k, p.k, -1);
}

}  // namespace

template <class T>
void search_nearest_tree(const NearestProblem<T>& p, const NearestSegment& segment,
                         const NearestTree<T>& tree, int threads) {
  const int32_t first = segment.query_begin;
  const HilbertOrder order(p.query + int64_t{first} * p.dim, segment.queries(), p.dim, threads);
  for (int64_t place = order.without_nan(); place < order.size(); ++place)
    fill_unknown(p, first + order[place]);
  const Job<T> job{p, tree, order, first};
  const SearchRange<T> search = choose_search<T>();
  parallel_for(order.without_nan(), kQueriesPerPiece, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    search(job, begin, end);
  });
}

template <class T>
void search_nearest_tree(const NearestProblem<T>& p, const NearestSegment& segment, int threads) {
  const NearestTreeShape shape(segment.targets());
  const std::unique_ptr<Leaf<T>[]> leaves(new Leaf<T>[static_cast<size_t>(shape.num_leaves)]);
  const std::unique_ptr<Node<T>[]> nodes(new Node<T>[static_cast<size_t>(shape.num_nodes)]);
  build_nearest_tree(p.target, segment.target_begin, segment.targets(), p.dim, leaves.get(),
                     nodes.get(), threads);
  search_nearest_tree(p, segment, {shape, leaves.get(), nodes.get()}, threads);
}

#define G2VLM_SEARCHES_OF(T)                                                         \
  template void search_nearest_tree(const NearestProblem<T>&, const NearestSegment&, \
                                    const NearestTree<T>&, int);                     \
  template void search_nearest_tree(const NearestProblem<T>&, const NearestSegment&, int);
G2VLM_SEARCHES_OF(float)
G2VLM_SEARCHES_OF(double)
#undef G2VLM_SEARCHES_OF

}  // namespace g2vlm
