#include <algorithm>

#include "common.cuh"
#include "hilbert.cuh"
#include "nearest_tree_build.cuh"
#include "nearest_tree_split.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kKeyThreads = 512;
constexpr int kRunThreads = 128;
constexpr int kRunBlocks = 7;              // of a processor: fewer registers would spill
constexpr unsigned kCountingBlocks = 528;  // few, as each adds up the digits of its keys
constexpr int kSamples = 256;              // of the points of a segment
constexpr int kTail = 32;                  // one in so many samples at either end may lie far out
constexpr int kKeyBits = kMostPasses * kDigitBits;
constexpr int kSpareBits = 17;  // so many times 2 more cells than points keep clusters apart

// Makes offsets that never fall and stay in range out of any offsets; a block a cloud.
struct Offsets {
  const int32_t* given[2];
  int32_t* clean[2];
  int64_t length[2];
  int32_t count;
};
__global__ void __launch_bounds__(1024) clean_offsets(const __grid_constant__ Offsets o) {
  __shared__ int32_t largest[1024];
  const int cloud = blockIdx.x, thread = threadIdx.x;
  if (o.given[cloud] == nullptr) return;  // one segment
  const int32_t each = (o.count + 1023) / 1024;
  const int32_t begin = min(thread * each, o.count), end = min(begin + each, o.count);
  const auto valid = [&](int32_t i) {
    return static_cast<int32_t>(min(max(int64_t{o.given[cloud][i]}, int64_t{0}), o.length[cloud]));
  };
  int32_t most = 0;
  for (int32_t i = begin; i < end; ++i) most = max(most, valid(i));
  largest[thread] = most;
  for (int stride = 1; stride < 1024; stride *= 2) {
    __syncthreads();
    const int32_t other = thread >= stride ? largest[thread - stride] : 0;
    __syncthreads();
    largest[thread] = max(largest[thread], other);
  }
  __syncthreads();
  most = thread == 0 ? 0 : largest[thread - 1];
  for (int32_t i = begin; i < end; ++i) o.clean[cloud][i] = most = max(most, valid(i));
}

// The position of a sample among the points of both clouds: spread evenly, in no step that rows of
// an image could share.
__device__ int64_t sample_of(uint32_t number, int64_t points) {
  if (points <= kSamples) return number;
  const uint64_t golden = number * uint64_t{0x9E3779B97F4A7C15};
  return static_cast<int64_t>((golden >> 32) * static_cast<uint64_t>(points) >> 32);
}

// Sorts by the threads of a block (Batcher, "Sorting Networks and Their Applications", 1968): the
// first `width` of `values`, a power of two, for each thread in `number`.
__device__ void sort_together(float* values, int number, int width) {
  for (int size = 2; size <= width; size *= 2) {
    for (int stride = size / 2; stride > 0; stride /= 2) {
      __syncthreads();
      const int other = number ^ stride;
      if (other < number || other >= width) continue;
      const float a = values[number], b = values[other];
      if ((a > b) == ((number & size) == 0)) values[number] = b, values[other] = a;
    }
  }
  __syncthreads();
}

// A block a segment, a part of it an axis: most of the segment's points lie among the cubes of the
// grid, by a sample. So a few points far away leave the order of the rest alone.
__global__ void __launch_bounds__(3 * kSamples)
    lay_grids(const __grid_constant__ Pair pair, Grid* grids,
              const __grid_constant__ KeyDigits digits, uint32_t* counter) {
  __shared__ float values[3][kSamples];
  __shared__ float extents[3];
  __shared__ int counts[3];
  const Segments &first = pair.tree[0].segments, &second = pair.tree[1].segments;
  const int32_t segment = blockIdx.x;
  if (segment == 0) {
    digits.clear_counts();
    if (threadIdx.x == 0) *counter = 0;
  }
  const int64_t begin[2] = {first.begin(segment), second.begin(segment)};
  const int64_t count = first.end(segment) - begin[0];
  const int64_t points = count + second.end(segment) - begin[1];
  const int axis = threadIdx.x / kSamples, number = threadIdx.x % kSamples;
  const int samples = static_cast<int>(min(points, int64_t{kSamples}));
  int width = 1;
  while (width < samples) width *= 2;
  if (threadIdx.x < 3) counts[threadIdx.x] = 0;
  __syncthreads();
  float value = INFINITY;
  if (number < samples) {
    const int64_t position = sample_of(number, points);
    const bool of_second = position >= count;
    const int64_t row = of_second ? begin[1] + position - count : begin[0] + position;
    value = 0.5F * pair.tree[of_second].coordinate(row, axis);  // keeps huge extents finite
  }
  const bool finite = isfinite(value);
  values[axis][number] = finite ? value : INFINITY;
  if (finite) atomicAdd(counts + axis, 1);
  sort_together(values[axis], number, width);
  if (number == 0) {
    // The grid ends where the samples end, but not far beyond most of them.
    const float* sorted = values[axis];
    const int last = counts[axis] - 1, tail = counts[axis] / kTail;
    float low = 0.0F, extent = 0.0F;
    if (last >= 0) {
      float most_low = sorted[tail], most_high = sorted[last - tail];
      if (most_low == most_high) most_low = sorted[0], most_high = sorted[last];
      const float spread = most_high - most_low;
      low = fmaxf(sorted[0], most_low - spread / 4) - spread / 64;
      extent = fminf(sorted[last], most_high + spread / 4) + spread / 64 - low;
    }
    grids[segment].low[axis] = low;
    extents[axis] = extent;
  }
  __syncthreads();
  if (threadIdx.x != 0) return;
  const float extent = fmaxf(fmaxf(extents[0], extents[1]), extents[2]);
  grids[segment].scale = extent > 0.0F ? 1.0F / extent : 0.0F;
}

// The number of a cell along an axis, for places from 0 to 1; what is no number goes to 0.
__device__ uint32_t cell_of(float place, int bits) {
  const auto last = static_cast<float>((1U << bits) - 1);
  return static_cast<uint32_t>(fminf(fmaxf(place * last, 0.0F), last));
}

// Where a place outside the grid lies on the axis of the outer curve, from 0 to 1: the middle half
// is the grid, and beyond it distances shrink like logarithms.
__device__ float outer_place(float place) {
  const float from_middle = 2.0F * place - 1.0F;
  const float inside = fminf(fmaxf(from_middle, -1.0F), 1.0F);
  const float beyond = __log2f(fmaxf(fabsf(from_middle), 1.0F));
  const float outward = 0.25F - __fdividef(1.0F, beyond + 4.0F);  // from 0 to 1/4
  return 0.5F + 0.25F * inside + copysignf(outward, from_middle);
}

// The first bits of the position of a point on the curve through the grid, or behind it on the one
// outside.
__device__ uint64_t position_of(const Grid& grid, float x, float y, float z, int position_bits) {
  const int bits = (position_bits + 2) / 3;
  float place[3] = {grid.place(0, x), grid.place(1, y), grid.place(2, z)};
  bool outside = false;
#pragma unroll
  for (const float each : place) outside |= !(each >= 0.0F && each <= 1.0F);
  if (outside) {
#pragma unroll
    for (float& each : place) each = outer_place(each);
  }
  const uint64_t position = hilbert_position(cell_of(place[0], bits), cell_of(place[1], bits),
                                             cell_of(place[2], bits), bits);
  return uint64_t{outside} << position_bits | position >> (3 * bits - position_bits);
}

// The keys of rows, and what digits they have: (segment, cloud, position on the curve), and below
// it the row where `rows` is null. Rows that no segment covers come last.
__global__ void __launch_bounds__(kKeyThreads)
    make_keys(const __grid_constant__ Pair pair, const Grid* grids, int position_bits, int row_bits,
              const __grid_constant__ KeyDigits digits, uint64_t* keys, uint32_t* rows,
              const __grid_constant__ Neighbours unknown) {
  __shared__ BlockDigits counted;
  counted.clear(digits);
  const int64_t step = int64_t{gridDim.x} * kKeyThreads;
  for (int64_t item = int64_t{blockIdx.x} * kKeyThreads + threadIdx.x; item < pair.rows();
       item += step) {
    const int cloud = item >= pair.tree[0].length();
    const Tree& tree = pair.tree[cloud];
    const int64_t row = item - cloud * pair.tree[0].length();
    const int32_t segment = tree.segments.of(row);
    uint64_t key = uint64_t{2} * tree.segments.count << (position_bits + 1);
    if (tree.segments.covers(segment, row)) {
      const float4 point = tree.point(row);
      const uint64_t place = 2 * static_cast<uint64_t>(segment) + cloud;
      key = place << (position_bits + 1) |
            position_of(grids[segment], point.x, point.y, point.z, position_bits);
    } else if (unknown.distance[cloud] != nullptr) {
      for (int64_t slot = row * unknown.places; slot < (row + 1) * unknown.places; ++slot) {
        unknown.distance[cloud][slot] = NAN;
        unknown.index[cloud][slot] = -1;
      }
    }
    key <<= row_bits;
    if (rows == nullptr)
      key |= static_cast<uint64_t>(row);
    else
      rows[item] = static_cast<uint32_t>(row);
    keys[item] = key;
    counted.count(digits, key);
  }
  counted.add_to(digits);
  digits.clear_progress();
}

// Writes a point of a leaf for each lane of a warp, and their box.
__device__ void write_leaf(const Tree& tree, int64_t leaf, float4 point) {
  const int lane = threadIdx.x % kFanout;
  tree.sorted[leaf * kFanout + lane] = point;
  const float4 counts = is_known(point) ? point : float4{NAN, NAN, NAN, 0.0F};
  write_box(tree.boxes + leaf, counts, counts, __float_as_int(point.w), lane == 0);
}

// A warp a run: fetches its points and splits them into leaves.
__global__ void __launch_bounds__(kRunThreads, kRunBlocks)
    make_leaves(const __grid_constant__ Pair pair, SortedRows rows) {
  __shared__ Run runs[kRunThreads / 32];
  const int cloud = blockIdx.y, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const Tree& tree = pair.tree[cloud];
  const int64_t number = int64_t{blockIdx.x} * (kRunThreads / 32) + warp;
  if (number >= tree.runs(kRunBits)) return;
  const int32_t segment = tree.segment_of_run(kRunBits, number);
  const int64_t first = (number - tree.first_run(kRunBits, segment)) * kRun;
  const int64_t count = tree.points_of(segment) - first;
  if (count <= 0) return;
  Run& run = runs[warp];
  const int64_t begin = pair.sorted_begin(cloud, segment) + first;
  int32_t own[kRunItems];  // loaded together, as are the points
#pragma unroll
  for (int i = 0; i < kRunItems; ++i)
    own[i] = static_cast<int32_t>(rows[begin + min(int64_t{i * 32 + lane}, count - 1)]);
#pragma unroll
  for (int i = 0; i < kRunItems; ++i) {
    float4 point = tree.point(own[i]);
    if (i * 32 + lane >= count) point = {NAN, NAN, NAN, __int_as_float(kNoRow)};
    run.points[i * 32 + lane] = point;
  }
  __syncwarp();
  split(run);
  __syncwarp();
  const int64_t leaf = tree.start(0, segment) + first / kFanout;
  for (int i = 0; i < kRunLeaves && i * kFanout < count; ++i)
    write_leaf(tree, leaf + i, run.points[run.order[i * kFanout + lane]]);
}

// A warp a leaf: fetches its points where they are now.
__global__ void __launch_bounds__(kThreads) refill(const __grid_constant__ Pair pair) {
  const Tree& tree = pair.tree[blockIdx.y];
  const int64_t leaf = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (leaf >= tree.leaves()) return;
  const int32_t segment = tree.segment_of(0, leaf);
  if ((leaf - tree.start(0, segment)) * kFanout >= tree.points_of(segment)) return;
  float4 point = tree.sorted[leaf * kFanout + threadIdx.x % kFanout];
  if (__float_as_int(point.w) != kNoRow) point = tree.point(__float_as_int(point.w));
  write_leaf(tree, leaf, point);
}

// A warp a node of a level above the leaves.
__global__ void __launch_bounds__(kThreads)
    make_nodes(const __grid_constant__ Pair pair, int level) {
  const Tree& tree = pair.tree[blockIdx.y];
  const int64_t node = int64_t{blockIdx.x} * kWarps + threadIdx.x / 32;
  if (level >= tree.levels || node >= tree.nodes(level)) return;
  const int lane = threadIdx.x % 32;
  const int32_t segment = tree.segment_of(level, node);
  const int64_t count = tree.points_of(segment);
  const int64_t place = (node - tree.start(level, segment)) * kFanout + lane;
  const int64_t below = Tree::boxes_of(level - 1, count);
  if (place - lane >= below) return;
  Box box{{NAN, NAN, NAN, __int_as_float(kNoRow)}, {NAN, NAN, NAN, 0.0F}};
  if (place < below)
    box = tree.boxes[tree.first[level - 1] + tree.start(level - 1, segment) + place];
  write_box(tree.boxes + tree.first[level] + node, box.low, box.high, __float_as_int(box.low.w),
            lane == 0);
}

int bits_of(int64_t number) {
  int bits = 0;
  while (number >> bits > 0) ++bits;
  return bits;
}

// The largest number of a segment of a cloud, or behind them of rows that no segment covers.
int64_t last_place(const Clouds& clouds) {
  if (clouds.offsets[0] == nullptr && clouds.offsets[1] == nullptr) return clouds.length[1] > 0;
  return 2 * int64_t{clouds.segments};
}

}  // namespace

int32_t* take_offsets(const Clouds& clouds, int cloud, Workspace& memory) {
  const bool given = clouds.offsets[cloud] != nullptr;
  return given ? memory.take<int32_t>(clouds.segments + 1) : nullptr;
}

Tree lay_out_tree(const Clouds& clouds, int cloud, const int32_t* offsets, Workspace& memory) {
  const int64_t length = clouds.length[cloud];
  Tree tree{};
  tree.points = clouds.points[cloud];
  tree.dim = clouds.dim;
  tree.segments = {offsets, clouds.segments, length};
  tree.sorted = memory.take<float4>(tree.leaves() * kFanout);
  tree.levels = 1;
  tree.first[0] = 0;
  tree.first[1] = tree.nodes(0);
  while ((length - 1) >> kFanoutBits * tree.levels >= kFanout) {
    tree.first[tree.levels + 1] = tree.first[tree.levels] + tree.nodes(tree.levels);
    ++tree.levels;
  }
  tree.boxes = memory.take<Box>(tree.first[tree.levels]);
  return tree;
}

TreeBuilder::TreeBuilder(const Clouds& clouds, Workspace& kept, Workspace& scratch) {
  const int64_t total = clouds.length[0] + clouds.length[1];
  for (int cloud = 0; cloud < 2; ++cloud) {
    given_offsets_[cloud] = clouds.offsets[cloud];
    Workspace& memory = cloud == 0 ? kept : scratch;
    clean_offsets_[cloud] = take_offsets(clouds, cloud, memory);
    pair_.tree[cloud] = lay_out_tree(clouds, cloud, clean_offsets_[cloud], memory);
  }
  grids_ = scratch.take<Grid>(clouds.segments);
  const int place_bits = bits_of(last_place(clouds));
  const int row_bits = bits_of(std::max(clouds.length[0], clouds.length[1]) - 1);
  // A sort of keys that hold their rows is a third faster, if that leaves cells enough; as few
  // digits as do are sorted.
  const int needed = place_bits + 1 + bits_of(total / clouds.segments) + kSpareBits;
  const int most = std::min(64 - row_bits, kKeyBits);
  const bool holds_rows = most >= needed;
  const int digits = (needed + kDigitBits - 1) / kDigitBits;
  const int key_bits = holds_rows ? std::min(most, digits * kDigitBits) : kKeyBits;
  position_bits_ = key_bits - 1 - place_bits;
  row_bits_ = holds_rows ? row_bits : 0;
  sort_ = KeySort(total, row_bits_, key_bits, !holds_rows, scratch);
  counter_ = scratch.take<uint32_t>(1);
}

void TreeBuilder::build(const Neighbours& unknown, cudaStream_t stream) {
  sort(unknown, stream);
  fill_leaves(stream);
  fill_nodes(pair_, stream);
}

void TreeBuilder::sort(const Neighbours& unknown, cudaStream_t stream) {
  const Tree &a = pair_.tree[0], &b = pair_.tree[1];
  const int64_t total = a.length() + b.length();
  if (clean_offsets_[0] != nullptr || clean_offsets_[1] != nullptr) {
    const Offsets offsets{{given_offsets_[0], given_offsets_[1]},
                          {clean_offsets_[0], clean_offsets_[1]},
                          {a.length(), b.length()},
                          a.segments.count + 1};
    clean_offsets<<<2, 1024, 0, stream>>>(offsets);
  }
  const KeyDigits& digits = sort_.digits();
  lay_grids<<<static_cast<unsigned>(a.segments.count), 3 * kSamples, 0, stream>>>(pair_, grids_,
                                                                                  digits, counter_);
  const unsigned blocks = blocks_for(total, kKeyThreads);
  make_keys<<<digits.passes == 0 ? blocks : std::min(blocks, kCountingBlocks), kKeyThreads, 0,
              stream>>>(pair_, grids_, position_bits_, row_bits_, digits, sort_.keys(),
                        sort_.rows(), unknown);
  sort_.run(stream);
}

void TreeBuilder::fill_leaves(cudaStream_t stream) {
  const int64_t runs = std::max(pair_.tree[0].runs(kRunBits), pair_.tree[1].runs(kRunBits));
  make_leaves<<<{blocks_for(runs, kRunThreads / 32), 2}, kRunThreads, 0, stream>>>(
      pair_, {sort_.rows(), sort_.keys(), row_bits_});
  check_cuda(cudaGetLastError(), "nearest");
}

void TreeBuilder::refill_leaves(const Pair& pair, cudaStream_t stream) {
  const int64_t leaves = std::max(pair.tree[0].leaves(), pair.tree[1].leaves());
  refill<<<{blocks_for(leaves, kWarps), 2}, kThreads, 0, stream>>>(pair);
  check_cuda(cudaGetLastError(), "nearest");
}

void TreeBuilder::fill_nodes(const Pair& pair, cudaStream_t stream) {
  const Tree &a = pair.tree[0], &b = pair.tree[1];
  for (int level = 1; level < std::max(a.levels, b.levels); ++level)
    make_nodes<<<{blocks_for(std::max(a.nodes(level), b.nodes(level)), kWarps), 2}, kThreads, 0,
                 stream>>>(pair, level);
  check_cuda(cudaGetLastError(), "nearest");
}

}  // namespace g2vlm
