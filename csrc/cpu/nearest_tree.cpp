#include "nearest_tree.h"

#include "g2vlm/parallel.h"
#include "nearest_arithmetic.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int64_t kLeavesPerPiece = 512;
constexpr int64_t kNodesPerPiece = 512;
constexpr int64_t kPrefetch = 4 * kWidth;  // points ahead; they lie far apart in memory

template <class T>
void clear(Node<T>& node) {
  for (int axis = 0; axis < kMaxTreeDim; ++axis) {
    std::fill_n(node.low[axis], kWidth, std::numeric_limits<T>::infinity());
    std::fill_n(node.high[axis], kWidth, -std::numeric_limits<T>::infinity());
  }
  std::fill_n(node.first, kWidth, kNoIndex);
  node.children = 0;
}

template <class T>
void add_leaf(Node<T>& node, const Leaf<T>& leaf) {
  const int child = node.children++;
  for (int axis = 0; axis < kMaxTreeDim; ++axis) {
    T low = std::numeric_limits<T>::infinity(), high = -low;
    for (const T value : leaf.point[axis]) {  // comparisons leave NaN out
      low = value < low ? value : low;
      high = value > high ? value : high;
    }
    node.low[axis][child] = low;
    node.high[axis][child] = high;
  }
  node.first[child] = *std::min_element(leaf.index, leaf.index + kWidth);
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

}  // namespace

template <class T>
NearestTree<T>::NearestTree(const T* target, int32_t first, int32_t count, int32_t dim,
                            int threads) {
  const HilbertOrder order(target + int64_t{first} * dim, count, dim, threads);
  num_leaves_ = static_cast<int32_t>((int64_t{order.without_nan()} + kWidth - 1) / kWidth);
  fill_leaves(target, first, dim, order, threads);
  fill_levels(threads);
}

template <class T>
void NearestTree<T>::fill_leaves(const T* target, int32_t first, int32_t dim,
                                 const HilbertOrder& order, int threads) {
  leaves_.reset(new Leaf<T>[static_cast<size_t>(num_leaves_)]);
  parallel_for(num_leaves_, kLeavesPerPiece, threads, [&](int64_t begin, int64_t end) {
    for (int64_t number = begin; number < end; ++number) {
      Leaf<T>& leaf = leaves_[static_cast<size_t>(number)];
      const int64_t place = number * kWidth;
      const int64_t later = place + kPrefetch;
      for (int64_t i = later; i < std::min<int64_t>(later + kWidth, order.without_nan()); ++i)
        prefetch_to_read(target + int64_t{first + order[i]} * dim);
      const int size = static_cast<int>(std::min<int64_t>(kWidth, order.without_nan() - place));
      for (int i = 0; i < size; ++i) {
        leaf.index[i] = first + order[place + i];
        const T* point = target + int64_t{leaf.index[i]} * dim;
        for (int axis = 0; axis < kMaxTreeDim; ++axis)
          leaf.point[axis][i] = axis < dim ? point[axis] : T(0);
      }
      for (int axis = 0; axis < kMaxTreeDim; ++axis)
        std::fill(leaf.point[axis] + size, leaf.point[axis] + kWidth,
                  std::numeric_limits<T>::quiet_NaN());
      std::fill(leaf.index + size, leaf.index + kWidth, kNoIndex);
    }
  });
}

template <class T>
void NearestTree<T>::fill_levels(int threads) {
  for (int64_t below = num_leaves_; below > (levels_.empty() ? 0 : 1);) {
    const int64_t count = (below + kWidth - 1) / kWidth;
    const Node<T>* children = levels_.empty() ? nullptr : levels_.back().get();
    levels_.emplace_back(new Node<T>[static_cast<size_t>(count)]);
    Node<T>* nodes = levels_.back().get();
    parallel_for(count, kNodesPerPiece, threads, [&](int64_t begin, int64_t end) {
      const StrictFloatingPoint strict;
      for (int64_t number = begin; number < end; ++number) {
        clear(nodes[number]);
        const int64_t stop = std::min((number + 1) * kWidth, below);
        for (int64_t child = number * kWidth; child < stop; ++child) {
          if (children == nullptr) {
            add_leaf(nodes[number], leaves_[static_cast<size_t>(child)]);
          } else {
            add_node(nodes[number], children[child]);
          }
        }
      }
    });
    below = count;
  }
}

template class NearestTree<float>;
template class NearestTree<double>;

}  // namespace g2vlm
