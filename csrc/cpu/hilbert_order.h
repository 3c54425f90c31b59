// Points in the order in which a Hilbert curve passes them.
#pragma once

#include <cstdint>
#include <memory>

namespace g2vlm {

// Neighbours along the curve are neighbours in space, at every scale: cells of the curve that hold
// more than a few points are cut anew, so that an outlier does not push all others into one cell.
// The order is a function of the points alone; equal points keep the order of their indices.
class HilbertOrder {
 public:
  // Of `count` points of 1 to 3 coordinates. Points with an infinite coordinate come after the
  // finite ones, points with a NaN at the very end.
  template <class T>
  HilbertOrder(const T* points, int32_t count, int32_t dim, int threads);

  int32_t operator[](int64_t place) const { return static_cast<int32_t>(entries_[place]); }
  int32_t size() const { return count_; }
  int32_t without_nan() const { return without_nan_; }

 private:
  std::unique_ptr<uint64_t[]> entries_;  // key on the curve above, index below
  int32_t count_;
  int32_t without_nan_;
};

}  // namespace g2vlm
