// Trees of boxes over the faces or the points of one segment, which the other side searches.
//
// Partners lie along a Hilbert curve in leaves of kFanOut; large faces lie in leaves of their own,
// or they would spread the boxes of small ones. Every node holds the boxes of kFanOut children.
// Boxes are grown by more than distances are off by, so that a box is left out only where no
// partner in it can enter: a tree finds what looking at every pair finds.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#include "g2vlm/closest_on_triangle.h"
#include "g2vlm/point_to_mesh.h"
#include "instruction_set.h"
#include "nearest_arithmetic.h"

namespace g2vlm {

constexpr int kFanOut = 16;  // partners of a leaf, children of a node

constexpr int32_t kNoRow = std::numeric_limits<int32_t>::max();

// What a box is grown by, of the side of the triangle; what a bound is lowered by.
template <class T>
constexpr T kSlack = 16 * std::numeric_limits<T>::epsilon();

template <class T>
struct Box {
  T low[3], high[3];  // +infinity, -infinity where there is nothing
};

template <class T>
G2VLM_ALWAYS_INLINE Box<T> empty_box() {
  Box<T> box;
  std::fill_n(box.low, 3, std::numeric_limits<T>::infinity());
  std::fill_n(box.high, 3, -std::numeric_limits<T>::infinity());
  return box;
}

template <class T>
G2VLM_ALWAYS_INLINE void cover(Box<T>& box, const Box<T>& other) {
  for (int axis = 0; axis < 3; ++axis) {
    box.low[axis] = std::min(box.low[axis], other.low[axis]);
    box.high[axis] = std::max(box.high[axis], other.high[axis]);
  }
}

template <class T>
struct Triangle {
  T corner[3][3];
};

// All NaN where the face names no vertex.
template <class T>
G2VLM_ALWAYS_INLINE Triangle<T> triangle_at(const PointToMeshProblem<T>& p, int64_t face) {
  const int32_t* rows = p.faces + face * 3;
  bool named = true;
  for (int i = 0; i < 3; ++i) named &= rows[i] >= 0 && rows[i] < p.num_vertices;
  Triangle<T> triangle;
  for (int i = 0; i < 3; ++i)
    for (int axis = 0; axis < 3; ++axis)
      triangle.corner[i][axis] = named ? p.vertices[int64_t{rows[i]} * 3 + axis] : Limits<T>::kNan;
  return triangle;
}

template <class T>
G2VLM_ALWAYS_INLINE void prefetch_triangle(const PointToMeshProblem<T>& p, int64_t face) {
  const int32_t* corners = p.faces + face * 3;
  for (int i = 0; i < 3; ++i)
    if (corners[i] >= 0 && corners[i] < p.num_vertices)
      prefetch_to_read(p.vertices + int64_t{corners[i]} * 3);
}

// Grown by the slack.
template <class T>
G2VLM_ALWAYS_INLINE Box<T> box_of(const Triangle<T>& triangle) {
  const auto& [a, b, c] = triangle.corner;
  Box<T> box;
  T side = 0;
  for (int axis = 0; axis < 3; ++axis) {
    box.low[axis] = std::min({a[axis], b[axis], c[axis]});
    box.high[axis] = std::max({a[axis], b[axis], c[axis]});
    side = std::max(side, box.high[axis] - box.low[axis]);
  }
  for (int axis = 0; axis < 3; ++axis) {
    box.low[axis] -= kSlack<T> * side;
    box.high[axis] += kSlack<T> * side;
  }
  return box;
}

template <class T>
G2VLM_ALWAYS_INLINE bool is_finite(const T* begin, const T* end) {
  bool finite = true;
  for (; begin < end; ++begin) finite &= std::abs(*begin) <= Limits<T>::kLargest;
  return finite;
}

// NaN where there is no partner, which no comparison lets in.
template <class T>
struct alignas(64) FaceLeaf {
  T a[3][kFanOut], b[3][kFanOut];
  T ab[3][kFanOut], ac[3][kFanOut], bc[3][kFanOut], height[3][kFanOut];
  T per_ab[kFanOut], per_ac[kFanOut], per_bc[kFanOut], per_height[kFanOut], foot[kFanOut];
  int32_t row[kFanOut];  // within the packed faces
};

template <class T>
struct alignas(64) PointLeaf {
  T point[3][kFanOut];
  int32_t row[kFanOut];  // within the packed points
};

template <class T>
struct alignas(64) BoxNode {
  T low[3][kFanOut], high[3][kFanOut];  // those of an empty box where there is no child
};

template <class T>
class BoxTree {
 public:
  BoxTree() = default;
  BoxTree(std::vector<Box<T>> leaves, int threads);

  // Level 0 holds the boxes of the leaves, each other level those of the nodes of the level below.
  // The last level is one node; there is none where there is no leaf.
  int num_levels() const { return static_cast<int>(levels_.size()); }
  const BoxNode<T>* level(int number) const { return levels_[static_cast<size_t>(number)].get(); }

 private:
  std::vector<std::unique_ptr<BoxNode<T>[]>> levels_;
};

// The partners of a segment, rows [begin, end). Without a tree they keep their order, and all
// leaves are to be looked at.
template <class Leaf, class T>
struct Partners {
  explicit Partners(size_t count)
      : num_leaves(static_cast<int64_t>((count + kFanOut - 1) / kFanOut)),
        leaves(new Leaf[static_cast<size_t>(num_leaves)]) {}

  int64_t num_leaves;
  std::unique_ptr<Leaf[]> leaves;
  BoxTree<T> tree;
};

template <class T>
Partners<FaceLeaf<T>, T> gather_faces(const PointToMeshProblem<T>& problem, int32_t begin,
                                      int32_t end, bool tree, int threads);
template <class T>
Partners<PointLeaf<T>, T> gather_points(const PointToMeshProblem<T>& problem, int32_t begin,
                                        int32_t end, bool tree, int threads);

// Rows [begin, end) along a Hilbert curve, faces by their centroids; those with a NaN come last,
// and of faces all that are not finite.
template <class T>
std::vector<int32_t> order_points(const PointToMeshProblem<T>& problem, int32_t begin, int32_t end,
                                  int threads, int64_t* usable = nullptr);
template <class T>
std::vector<int32_t> order_faces(const PointToMeshProblem<T>& problem, int32_t begin, int32_t end,
                                 int threads, int64_t* usable = nullptr);

}  // namespace g2vlm
