// Exact nearest neighbours by brute force.
//
// Every distance is the chain of roundings that the header prescribes, and is compared by its bits:
// distances are never negative, so their bits order as unsigned integers and NaN comes last.
#include <algorithm>
#include <cmath>
#include <type_traits>

#include "common.cuh"
#include "g2vlm/nearest.h"
#include "nearest_segments.cuh"
#include "rounding.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 128;

template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using type = uint32_t;
};
template <>
struct BitsOf<double> {
  using type = unsigned long long;
};
template <class T>
using Bits = typename BitsOf<T>::type;

__device__ uint32_t bits_of(float value) {
  return __float_as_uint(value);
}
__device__ unsigned long long bits_of(double value) {
  return static_cast<unsigned long long>(__double_as_longlong(value));
}

template <class T>
__device__ bool has_nan(const T* point, int32_t dim) {
  bool nan = false;
  for (int32_t axis = 0; axis < dim; ++axis) nan |= isnan(point[axis]);
  return nan;
}

// Any dimension, any k, either norm: a thread a query, its neighbours sorted in the output itself.
template <class T, int kNorm>
__global__ void __launch_bounds__(kThreads)
    nearest_general(NearestProblem<T> p, Segments queries, Segments targets) {
  constexpr int kGroup = 4;
  const int64_t query = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (query >= p.num_queries) return;
  const T* point = p.query + query * p.dim;
  T* distance = p.distance + query * p.k;
  int32_t* index = p.index + query * p.k;
  const int32_t segment = queries.of(query);
  const bool covered = queries.covers(segment, query);
  const bool unknown = !covered || has_nan(point, p.dim);
  const T filler = static_cast<T>(unknown ? NAN : INFINITY);
  for (int32_t slot = 0; slot < p.k; ++slot) {
    distance[slot] = filler;
    index[slot] = -1;
  }
  if (unknown) return;
  int32_t found = 0;
  Bits<T> limit = bits_of(p.max_distance) + 1;  // candidates below it enter
  const int64_t end = targets.end(segment);
  for (int64_t first = targets.begin(segment); first < end; first += kGroup) {
    T sum[kGroup];
    for (int32_t axis = 0; axis < p.dim; ++axis) {
      const T coordinate = point[axis];
#pragma unroll
      for (int i = 0; i < kGroup; ++i) {
        const int64_t row = min(first + i, end - 1);
        const T difference = subtract(coordinate, p.target[row * p.dim + axis]);
        sum[i] = axis == 0 ? first_term<kNorm>(difference) : next_term<kNorm>(sum[i], difference);
      }
    }
#pragma unroll
    for (int i = 0; i < kGroup; ++i) {
      if (first + i >= end || bits_of(sum[i]) >= limit) continue;
      int32_t slot = found < p.k ? found++ : p.k - 1;
      for (; slot > 0 && sum[i] < distance[slot - 1]; --slot) {
        distance[slot] = distance[slot - 1];
        index[slot] = index[slot - 1];
      }
      distance[slot] = sum[i];
      index[slot] = static_cast<int32_t>(first + i);
      if (found == p.k) limit = bits_of(distance[p.k - 1]);
    }
  }
}

// One neighbour in three dimensions by squared distance: every thread holds kPerThread queries, the
// block passes over tiles of targets in shared memory. Minima are taken over chunks of targets;
// only which chunk held the best is remembered, and that chunk is searched again at the end.
constexpr int kPerThread = 8;
constexpr int kQueriesPerBlock = kThreads * kPerThread;
constexpr int kTile = 2 * kThreads;
constexpr int kChunk = 32;

constexpr uint64_t kNone = ~uint64_t{0};                   // no neighbour
constexpr uint64_t kUnknown = uint64_t{0xFFFFFFFE} << 32;  // a query with NaN, or in no segment

__device__ float squared_distance(float x, float y, float z, float a, float b, float c) {
  return squared_length(subtract(x, a), subtract(y, b), subtract(z, c));
}

struct Best {
  uint32_t bits;
  int32_t chunk;
};

// A neighbour as one number that orders by (distance, index).
__device__ uint64_t key_of(const NearestProblem<float>& p, int64_t query, Best best, int64_t end) {
  const float *a = p.query + query * 3, *b = p.target;
  for (int64_t row = best.chunk; row < min(int64_t{best.chunk} + kChunk, end); ++row) {
    const float distance =
        squared_distance(a[0], a[1], a[2], b[row * 3], b[row * 3 + 1], b[row * 3 + 2]);
    if (bits_of(distance) == best.bits)
      return uint64_t{best.bits} << 32 | static_cast<uint32_t>(row);
  }
  return kNone;
}

__device__ void write(const NearestProblem<float>& p, int64_t query, uint64_t key) {
  const bool missing = key == kNone, unknown = key == kUnknown;
  p.distance[query] = unknown   ? NAN
                      : missing ? INFINITY
                                : __uint_as_float(static_cast<uint32_t>(key >> 32));
  p.index[query] = unknown || missing ? -1 : static_cast<int32_t>(key & 0xFFFFFFFF);
}

// Block (x, y) takes every gridDim.y-th tile, from the y-th on, for its queries; with more than one
// of them to a query they meet in `keys`, which start as kNone.
__global__ void __launch_bounds__(kThreads)
    nearest_one(NearestProblem<float> p, Segments queries, Segments targets, uint64_t* keys) {
  __shared__ float4 tile[kTile];
  const bool split = gridDim.y > 1;
  const int64_t first_query = int64_t{blockIdx.x} * kQueriesPerBlock;
  const int64_t last_query = min(first_query + kQueriesPerBlock, p.num_queries) - 1;
  const int32_t last_segment = queries.of(last_query);
  uint32_t known = 0;  // one bit for each of the thread's queries
  uint32_t tile_number = 0;
  for (int32_t segment = queries.of(first_query); segment <= last_segment; ++segment) {
    const int64_t first_row = queries.begin(segment), end_row = queries.end(segment);
    const int64_t first_target = targets.begin(segment), end_target = targets.end(segment);
    float x[kPerThread], y[kPerThread], z[kPerThread];
    Best best[kPerThread];
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int64_t query = first_query + i * kThreads + threadIdx.x;
      const bool here = query <= last_query && first_row <= query && query < end_row;
      x[i] = here ? p.query[query * 3] : NAN;  // a NaN takes part and never wins
      y[i] = here ? p.query[query * 3 + 1] : NAN;
      z[i] = here ? p.query[query * 3 + 2] : NAN;
      best[i] = {bits_of(p.max_distance) + 1, -1};
      known |= uint32_t{!(isnan(x[i]) || isnan(y[i]) || isnan(z[i]))} << i;
    }
    for (int64_t first = first_target; first < end_target; first += kTile, ++tile_number) {
      if (tile_number % gridDim.y != blockIdx.y) continue;
      __syncthreads();
      for (int i = threadIdx.x; i < kTile; i += kThreads) {
        const int64_t row = first + i;
        const bool inside = row < end_target;
        tile[i] = {inside ? p.target[row * 3] : NAN, inside ? p.target[row * 3 + 1] : NAN,
                   inside ? p.target[row * 3 + 2] : NAN, 0.0F};
      }
      __syncthreads();
#pragma unroll 1
      for (int chunk = 0; chunk < kTile; chunk += kChunk) {
        uint32_t smallest[kPerThread];
#pragma unroll
        for (int i = 0; i < kPerThread; ++i) smallest[i] = best[i].bits;
#pragma unroll
        for (int j = chunk; j < chunk + kChunk; j += 2) {
          const float4 a = tile[j], b = tile[j + 1];
#pragma unroll
          for (int i = 0; i < kPerThread; ++i)
            smallest[i] = __vimin3_u32(smallest[i],
                                       bits_of(squared_distance(x[i], y[i], z[i], a.x, a.y, a.z)),
                                       bits_of(squared_distance(x[i], y[i], z[i], b.x, b.y, b.z)));
        }
#pragma unroll
        for (int i = 0; i < kPerThread; ++i)
          if (smallest[i] < best[i].bits)
            best[i] = {smallest[i], static_cast<int32_t>(first) + chunk};
      }
    }
#pragma unroll
    for (int i = 0; i < kPerThread; ++i) {
      const int64_t query = first_query + i * kThreads + threadIdx.x;
      if (query > last_query || query < first_row || query >= end_row) continue;
      if (!(known >> i & 1)) continue;
      const uint64_t key = best[i].chunk < 0 ? kNone : key_of(p, query, best[i], end_target);
      if (!split)
        write(p, query, key);
      else if (key != kNone)
        atomicMin(reinterpret_cast<unsigned long long*>(keys + query), key);
    }
  }
  if (blockIdx.y != 0) return;
  for (int i = 0; i < kPerThread; ++i) {
    const int64_t query = first_query + i * kThreads + threadIdx.x;
    if (query > last_query || known >> i & 1) continue;
    if (split)
      keys[query] = kUnknown;
    else
      write(p, query, kUnknown);
  }
}

__global__ void write_keys(NearestProblem<float> p, const uint64_t* keys) {
  const int64_t query = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (query < p.num_queries) write(p, query, keys[query]);
}

// How many blocks share the targets of a query, so that few queries still fill the device.
unsigned splits_of(const NearestProblem<float>& p, int device) {
  int processors = 0;
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
             "cudaDeviceGetAttribute");
  const int64_t blocks = (p.num_queries + kQueriesPerBlock - 1) / kQueriesPerBlock;
  const int64_t wanted = (8 * int64_t{processors} + blocks - 1) / blocks;
  const int64_t tiles = p.num_targets / std::max(p.num_segments, 1) / kTile;
  return static_cast<unsigned>(std::clamp<int64_t>(wanted, 1, std::clamp<int64_t>(tiles, 1, 256)));
}

void launch_one(const NearestProblem<float>& p, const Segments& queries, const Segments& targets,
                uint64_t* keys, int device, cudaStream_t stream) {
  const auto blocks = blocks_for(p.num_queries, kQueriesPerBlock);
  const unsigned splits = splits_of(p, device);
  if (splits > 1)
    check_cuda(cudaMemsetAsync(keys, 0xFF, p.num_queries * sizeof *keys, stream), "nearest");
  nearest_one<<<{blocks, splits}, kThreads, 0, stream>>>(p, queries, targets, keys);
  check_cuda(cudaGetLastError(), "nearest");
  if (splits == 1) return;
  const auto writers = blocks_for(p.num_queries, kThreads);
  write_keys<<<writers, kThreads, 0, stream>>>(p, keys);
}

}  // namespace

template <class T>
void nearest_cuda(const NearestProblem<T>& problem, uint64_t* workspace, int device, void* stream) {
  if (problem.num_queries == 0) return;
  const DeviceGuard guard(device);
  NearestProblem<T> p = problem;
  p.max_distance += T(0);  // -0 has the bits of a huge number
  const Segments queries{p.query_offsets, p.num_segments, p.num_queries};
  const Segments targets{p.target_offsets, p.num_segments, p.num_targets};
  auto* const launch_stream = static_cast<cudaStream_t>(stream);
  const auto blocks = blocks_for(p.num_queries, kThreads);
  if constexpr (std::is_same_v<T, float>) {
    if (p.k == 1 && p.dim == 3 && p.norm == 2 && workspace != nullptr) {
      launch_one(p, queries, targets, workspace, device, launch_stream);
      check_cuda(cudaGetLastError(), "nearest");
      return;
    }
  }
  if (p.norm == 1)
    nearest_general<T, 1><<<blocks, kThreads, 0, launch_stream>>>(p, queries, targets);
  else
    nearest_general<T, 2><<<blocks, kThreads, 0, launch_stream>>>(p, queries, targets);
  check_cuda(cudaGetLastError(), "nearest");
}

template void nearest_cuda(const NearestProblem<float>&, uint64_t*, int, void*);
template void nearest_cuda(const NearestProblem<double>&, uint64_t*, int, void*);

}  // namespace g2vlm
