#include "common.cuh"
#include "g2vlm/graph_build.h"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int32_t kLongestOfWarp = 2048;  // rows above it are sorted by a whole block

unsigned blocks_for(int64_t items) {
  return static_cast<unsigned>((items + kThreads - 1) / kThreads);
}

__device__ int64_t global_thread() {
  return int64_t{blockIdx.x} * kThreads + threadIdx.x;
}

// Calls `visit(row, entry)` for the directed edges of one item; returns false if it is not valid.
template <class Index, class Visit>
__device__ bool visit_item(const FaceEdges<Index>& e, int64_t face, Visit visit) {
  Index corner[3];
  for (int i = 0; i < 3; ++i) {
    corner[i] = e.faces[3 * face + i];
    if (corner[i] < 0 || corner[i] >= e.num_vertices) return false;
  }
  for (int i = 0; i < 3; ++i) {
    const auto a = static_cast<int32_t>(corner[i]);
    const auto b = static_cast<int32_t>(corner[(i + 1) % 3]);
    if (a == b) continue;
    visit(a, b);
    visit(b, a);
  }
  return true;
}

template <class Index, class Visit>
__device__ bool visit_item(const EdgeList<Index>& e, int64_t edge, Visit visit) {
  const Index row = e.destination[edge];
  if (row < 0 || row >= e.num_rows) return false;
  if (e.source == nullptr) {
    visit(static_cast<int32_t>(row), static_cast<int32_t>(edge));
    return true;
  }
  const Index source = e.source[edge];
  if (source < 0 || source >= e.num_sources) return false;
  visit(static_cast<int32_t>(row), static_cast<int32_t>(source));
  return true;
}

template <class Index>
int64_t items_of(const FaceEdges<Index>& e) {
  return e.num_faces;
}
template <class Index>
int64_t items_of(const EdgeList<Index>& e) {
  return e.num_edges;
}

template <class Edges>
__global__ void count_edges(const Edges edges, int64_t items, int32_t* counts, int32_t* invalid) {
  const int64_t item = global_thread();
  if (item >= items) return;
  if (!visit_item(edges, item, [&](int32_t row, int32_t) { atomicAdd(counts + row, 1); }))
    *invalid = 1;
}

template <class Edges>
__global__ void fill_edges(const Edges edges, int64_t items, int32_t* cursor, int32_t* entries) {
  const int64_t item = global_thread();
  if (item >= items) return;
  visit_item(edges, item,
             [&](int32_t row, int32_t entry) { entries[atomicAdd(cursor + row, 1)] = entry; });
}

__device__ void order(int32_t& low, int32_t& high) {
  const int32_t smaller = min(low, high);
  high = max(low, high);
  low = smaller;
}

// Sorts up to kSize entries of one thread in registers, by a bitonic network whose comparisons all
// point up (the first of each merge mirrors its half), and returns how many are kept.
template <int kSize>
__device__ int32_t sort_in_registers(int32_t* entries, int32_t count, bool unique) {
  int32_t value[kSize];
#pragma unroll
  for (int i = 0; i < kSize; ++i) value[i] = i < count ? entries[i] : INT32_MAX;
#pragma unroll
  for (int size = 2; size <= kSize; size *= 2) {
#pragma unroll
    for (int i = 0; i < kSize; ++i)
      if ((i ^ (size - 1)) > i) order(value[i], value[i ^ (size - 1)]);
#pragma unroll
    for (int step = size / 4; step > 0; step /= 2)
#pragma unroll
      for (int i = 0; i < kSize; ++i)
        if ((i ^ step) > i) order(value[i], value[i ^ step]);
  }
  int32_t kept = 0;
#pragma unroll
  for (int i = 0; i < kSize; ++i) {
    if (i >= count || (unique && i > 0 && value[i] == value[i > 0 ? i - 1 : 0])) continue;
    entries[kept++] = value[i];
  }
  return kept;
}

// The same network over memory, by `threads` threads that meet in `sync`. What lies beyond the last
// entry counts as infinite, and infinities never move down.
template <class Sync>
__device__ void sort_together(int32_t* entries, int32_t count, int thread, int threads, Sync sync) {
  const auto compare = [&](int64_t flip, int32_t i) {
    const int64_t partner = i ^ flip;
    if (partner <= i || partner >= count) return;
    const int32_t low = entries[i], high = entries[partner];
    if (low > high) entries[i] = high, entries[partner] = low;
  };
  for (int64_t size = 2; size < 2 * int64_t{count}; size *= 2) {
    for (int32_t i = thread; i < count; i += threads) compare(size - 1, i);
    sync();
    for (int64_t step = size / 4; step > 0; step /= 2) {
      for (int32_t i = thread; i < count; i += threads) compare(step, i);
      sync();
    }
  }
}

// Moves the first of equal sorted entries to the front; one warp.
__device__ int32_t keep_unique(int32_t* entries, int32_t count, int lane) {
  int32_t kept = 0;
  for (int32_t base = 0; base < count; base += 32) {
    const int32_t i = base + lane;
    const int32_t value = i < count ? entries[i] : 0;
    // Where the entry before was overwritten, it was by itself.
    const bool keep = i < count && (i == 0 || entries[i - 1] != value);
    const unsigned keeps = __ballot_sync(~0u, keep);
    if (keep) entries[kept + __popc(keeps & ((1u << lane) - 1))] = value;
    kept += __popc(keeps);
    __syncwarp();
  }
  return kept;
}

__global__ void __launch_bounds__(kThreads)
    sort_rows(const int32_t* offsets, int32_t num_rows, int32_t* entries, int32_t* kept) {
  __shared__ int32_t long_rows[kThreads];
  __shared__ int32_t num_long;
  if (threadIdx.x == 0) num_long = 0;
  __syncthreads();
  const int64_t row = global_thread();
  if (row < num_rows) {
    const int32_t begin = offsets[row];
    const int32_t count = offsets[row + 1] - begin;
    if (count <= 32) {
      int32_t* mine = entries + begin;
      const bool unique = kept != nullptr;
      const int32_t found = count <= 8    ? sort_in_registers<8>(mine, count, unique)
                            : count <= 16 ? sort_in_registers<16>(mine, count, unique)
                                          : sort_in_registers<32>(mine, count, unique);
      if (unique) kept[row] = found;
    } else {
      long_rows[atomicAdd(&num_long, 1)] = static_cast<int32_t>(row);
    }
  }
  __syncthreads();
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  for (int i = 0; i < num_long; ++i) {
    const int32_t begin = offsets[long_rows[i]];
    const int32_t count = offsets[long_rows[i] + 1] - begin;
    if (count > kLongestOfWarp)
      sort_together(entries + begin, count, threadIdx.x, kThreads, [] { __syncthreads(); });
  }
  for (int i = warp; i < num_long; i += kWarps) {
    const int32_t begin = offsets[long_rows[i]];
    const int32_t count = offsets[long_rows[i] + 1] - begin;
    if (count <= kLongestOfWarp)
      sort_together(entries + begin, count, lane, 32, [] { __syncwarp(); });
    if (kept == nullptr) continue;
    const int32_t found = keep_unique(entries + begin, count, lane);
    if (lane == 0) kept[long_rows[i]] = found;
  }
}

constexpr int kLanesPerRow = 8;

__global__ void compact_rows(const int32_t* offsets, const int32_t* entries,
                             const int32_t* row_offsets, int32_t num_rows, int32_t* columns) {
  const int64_t row = global_thread() / kLanesPerRow;
  if (row >= num_rows) return;
  const int32_t from = offsets[row], to = row_offsets[row];
  const int32_t count = row_offsets[row + 1] - to;
  for (int32_t i = threadIdx.x % kLanesPerRow; i < count; i += kLanesPerRow)
    columns[to + i] = entries[from + i];
}

}  // namespace

template <class Edges>
void count_edges_cuda(const Edges& edges, int32_t* counts, int32_t* invalid, int device,
                      void* stream) {
  const DeviceGuard guard(device);
  const int64_t items = items_of(edges);
  if (items == 0) return;
  count_edges<<<blocks_for(items), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      edges, items, counts, invalid);
  check_cuda(cudaGetLastError(), "graph_build: count_edges");
}

template <class Edges>
void fill_edges_cuda(const Edges& edges, int32_t* cursor, int32_t* entries, int device,
                     void* stream) {
  const DeviceGuard guard(device);
  const int64_t items = items_of(edges);
  if (items == 0) return;
  fill_edges<<<blocks_for(items), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      edges, items, cursor, entries);
  check_cuda(cudaGetLastError(), "graph_build: fill_edges");
}

void sort_rows_cuda(const int32_t* offsets, int32_t num_rows, int32_t* entries, int32_t* kept,
                    int device, void* stream) {
  const DeviceGuard guard(device);
  if (num_rows == 0) return;
  sort_rows<<<blocks_for(num_rows), kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      offsets, num_rows, entries, kept);
  check_cuda(cudaGetLastError(), "graph_build: sort_rows");
}

void compact_rows_cuda(const int32_t* offsets, const int32_t* entries, const int32_t* row_offsets,
                       int32_t num_rows, int32_t* columns, int device, void* stream) {
  const DeviceGuard guard(device);
  if (num_rows == 0) return;
  compact_rows<<<blocks_for(int64_t{num_rows} * kLanesPerRow), kThreads, 0,
                 static_cast<cudaStream_t>(stream)>>>(offsets, entries, row_offsets, num_rows,
                                                      columns);
  check_cuda(cudaGetLastError(), "graph_build: compact_rows");
}

#define G2VLM_INSTANTIATE(Edges)                                                \
  template void count_edges_cuda(const Edges&, int32_t*, int32_t*, int, void*); \
  template void fill_edges_cuda(const Edges&, int32_t*, int32_t*, int, void*);
G2VLM_INSTANTIATE(FaceEdges<int32_t>)
G2VLM_INSTANTIATE(FaceEdges<int64_t>)
G2VLM_INSTANTIATE(EdgeList<int32_t>)
G2VLM_INSTANTIATE(EdgeList<int64_t>)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
