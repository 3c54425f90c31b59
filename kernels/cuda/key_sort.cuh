// Sorts keys by a range of their bits, and rows along with them, by the faster of two sorts.
#pragma once

#include "radix_sort.cuh"

namespace g2vlm {

class KeySort {
 public:
  KeySort() = default;
  // Of so many keys, by at most 62 bits of them from `low_bit` on; the bits above are 0.
  KeySort(int64_t items, int low_bit, int bits, bool with_rows, Workspace& memory);

  // What has to be counted while keys are made.
  const KeyDigits& digits() const { return digits_; }

  // Where keys go, and rows if there are any; from `run` on, where they lie in order.
  uint64_t* keys() { return keys_.Current(); }
  uint32_t* rows() { return rows_.Current(); }

  // Enqueues.
  void run(cudaStream_t stream);

 private:
  cudaError_t sort_by_cub(cudaStream_t stream);

  int64_t items_ = 0;
  int low_bit_ = 0, end_bit_ = 0;
  bool with_rows_ = false, by_cub_ = false;
  cub::DoubleBuffer<uint64_t> keys_;
  cub::DoubleBuffer<uint32_t> rows_;
  KeyDigits digits_{};     // no passes where CUB sorts
  void* space_ = nullptr;  // for CUB
  size_t space_bytes_ = 0;
};

}  // namespace g2vlm
