// The segments of packed points, read on the device only.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace g2vlm {

// Offsets as they are found: any values at all, so ranges are clamped.
struct Segments {
  const int32_t* offsets;  // null for one segment
  int32_t count;
  int64_t length;

  __device__ int64_t begin(int32_t segment) const {
    return offsets == nullptr ? 0 : min(max(int64_t{offsets[segment]}, int64_t{0}), length);
  }
  __device__ int64_t end(int32_t segment) const {
    return offsets == nullptr ? length
                              : min(max(int64_t{offsets[segment + 1]}, int64_t{0}), length);
  }
  __device__ bool covers(int32_t segment, int64_t row) const {
    return begin(segment) <= row && row < end(segment);
  }
  // The segment of a row where offsets are right, some segment where they are not.
  __device__ int32_t of(int64_t row) const {
    if (offsets == nullptr) return 0;
    int32_t low = 0, high = count - 1;
    while (low < high) {
      const int32_t middle = low + (high - low) / 2;
      if (offsets[middle + 1] > row)
        high = middle;
      else
        low = middle + 1;
    }
    return low;
  }
};

}  // namespace g2vlm
