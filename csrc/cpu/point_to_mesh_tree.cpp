#include "point_to_mesh_tree.h"

#include <algorithm>
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

constexpr int kOctaves = 4096;  // more than the exponents of all finite numbers
// Faces up to this many octaves above the median share leaves; then as many octaves each.
constexpr int kOctavesTogether = 2;

template <class T>
Box<T> empty_box() {
  Box<T> box;
  std::fill_n(box.low, 3, std::numeric_limits<T>::infinity());
  std::fill_n(box.high, 3, -std::numeric_limits<T>::infinity());
  return box;
}

template <class T>
void cover(Box<T>& box, const Box<T>& other) {
  for (int axis = 0; axis < 3; ++axis) {
    box.low[axis] = std::min(box.low[axis], other.low[axis]);
    box.high[axis] = std::max(box.high[axis], other.high[axis]);
  }
}

template <class T>
T longest_side(const Triangle<T>& triangle) {
  T longest = 0;
  for (int axis = 0; axis < 3; ++axis) {
    const auto [low, high] = std::minmax({triangle.a[axis], triangle.b[axis], triangle.c[axis]});
    longest = std::max(longest, high - low);
  }
  return longest;
}

// Moves faces that are much larger than the median behind the others, by size, in leaves apart.
template <class T>
void part_by_size(const PointToMeshProblem<T>& p, std::vector<int32_t>& rows, int threads) {
  std::vector<uint16_t> octave(rows.size());
  const auto count = static_cast<int64_t>(rows.size());
  parallel_for(count, kFacesPerPiece, threads, [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); ++i) {
      const double side = static_cast<double>(longest_side(triangle_at(p, rows[i])));
      const int exponent = side > 0 ? std::min(std::ilogb(side), kOctaves / 2 - 1) : -kOctaves / 2;
      octave[i] = static_cast<uint16_t>(exponent + kOctaves / 2);
    }
  });
  std::array<int64_t, kOctaves> places{};
  for (const uint16_t each : octave) ++places[each];
  int median = 0;
  for (int64_t below = places[0]; below * 2 < count; below += places[static_cast<size_t>(median)])
    ++median;
  const auto size_class = [&](int each) {
    return std::max(0, (each - median - 1) / kOctavesTogether);
  };
  std::array<int64_t, kOctaves> next{};
  for (int each = 0; each < kOctaves; ++each)
    next[static_cast<size_t>(size_class(each))] += places[static_cast<size_t>(each)];
  if (next[0] == count) return;
  std::exclusive_scan(next.begin(), next.end(), next.begin(), int64_t{0});
  std::vector<int32_t> sorted(rows.size());
  for (size_t i = 0; i < rows.size(); ++i)
    sorted[static_cast<size_t>(next[static_cast<size_t>(size_class(octave[i]))]++)] = rows[i];
  rows.swap(sorted);
}

template <class T>
void set_lane(FaceLeaf<T>& leaf, int lane, const Triangle<T>& triangle, T min_area, int32_t row) {
  const TriangleShape<T> shape = shape_of_triangle(triangle.a, triangle.b, triangle.c, min_area);
  for (int axis = 0; axis < 3; ++axis) {
    leaf.a[axis][lane] = triangle.a[axis];
    leaf.b[axis][lane] = triangle.b[axis];
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
  leaf.row[lane] = row;
}

template <class T>
Triangle<T> no_triangle() {
  Triangle<T> none;
  for (auto* corner : {none.a, none.b, none.c})
    std::fill_n(corner, 3, std::numeric_limits<T>::quiet_NaN());
  return none;
}

template <class T>
bool is_finite(const Triangle<T>& triangle) {
  T zero = 0;
  for (int axis = 0; axis < 3; ++axis)
    zero += T(0) * triangle.a[axis] + T(0) * triangle.b[axis] + T(0) * triangle.c[axis];
  return zero == T(0);
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

}  // namespace

template <class T>
Triangle<T> triangle_at(const PointToMeshProblem<T>& p, int64_t face) {
  Triangle<T> triangle = no_triangle<T>();
  const int32_t* corners = p.faces + face * 3;
  for (int i = 0; i < 3; ++i)
    if (corners[i] < 0 || corners[i] >= p.num_vertices) return triangle;
  std::copy_n(p.vertices + int64_t{corners[0]} * 3, 3, triangle.a);
  std::copy_n(p.vertices + int64_t{corners[1]} * 3, 3, triangle.b);
  std::copy_n(p.vertices + int64_t{corners[2]} * 3, 3, triangle.c);
  return triangle;
}

template <class T>
Box<T> box_of(const Triangle<T>& triangle) {
  const T slack = kSlack<T> * longest_side(triangle);
  Box<T> box;
  for (int axis = 0; axis < 3; ++axis) {
    const auto [low, high] = std::minmax({triangle.a[axis], triangle.b[axis], triangle.c[axis]});
    box.low[axis] = low - slack;
    box.high[axis] = high + slack;
  }
  return box;
}

template <class T>
BoxTree<T>::BoxTree(const std::vector<Box<T>>& leaves, int threads) {
  std::vector<Box<T>> below = leaves;
  while (below.size() > (levels_.empty() ? 0 : 1)) {
    const auto count = static_cast<int64_t>((below.size() + kFanOut - 1) / kFanOut);
    levels_.emplace_back(new BoxNode<T>[static_cast<size_t>(count)]);
    BoxNode<T>* nodes = levels_.back().get();
    std::vector<Box<T>> boxes(static_cast<size_t>(count));
    parallel_for(count, kNodesPerPiece, threads, [&](int64_t begin, int64_t end) {
      for (int64_t number = begin; number < end; ++number) {
        Box<T> whole = empty_box<T>();
        const size_t first = static_cast<size_t>(number) * kFanOut;
        nodes[number].children =
            static_cast<int32_t>(std::min<size_t>(kFanOut, below.size() - first));
        for (int child = 0; child < kFanOut; ++child) {
          const bool real = child < nodes[number].children;
          const Box<T> box = real ? below[first + static_cast<size_t>(child)] : empty_box<T>();
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
  return rows_along(HilbertOrder(p.points + int64_t{begin} * 3, end - begin, 3, threads), begin,
                    usable);
}

template <class T>
std::vector<int32_t> order_faces(const PointToMeshProblem<T>& p, int32_t begin, int32_t end,
                                 int threads, int64_t* usable) {
  std::vector<T> centroids(static_cast<size_t>(end - begin) * 3);
  parallel_for(end - begin, kFacesPerPiece, threads, [&](int64_t i, int64_t stop) {
    for (; i < stop; ++i) {
      const Triangle<T> triangle = triangle_at(p, begin + i);
      const bool finite = is_finite(triangle);
      for (int axis = 0; axis < 3; ++axis)
        centroids[static_cast<size_t>(i * 3 + axis)] =
            finite ? triangle.a[axis] / 3 + triangle.b[axis] / 3 + triangle.c[axis] / 3
                   : std::numeric_limits<T>::quiet_NaN();
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
  if (tree) part_by_size(p, rows, threads);
  Partners<FaceLeaf<T>, T> faces(rows.size());
  std::vector<Box<T>> boxes(tree ? static_cast<size_t>(faces.num_leaves) : 0);
  parallel_for(faces.num_leaves, kLeavesPerPiece, threads, [&](int64_t number, int64_t stop) {
    const StrictFloatingPoint strict;
    for (; number < stop; ++number) {
      FaceLeaf<T>& leaf = faces.leaves[static_cast<size_t>(number)];
      Box<T> box = empty_box<T>();
      for (int lane = 0; lane < kFanOut; ++lane) {
        const size_t place = static_cast<size_t>(number * kFanOut + lane);
        if (place < rows.size()) {
          const Triangle<T> triangle = triangle_at(p, rows[place]);
          set_lane(leaf, lane, triangle, p.min_area, rows[place]);
          cover(box, box_of(triangle));
        } else {
          set_lane(leaf, lane, no_triangle<T>(), p.min_area, kNoRow);
        }
      }
      if (tree) boxes[static_cast<size_t>(number)] = box;
    }
  });
  faces.tree = BoxTree<T>(boxes, threads);
  return faces;
}

template <class T>
Partners<PointLeaf<T>, T> gather_points(const PointToMeshProblem<T>& p, int32_t begin, int32_t end,
                                        bool tree, int threads) {
  const std::vector<int32_t> rows = partner_rows(begin, end, tree, [&](int64_t* usable) {
    return order_points(p, begin, end, threads, usable);
  });
  Partners<PointLeaf<T>, T> points(rows.size());
  std::vector<Box<T>> boxes(tree ? static_cast<size_t>(points.num_leaves) : 0);
  parallel_for(points.num_leaves, kLeavesPerPiece, threads, [&](int64_t number, int64_t stop) {
    for (; number < stop; ++number) {
      PointLeaf<T>& leaf = points.leaves[static_cast<size_t>(number)];
      Box<T> box = empty_box<T>();
      for (int lane = 0; lane < kFanOut; ++lane) {
        const size_t place = static_cast<size_t>(number * kFanOut + lane);
        const bool real = place < rows.size();
        leaf.row[lane] = real ? rows[place] : kNoRow;
        for (int axis = 0; axis < 3; ++axis) {
          const T value = real ? p.points[int64_t{rows[place]} * 3 + axis]
                               : std::numeric_limits<T>::quiet_NaN();
          leaf.point[axis][lane] = value;
          if (!real) continue;
          box.low[axis] = std::min(box.low[axis], value);
          box.high[axis] = std::max(box.high[axis], value);
        }
      }
      if (tree) boxes[static_cast<size_t>(number)] = box;
    }
  });
  points.tree = BoxTree<T>(boxes, threads);
  return points;
}

#define G2VLM_INSTANTIATE(T)                                                                       \
  template Triangle<T> triangle_at(const PointToMeshProblem<T>&, int64_t);                         \
  template Box<T> box_of(const Triangle<T>&);                                                      \
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
