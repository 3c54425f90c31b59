// Sorts packed clouds along a Hilbert curve and puts trees of boxes over them.
#pragma once

#include "key_sort.cuh"
#include "nearest_tree.cuh"
#include "workspace.cuh"

namespace g2vlm {

// Two packed clouds of as many segments; the second may have no points.
struct Clouds {
  const float* points[2];     // [length, dim]
  const int32_t* offsets[2];  // null for one segment
  int64_t length[2];
  int32_t segments;
  int32_t dim = 3;  // at most 3
};

struct Pair {
  Tree tree[2];

  __device__ int64_t rows() const { return tree[0].length() + tree[1].length(); }
  // Where the points of a segment of a cloud begin among the sorted keys.
  __device__ int64_t sorted_begin(int cloud, int32_t segment) const {
    const Segments &a = tree[0].segments, &b = tree[1].segments;
    const int64_t before = a.begin(segment) - a.begin(0) + b.begin(segment) - b.begin(0);
    return cloud == 0 ? before : before + a.end(segment) - a.begin(segment);
  }
};

// The rows of both clouds in their order, those of a segment of a cloud from `Pair::sorted_begin`
// on. They may lie in the low bits of the keys that were sorted.
struct SortedRows {
  const uint32_t* rows;  // or null
  const uint64_t* keys;
  int bits;

  __device__ int64_t operator[](int64_t place) const {
    if (rows != nullptr) return rows[place];
    return static_cast<int64_t>(keys[place] & ((uint64_t{1} << bits) - 1));
  }
};

// The grid of cubes that a segment's curve runs through, from 0 to 1 along the axes. Points outside
// have a curve of their own, of cells that grow with the distance, so that it reaches everywhere.
struct Grid {
  float low[3];  // half the coordinates of its corner
  float scale;   // 1 / half of its extent

  __device__ float place(int axis, float value) const { return (0.5F * value - low[axis]) * scale; }
};

// Memory for a tree over one of the clouds and for its offsets, which are null where none are
// given.
int32_t* take_offsets(const Clouds& clouds, int cloud, Workspace& memory);
Tree lay_out_tree(const Clouds& clouds, int cloud, const int32_t* offsets, Workspace& memory);

class TreeBuilder {
 public:
  // What the first tree needs goes to `kept`, the rest to `scratch`.
  TreeBuilder(const Clouds& clouds, Workspace& kept, Workspace& scratch);

  const Pair& pair() const { return pair_; }

  // For the search behind it: `sort` sets it to 0.
  uint32_t* counter() const { return counter_; }

  // These enqueue; `build` does all of it. Rows that no segment covers get a distance of NaN and -1
  // for a neighbour.
  void build(const Neighbours& unknown, cudaStream_t stream);
  void sort(const Neighbours& unknown, cudaStream_t stream);
  void fill_leaves(cudaStream_t stream);
  // Moves the points of the trees to where they are now, in the order that they had.
  static void refill_leaves(const Pair& pair, cudaStream_t stream);
  static void fill_nodes(const Pair& pair, cudaStream_t stream);

 private:
  Pair pair_;
  const int32_t* given_offsets_[2];
  int32_t* clean_offsets_[2];
  Grid* grids_;
  KeySort sort_;  // of keys alone where they hold the rows
  uint32_t* counter_;
  int position_bits_;  // of a position on the curve
  int row_bits_ = 0;   // of a row below the key
};

}  // namespace g2vlm
