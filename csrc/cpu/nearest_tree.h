// A wide tree of boxes over the targets of one segment.
//
// The targets lie along a Hilbert curve in leaves of kWidth, and every node holds the boxes of
// kWidth children. The bound of a box is the distance's own expression on the gaps to the box, and
// rounding is monotone, so that a computed bound is never above the computed distance of a point
// in the box: a box is left out only where no target in it can enter, without any tolerance.
// Boxes know the lowest index in them, so equal distances are settled the same way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <memory>
#include <type_traits>
#include <vector>

#include "hilbert_order.h"
#include "nearest_paths.h"

namespace g2vlm {

constexpr int kWidth = 16;  // points of a leaf, children of a node, queries of a group

constexpr int32_t kNoIndex = std::numeric_limits<int32_t>::max();

// An integer as wide as T, so that distances and indices sit in vectors of one shape.
template <class T>
using IndexOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class T>
struct alignas(64) Leaf {
  T point[kMaxTreeDim][kWidth];  // NaN where there is none, which no comparison lets in
  int32_t index[kWidth];         // within the packed targets
};

template <class T>
struct alignas(64) Node {
  T low[kMaxTreeDim][kWidth];
  T high[kMaxTreeDim][kWidth];
  int32_t first[kWidth];  // the lowest index in each child
  int32_t children;
};

template <class T>
class NearestTree {
 public:
  // Of `count` targets from row `first` on. Targets with a NaN coordinate are left out: they are
  // never found.
  NearestTree(const T* target, int32_t first, int32_t count, int32_t dim, int threads);

  int32_t num_leaves() const { return num_leaves_; }
  const Leaf<T>* leaves() const { return leaves_.get(); }

  // Level 0 holds the boxes of the leaves, each other level those of the nodes of the level below.
  // The last level is one node; there is none where there is no leaf.
  int num_levels() const { return static_cast<int>(levels_.size()); }
  const Node<T>* level(int number) const { return levels_[static_cast<size_t>(number)].get(); }

 private:
  void fill_leaves(const T* target, int32_t first, int32_t dim, const HilbertOrder& order,
                   int threads);
  void fill_levels(int threads);

  int32_t num_leaves_ = 0;
  std::unique_ptr<Leaf<T>[]> leaves_;
  std::vector<std::unique_ptr<Node<T>[]>> levels_;
};

}  // namespace g2vlm
