#include "nearest_tree.h"

#include <algorithm>
#include <cmath>

#include "g2vlm/parallel.h"
#include "hilbert_order.h"
#include "nearest_arithmetic.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kLeavesPerPiece = 512;
constexpr int64_t kNodesPerPiece = 512;
constexpr int64_t kPrefetch = 4 * kWidth;  // points ahead; they lie far apart in memory

int32_t groups_of(int32_t count) {
  return static_cast<int32_t>((int64_t{count} + kWidth - 1) / kWidth);
}

// `index_at(place)` is the target at a place of the order.
template <class T, class IndexAt>
void fill_leaf(const T* target, int32_t points, int32_t dim, const IndexAt& index_at,
               int64_t number, Leaf<T>& leaf) {
  const int64_t place = number * kWidth;
  const int64_t later = place + kPrefetch;
  for (int64_t i = later; i < std::min<int64_t>(later + kWidth, points); ++i)
    prefetch_to_read(target + int64_t{index_at(i)} * dim);
  const int size = static_cast<int>(std::min<int64_t>(kWidth, points - place));
  for (int i = 0; i < size; ++i) {
    leaf.index[i] = index_at(place + i);
    const T* point = target + int64_t{leaf.index[i]} * dim;
    for (int axis = 0; axis < kMaxTreeDim; ++axis)
      leaf.point[axis][i] = axis < dim ? point[axis] : T(0);
  }
  for (int axis = 0; axis < kMaxTreeDim; ++axis)
    std::fill(leaf.point[axis] + size, leaf.point[axis] + kWidth,
              std::numeric_limits<T>::quiet_NaN());
  std::fill(leaf.index + size, leaf.index + kWidth, kNoIndex);
}

template <class T>
void clear(Node<T>& node) {
  for (int axis = 0; axis < kMaxTreeDim; ++axis) {
    std::fill_n(node.low[axis], kWidth, std::numeric_limits<T>::infinity());
    std::fill_n(node.high[axis], kWidth, -std::numeric_limits<T>::infinity());
  }
  std::fill_n(node.first, kWidth, kNoIndex);
  node.children = 0;
  std::fill(std::begin(node.unused), std::end(node.unused), 0);
}

template <class T>
void add_leaf(Node<T>& node, const Leaf<T>& leaf) {
  const int child = node.children++;
  bool number[kWidth];
  for (int i = 0; i < kWidth; ++i)
    number[i] = leaf.point[0][i] == leaf.point[0][i] && leaf.point[1][i] == leaf.point[1][i] &&
                leaf.point[2][i] == leaf.point[2][i];
  for (int axis = 0; axis < kMaxTreeDim; ++axis) {
    T low = std::numeric_limits<T>::infinity(), high = -low;
    for (int i = 0; i < kWidth; ++i) {
      const T value = leaf.point[axis][i];
      low = number[i] && value < low ? value : low;
      high = number[i] && value > high ? value : high;
    }
    node.low[axis][child] = low;
    node.high[axis][child] = high;
  }
  for (int i = 0; i < kWidth; ++i)
    if (number[i]) node.first[child] = std::min(node.first[child], leaf.index[i]);
}

template <class T>
void add_node(Node<T>& node, const Node<T>& below) {
  const int child = node.children++;
  for (int axis = 0; axis < kMaxTreeDim; ++axis) {
    node.low[axis][child] = *std::min_element(below.low[axis], below.low[axis] + kWidth);
    node.high[axis][child] = *std::max_element(below.high[axis], below.high[axis] + kWidth);
  }
  node.first[child] = *std::min_element(below.first, below.first + kWidth);
}

// Fills `count` nodes with the boxes of `below` children.
template <class T, class Child>
void fill_level(const Child* children, int32_t below, Node<T>* nodes, int threads) {
  parallel_for(groups_of(below), kNodesPerPiece, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    for (int64_t number = begin; number < end; ++number) {
      clear(nodes[number]);
      const int64_t stop = std::min<int64_t>((number + 1) * kWidth, below);
      for (int64_t child = number * kWidth; child < stop; ++child) {
        if constexpr (std::is_same_v<Child, Leaf<T>>) {
          add_leaf(nodes[number], children[child]);
        } else {
          add_node(nodes[number], children[child]);
        }
      }
    }
  });
}

template <class T, class IndexAt>
void fill_tree(const T* target, int32_t points, int32_t dim, const IndexAt& index_at,
               Leaf<T>* leaves, Node<T>* nodes, int threads) {
  const NearestTreeShape shape(points);
  parallel_for(shape.num_leaves, kLeavesPerPiece, threads, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) fill_leaf(target, points, dim, index_at, begin, leaves[begin]);
  });
  if (shape.num_levels > 0) fill_level(leaves, shape.num_leaves, nodes, threads);
  for (int32_t number = 1; number < shape.num_levels; ++number) {
    const int32_t begin = shape.level_begin[number - 1], end = shape.level_begin[number];
    fill_level<T>(nodes + begin, end - begin, nodes + end, threads);
  }
}

}  // namespace

NearestTreeShape::NearestTreeShape(int32_t points)
    : num_leaves(groups_of(points)), num_nodes(0), num_levels(0), level_begin{} {
  for (int32_t below = num_leaves; below > (num_levels == 0 ? 0 : 1);) {
    below = groups_of(below);
    level_begin[num_levels++] = num_nodes;
    num_nodes += below;
  }
}

template <class T>
void build_nearest_tree(const T* target, int32_t first, int32_t points, int32_t dim,
                        Leaf<T>* leaves, Node<T>* nodes, int threads) {
  const HilbertOrder order(target + int64_t{first} * dim, points, dim, threads);
  const auto index_at = [&](int64_t place) { return first + order[place]; };
  fill_tree(target, points, dim, index_at, leaves, nodes, threads);
}

template <class T>
void refit_nearest_tree(const T* target, int32_t points, int32_t dim, const Leaf<T>* order,
                        Leaf<T>* leaves, Node<T>* nodes, int threads) {
  const auto index_at = [&](int64_t place) { return order[place / kWidth].index[place % kWidth]; };
  fill_tree(target, points, dim, index_at, leaves, nodes, threads);
}

#define G2VLM_TREES_OF(T)                                                                          \
  template void build_nearest_tree(const T*, int32_t, int32_t, int32_t, Leaf<T>*, Node<T>*, int);  \
  template void refit_nearest_tree(const T*, int32_t, int32_t, const Leaf<T>*, Leaf<T>*, Node<T>*, \
                                   int);
G2VLM_TREES_OF(float)
G2VLM_TREES_OF(double)
#undef G2VLM_TREES_OF

}  // namespace g2vlm
