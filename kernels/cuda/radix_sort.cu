#include "radix_sort.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = kDigits;  // a thread a digit
constexpr int kWarps = kThreads / 32;
constexpr int kItems = 8;  // of a thread: small tiles fill the device
constexpr int kTile = kThreads * kItems;
constexpr int kWindow = 4;  // tiles that are looked at together
constexpr int kCountBits = 28;
static_assert(kMostSorted < 1 << kCountBits && 2 * kMostPasses < 1 << (32 - kCountBits));

// How far tiles are with a digit: a word holds a number of keys, of one tile or of all up to it.
// States rise from pass to pass, so that what a pass has left says nothing in the next.
class Progress {
 public:
  __device__ Progress(uint32_t* words, int pass, int digit)
      : words_(words + digit), of_tile_(2 * pass + 1), of_all_(2 * pass + 2) {}

  __device__ void tell_tile(int64_t tile, uint32_t count) { tell(tile, of_tile_, count); }
  __device__ void tell_all(int64_t tile, uint32_t count) { tell(tile, of_all_, count); }

  // The keys of the tiles before this one. Their blocks have begun before, so they will tell.
  __device__ uint32_t before(int64_t tile) const {
    uint32_t sum = 0;
    while (true) {
      uint32_t words[kWindow];
#pragma unroll
      for (int i = 0; i < kWindow; ++i) words[i] = words_[max(tile - 1 - i, int64_t{0}) * kDigits];
#pragma unroll
      for (int i = 0; i < kWindow; ++i) {
        const uint32_t state = words[i] >> kCountBits;
        if (state < of_tile_) break;
        sum += words[i] & ((1U << kCountBits) - 1);
        if (state == of_all_) return sum;
        --tile;
      }
    }
  }

 private:
  __device__ void tell(int64_t tile, uint32_t state, uint32_t count) {
    words_[tile * kDigits] = state << kCountBits | count;
  }

  volatile uint32_t* words_;
  uint32_t of_tile_, of_all_;  // states
};

// The sum over the threads before, by a whole block.
__device__ uint64_t sum_before(uint64_t value) {
  __shared__ uint64_t of_warps[kWarps];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  uint64_t sum = value;
#pragma unroll
  for (int stride = 1; stride < 32; stride *= 2) {
    const uint64_t other = __shfl_up_sync(kAllLanes, sum, stride);
    if (lane >= stride) sum += other;
  }
  if (lane == 31) of_warps[warp] = sum;
  __syncthreads();
  for (int i = 0; i < warp; ++i) sum += of_warps[i];
  return sum - value;
}

// A block a tile of consecutive keys: brings them into order among themselves, and from there to
// where they belong.
__global__ void __launch_bounds__(kThreads, 4)
    sort_by_digit(const __grid_constant__ KeyDigits digits, int pass, int64_t count,
                  const uint64_t* from, uint64_t* to) {
  __shared__ uint64_t tile_keys[kTile];
  __shared__ uint32_t places[kWarps][kDigits];  // of the next key of a warp with a digit
  __shared__ uint32_t shifts[kDigits];          // from a place in the tile to that in the output
  __shared__ uint32_t ticket;
  const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32;
  if (thread == 0) ticket = atomicAdd(digits.tickets + pass, 1);
  for (int i = 0; i < kWarps; ++i) places[i][thread] = 0;
  const uint32_t keys_in_all = digits.counts[pass * kDigits + thread];
  __syncthreads();
  const int64_t tile = ticket, begin = tile * kTile;
  const int inside = static_cast<int>(min(count - begin, int64_t{kTile}));
  const int first = warp * (32 * kItems) + lane;

  uint64_t keys[kItems];
  uint32_t ranks[kItems];
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int item = first + 32 * i;
    keys[i] = item < inside ? from[begin + item] : ~uint64_t{0};  // these stay at the end
  }
#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const uint32_t digit = digits.of(keys[i], pass);
    const unsigned alike = __match_any_sync(kAllLanes, digit);
    const unsigned before = alike & ((1U << lane) - 1);
    uint32_t place = 0;
    if (before == 0) {
      place = places[warp][digit];
      places[warp][digit] = place + __popc(alike);
    }
    ranks[i] = __shfl_sync(kAllLanes, place, __ffs(static_cast<int>(alike)) - 1) + __popc(before);
    __syncwarp();
  }
  __syncthreads();

  Progress progress(digits.progress, pass, thread);
  uint32_t of_tile = 0;
  for (int i = 0; i < kWarps; ++i) of_tile += places[i][thread];
  if (tile > 0) progress.tell_tile(tile, of_tile);
  const uint64_t sums = sum_before(uint64_t{keys_in_all} << 32 | of_tile);
  auto place = static_cast<uint32_t>(sums);
  for (int i = 0; i < kWarps; ++i) {
    const uint32_t of_warp = places[i][thread];
    places[i][thread] = place;
    place += of_warp;
  }
  __syncthreads();
#pragma unroll
  for (int i = 0; i < kItems; ++i)
    tile_keys[places[warp][digits.of(keys[i], pass)] + ranks[i]] = keys[i];
  const uint32_t of_others = tile > 0 ? progress.before(tile) : 0;
  progress.tell_all(tile, of_others + of_tile);
  shifts[thread] = static_cast<uint32_t>(sums >> 32) + of_others - static_cast<uint32_t>(sums);
  __syncthreads();

#pragma unroll
  for (int i = 0; i < kItems; ++i) {
    const int item = thread + kThreads * i;
    const uint64_t key = tile_keys[item];
    if (item < inside) to[shifts[digits.of(key, pass)] + item] = key;
  }
}

}  // namespace

KeyDigits take_digits(int64_t items, int low_bit, int bits, Workspace& memory) {
  KeyDigits digits{};
  digits.low_bit = low_bit;
  digits.passes = (bits + kDigitBits - 1) / kDigitBits;
  digits.counts = memory.take<uint32_t>(digits.passes * (kDigits + 1));
  digits.tickets = digits.counts + digits.passes * kDigits;
  digits.progress_size = int64_t{blocks_for(items, kTile)} * kDigits;
  digits.progress = memory.take<uint32_t>(digits.progress_size);
  return digits;
}

void radix_sort(const KeyDigits& digits, int64_t items, cub::DoubleBuffer<uint64_t>& keys,
                cudaStream_t stream) {
  for (int pass = 0; pass < digits.passes; ++pass) {
    sort_by_digit<<<blocks_for(items, kTile), kThreads, 0, stream>>>(
        digits, pass, items, keys.Current(), keys.Alternate());
    keys.selector ^= 1;
  }
  check_cuda(cudaGetLastError(), "radix_sort");
}

}  // namespace g2vlm
