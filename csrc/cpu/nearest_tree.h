// A wide tree of boxes over the targets of one segment, in memory that someone else holds.
//
// The targets lie along a Hilbert curve in leaves of kWidth, and every node holds the boxes of
// kWidth children. The bound of a box is the distance's own expression on the gaps to the box, and
// rounding is monotone, so that a computed bound is never above the computed distance of a point in
// the box: a box is left out only where no target in it can enter, without any tolerance. Boxes
// know the lowest index in them, so equal distances are settled the same way.
#pragma once

#include <cstdint>
#include <limits>
#include <type_traits>

#include "nearest_paths.h"

namespace g2vlm {

constexpr int kWidth = 16;  // points of a leaf, children of a node, queries of a group

constexpr int kMaxLevels = 8;  // kWidth to this power is more than int32_t counts

constexpr int32_t kNoIndex = std::numeric_limits<int32_t>::max();

// An integer as wide as T, so that distances and indices sit in vectors of one shape.
template <class T>
using IndexOf = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;

template <class T>
struct alignas(64) Leaf {
  T point[kMaxTreeDim][kWidth];  // NaN where there is none, which no comparison lets in
  int32_t index[kWidth];         // within the packed targets; kNoIndex where there is none
};

// Targets with a NaN coordinate lie in leaves, but count for no box and for no `first`: they are
// never found.
template <class T>
struct alignas(64) Node {
  T low[kMaxTreeDim][kWidth];
  T high[kMaxTreeDim][kWidth];
  int32_t first[kWidth];  // the lowest index in each child
  int32_t children;
  int32_t unused[15];  // zero, so that equal trees are equal bytes
};

// How many leaves and nodes there are, and how the nodes fall into levels. Level 0 holds the boxes
// of the leaves, each other level those of the nodes of the level below, and the last is one node.
struct NearestTreeShape {
  explicit NearestTreeShape(int32_t points);

  int32_t num_leaves;
  int32_t num_nodes;
  int32_t num_levels;
  int32_t level_begin[kMaxLevels];  // in the nodes
};

template <class T>
struct NearestTree {
  NearestTreeShape shape;
  const Leaf<T>* leaves;
  const Node<T>* nodes;

  const Node<T>* level(int number) const { return nodes + shape.level_begin[number]; }
};

// Of the targets from row `first` on, in the order of a Hilbert curve.
template <class T>
void build_nearest_tree(const T* target, int32_t first, int32_t points, int32_t dim,
                        Leaf<T>* leaves, Node<T>* nodes, int threads);

// In the order that the targets have in the leaves of another tree, wherever they are now.
template <class T>
void refit_nearest_tree(const T* target, int32_t points, int32_t dim, const Leaf<T>* order,
                        Leaf<T>* leaves, Node<T>* nodes, int threads);

// Searches a tree over the targets of a segment; there is at least one.
template <class T>
void search_nearest_tree(const NearestProblem<T>& problem, const NearestSegment& segment,
                         const NearestTree<T>& tree, int threads);

}  // namespace g2vlm
