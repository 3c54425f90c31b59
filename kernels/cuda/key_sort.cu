#include <cub/device/device_radix_sort.cuh>

#include "key_sort.cuh"

namespace g2vlm {
namespace {

// Up to so many keys are sorted by `radix_sort`, more by CUB; keys of few bits have a limit of
// their own. CUB enqueues 16 kernels and operations on memory for 48 bits, one of them to read all
// keys once more, and `radix_sort` 6; but the tiles of CUB are the faster ones where keys fill the
// device for long. Measured on an H100, ms of a step of search, loss and gradient, `radix_sort` /
// CUB: 100,000 + 100,000 points 0.195 / 0.220, 4 x (65,536 + 65,536), which are 2^19 keys, 0.289 /
// 0.308, 1,000,000 + 1,000,000 1.171 / 1.126.
//
// A million keys of 21 bits take either 65 us with the kernel that makes them, and 5 launches by
// `radix_sort` for 12 by CUB.
//
// Rows beside keys are left to CUB too: so few keys hold their rows themselves, but for some
// numbers of segments at 2^19 keys exactly.
constexpr int64_t kFewKeys = 1 << 19;
constexpr int64_t kFewKeysOfFewBits = 1 << 20;
constexpr int kFewBits = 24;
static_assert(kFewKeys <= kFewKeysOfFewBits && kFewKeysOfFewBits <= kMostSorted);

}  // namespace

KeySort::KeySort(int64_t items, int low_bit, int bits, bool with_rows, Workspace& memory)
    : items_(items),
      low_bit_(low_bit),
      end_bit_(low_bit + bits),
      with_rows_(with_rows),
      by_cub_(with_rows || items > (bits <= kFewBits ? kFewKeysOfFewBits : kFewKeys)) {
  for (int i = 0; i < 2; ++i) {
    keys_.d_buffers[i] = memory.take<uint64_t>(items);
    rows_.d_buffers[i] = with_rows ? memory.take<uint32_t>(items) : nullptr;
  }
  if (by_cub_) {
    check_cuda(sort_by_cub(nullptr), "key_sort");
    space_ = memory.take<char>(static_cast<int64_t>(space_bytes_));
  } else {
    digits_ = take_digits(items, low_bit, bits, memory);
  }
}

void KeySort::run(cudaStream_t stream) {
  if (by_cub_)
    check_cuda(sort_by_cub(stream), "key_sort");
  else
    radix_sort(digits_, items_, keys_, stream);
}

// Without space it measures what is needed.
cudaError_t KeySort::sort_by_cub(cudaStream_t stream) {
  const int items = static_cast<int>(items_);
  if (!with_rows_)
    return cub::DeviceRadixSort::SortKeys(space_, space_bytes_, keys_, items, low_bit_, end_bit_,
                                          stream);
  return cub::DeviceRadixSort::SortPairs(space_, space_bytes_, keys_, rows_, items, low_bit_,
                                         end_bit_, stream);
}

}  // namespace g2vlm
