#include "point_to_mesh_tree.h"

#include <array>
#include <cmath>
#include <numeric>

#include "g2vlm/parallel.h"
#include "hilbert_order.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kFacesPerPiece = 4096;
constexpr int64_t kLeavesPerPiece = 256;
constexpr int64_t kNodesPerPiece = 256;
constexpr size_t kPrefetch = 4 * kFanOut;  // partners ahead; they lie far apart in memory

// Exponents of all finite numbers, the least for 0.
constexpr int kOctaves = 4096;
// Faces of up to this many octaves above the median share leaves, then those of as many more.
constexpr int kOctavesTogether = 2;

template <class T>
int octave_of(const Triangle<T>& triangle) {
  T side = 0;
  const auto& [a, b, c] = triangle.corner;
  for (int axis = 0; axis < 3; ++axis) {
    const T ab = std::abs(b[axis] - a[axis]);
    const T ac = std::abs(c[axis] - a[axis]);
    const T bc = std::abs(c[axis] - b[axis]);
    side = std::max({side, ab, ac, bc});
  }
  return std::clamp(side > 0 ? std::ilogb(side) : -kOctaves, -kOctaves / 2, kOctaves / 2 - 1);
}

// Moves faces that are much larger than the median behind the others, those of a size together.
template <class T>
void part_by_size(const PointToMeshProblem<T>& p, int32_t first, int32_t last,
                  std::vector<int32_t>& rows, int threads) {
  std::vector<int16_t> octaves(static_cast<size_t>(last - first));
  parallel_for(last - first, kFacesPerPiece, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      octaves[static_cast<size_t>(i)] =
          static_cast<int16_t>(octave_of(triangle_at(p, first + i)) + kOctaves / 2);
  });
  const auto octave = [&](int32_t row) { return octaves[static_cast<size_t>(row - first)]; };
  std::array<int64_t, kOctaves> counts{};
  for (const int32_t row : rows) ++counts[static_cast<size_t>(octave(row))];
  int median = 0;
  for (int64_t below = counts[0]; below * 2 < static_cast<int64_t>(rows.size()); ++median)
    below += counts[static_cast<size_t>(median + 1)];
  const auto size_class = [&](int each) {
    return static_cast<size_t>(std::max(0, (each - median - 1) / kOctavesTogether));
  };
  std::array<int64_t, kOctaves> places{};
  for (int each = 0; each < kOctaves; ++each)
    places[size_class(each)] += counts[static_cast<size_t>(each)];
  if (places[0] == static_cast<int64_t>(rows.size())) return;
  std::exclusive_scan(places.begin(), places.end(), places.begin(), int64_t{0});
  std::vector<int32_t> parted(rows.size());
  for (const int32_t row : rows)
    parted[static_cast<size_t>(places[size_class(octave(row))]++)] = row;
  rows.swap(parted);
}

std::vector<int32_t> rows_along(const HilbertOrder& order, int32_t begin, int64_t* usable) {
  std::vector<int32_t> rows(static_cast<size_t>(order.size()));
  for (size_t place = 0; place < rows.size(); ++place)
    rows[place] = begin + order[static_cast<int64_t>(place)];
  if (usable != nullptr) *usable = order.without_nan();
  return rows;
}

// Of those that may be found, where there is a tree; otherwise of all.
template <class Order>
std::vector<int32_t> partner_rows(int32_t begin, int32_t end, bool tree, const Order& order) {
  std::vector<int32_t> rows;
  if (tree) {
    int64_t usable = 0;
    rows = order(&usable);
    rows.resize(static_cast<size_t>(usable));
  } else {
    rows.resize(static_cast<size_t>(end - begin));
    std::iota(rows.begin(), rows.end(), begin);
  }
  return rows;
}

// Returns the box of the leaf.
template <class T>
Box<T> fill_leaf(const PointToMeshProblem<T>& p, const std::vector<int32_t>& rows, size_t first,
                 FaceLeaf<T>& leaf) {
  Box<T> whole = empty_box<T>();
  T c[3][kFanOut];
  for (int lane = 0; lane < kFanOut; ++lane) {
    const size_t place = first + static_cast<size_t>(lane);
    const bool real = place < rows.size();
    if (place + kPrefetch < rows.size()) prefetch_triangle(p, rows[place + kPrefetch]);
    if (place + 2 * kPrefetch < rows.size())
      prefetch_to_read(p.faces + int64_t{rows[place + 2 * kPrefetch]} * 3);
    leaf.row[lane] = real ? rows[place] : kNoRow;
    Triangle<T> triangle;
    std::fill_n(triangle.corner[0], 9, Limits<T>::kNan);
    if (real) {
      triangle = triangle_at(p, rows[place]);
      cover(whole, box_of(triangle));
    }
    for (int axis = 0; axis < 3; ++axis) {
      leaf.a[axis][lane] = triangle.corner[0][axis];
      leaf.b[axis][lane] = triangle.corner[1][axis];
      c[axis][lane] = triangle.corner[2][axis];
    }
  }
  for (int lane = 0; lane < kFanOut; ++lane) {
    const T corner_a[3] = {leaf.a[0][lane], leaf.a[1][lane], leaf.a[2][lane]};
    const T corner_b[3] = {leaf.b[0][lane], leaf.b[1][lane], leaf.b[2][lane]};
    const T corner_c[3] = {c[0][lane], c[1][lane], c[2][lane]};
    const TriangleShape<T> shape = shape_of_triangle(corner_a, corner_b, corner_c, p.min_area);
    for (int axis = 0; axis < 3; ++axis) {
      leaf.ab[axis][lane] = shape.ab[axis];
      leaf.ac[axis][lane] = shape.ac[axis];
      leaf.bc[axis][lane] = shape.bc[axis];
      leaf.height[axis][lane] = shape.height[axis];
    }
    leaf.per_ab[lane] = shape.per_ab;
    leaf.per_ac[lane] = shape.per_ac;
    leaf.per_bc[lane] = shape.per_bc;
    leaf.per_height[lane] = shape.per_height;
    leaf.foot[lane] = shape.foot;
  }
  return whole;
}

// Returns the box of the leaf.
template <class T>
Box<T> fill_leaf(const PointToMeshProblem<T>& p, const std::vector<int32_t>& rows, size_t first,
                 PointLeaf<T>& leaf) {
  Box<T> whole = empty_box<T>();
  for (int lane = 0; lane < kFanOut; ++lane) {
    const size_t place = first + static_cast<size_t>(lane);
    const bool real = place < rows.size();
    if (place + kPrefetch < rows.size())
      prefetch_to_read(p.points + int64_t{rows[place + kPrefetch]} * 3);
    leaf.row[lane] = real ? rows[place] : kNoRow;
    for (int axis = 0; axis < 3; ++axis) {
      const T value = real ? p.points[int64_t{rows[place]} * 3 + axis] : Limits<T>::kNan;
      leaf.point[axis][lane] = value;
      whole.low[axis] = value < whole.low[axis] ? value : whole.low[axis];
      whole.high[axis] = value > whole.high[axis] ? value : whole.high[axis];
    }
  }
  return whole;
}

template <class Leaf, class T>
Partners<Leaf, T> gather(const PointToMeshProblem<T>& p, const std::vector<int32_t>& rows,
                         bool tree, int threads) {
  Partners<Leaf, T> partners(rows.size());
  std::vector<Box<T>> boxes(static_cast<size_t>(partners.num_leaves));
  parallel_for(partners.num_leaves, kLeavesPerPiece, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    for (auto number = static_cast<size_t>(begin); number < static_cast<size_t>(end); ++number)
      boxes[number] = fill_leaf(p, rows, number * kFanOut, partners.leaves[number]);
  });
  if (tree) partners.tree = BoxTree<T>(std::move(boxes), threads);
  return partners;
}

}  // namespace

template <class T>
BoxTree<T>::BoxTree(std::vector<Box<T>> below, int threads) {
  while (below.size() > (levels_.empty() ? 0 : 1)) {
    const auto count = static_cast<int64_t>((below.size() + kFanOut - 1) / kFanOut);
    std::vector<Box<T>> boxes(static_cast<size_t>(count));
    levels_.emplace_back(new BoxNode<T>[static_cast<size_t>(count)]);
    BoxNode<T>* nodes = levels_.back().get();
    parallel_for(count, kNodesPerPiece, threads, [&](int64_t number, int64_t end) {
      for (; number < end; ++number) {
        Box<T> whole = empty_box<T>();
        for (int child = 0; child < kFanOut; ++child) {
          const auto place = static_cast<size_t>(number * kFanOut + child);
          const Box<T> box = place < below.size() ? below[place] : empty_box<T>();
          cover(whole, box);
          for (int axis = 0; axis < 3; ++axis) {
            nodes[number].low[axis][child] = box.low[axis];
            nodes[number].high[axis][child] = box.high[axis];
          }
        }
        boxes[static_cast<size_t>(number)] = whole;
      }
    });
    below.swap(boxes);
  }
}

template <class T>
std::vector<int32_t> order_points(const PointToMeshProblem<T>& p, int32_t begin, int32_t end,
                                  int threads, int64_t* usable) {
  const HilbertOrder order(p.points + int64_t{begin} * 3, end - begin, 3, threads);
  return rows_along(order, begin, usable);
}

template <class T>
std::vector<int32_t> order_faces(const PointToMeshProblem<T>& p, int32_t begin, int32_t end,
                                 int threads, int64_t* usable) {
  std::vector<T> centroids(static_cast<size_t>(end - begin) * 3);
  parallel_for(end - begin, kFacesPerPiece, threads, [&](int64_t i, int64_t stop) {
    for (; i < stop; ++i) {
      const Triangle<T> triangle = triangle_at(p, begin + i);
      const auto& [a, b, c] = triangle.corner;
      const T third = is_finite(a, a + 9) ? T(1) / 3 : Limits<T>::kNan;
      for (int axis = 0; axis < 3; ++axis)
        centroids[static_cast<size_t>(i * 3 + axis)] =
            a[axis] * third + b[axis] * third + c[axis] * third;
    }
  });
  return rows_along(HilbertOrder(centroids.data(), end - begin, 3, threads), begin, usable);
}

template <class T>
Partners<FaceLeaf<T>, T> gather_faces(const PointToMeshProblem<T>& p, int32_t begin, int32_t end,
                                      bool tree, int threads) {
  std::vector<int32_t> rows = partner_rows(begin, end, tree, [&](int64_t* usable) {
    return order_faces(p, begin, end, threads, usable);
  });
  if (tree) part_by_size(p, begin, end, rows, threads);
  return gather<FaceLeaf<T>>(p, rows, tree, threads);
}

template <class T>
Partners<PointLeaf<T>, T> gather_points(const PointToMeshProblem<T>& p, int32_t begin, int32_t end,
                                        bool tree, int threads) {
  const std::vector<int32_t> rows = partner_rows(begin, end, tree, [&](int64_t* usable) {
    return order_points(p, begin, end, threads, usable);
  });
  return gather<PointLeaf<T>>(p, rows, tree, threads);
}

#define G2VLM_INSTANTIATE(T)                                                                       \
  template class BoxTree<T>;                                                                       \
  template std::vector<int32_t> order_points(const PointToMeshProblem<T>&, int32_t, int32_t, int,  \
                                             int64_t*);                                            \
  template std::vector<int32_t> order_faces(const PointToMeshProblem<T>&, int32_t, int32_t, int,   \
                                            int64_t*);                                             \
  template Partners<FaceLeaf<T>, T> gather_faces(const PointToMeshProblem<T>&, int32_t, int32_t,   \
                                                 bool, int);                                       \
  template Partners<PointLeaf<T>, T> gather_points(const PointToMeshProblem<T>&, int32_t, int32_t, \
                                                   bool, int);
G2VLM_INSTANTIATE(float)
G2VLM_INSTANTIATE(double)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
