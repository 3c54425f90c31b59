// The loss of a Chamfer distance from its distances: partial sums of chunks, then one block.
#include <algorithm>

#include "common.cuh"
#include "g2vlm/chamfer.h"
#include "nearest_segments.cuh"
#include "workspace.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kFinishThreads = 1024;
constexpr int64_t kChunk = 2048;  // points that a block adds up

struct Sums {
  double paid, weight;
};
__device__ Sums operator+(Sums a, Sums b) {
  return {a.paid + b.paid, a.weight + b.weight};
}
__device__ Sums warp_sum(Sums sums) {
  for (int stride = 16; stride > 0; stride /= 2)
    sums = sums + Sums{__shfl_xor_sync(kAllLanes, sums.paid, stride),
                       __shfl_xor_sync(kAllLanes, sums.weight, stride)};
  return sums;
}

__device__ Segments segments_of(const ChamferLoss& p, int cloud) {
  return {p.offsets[cloud], p.segments, p.length[cloud]};
}

// A penalty and its derivative in the squared distance.
struct Paid {
  float value, slope;
};

// The square root as a penalty: its derivative is taken to be 0 at 0.
__device__ Paid length_of(float square) {
  if (square == 0.0F) return {0.0F, 0.0F};
  const float length = sqrtf(square);
  return {length, 0.5F / length};
}

__device__ Paid penalty_of(const ChamferLoss& p, float square) {
  const float s = p.scale;
  switch (p.penalty) {
    case Penalty::kNone:
      return p.squared ? Paid{square, 1.0F} : length_of(square);
    case Penalty::kTruncated: {
      const bool cut = square > s * s;
      const float bound = cut ? s * s : square;
      Paid paid = p.squared ? Paid{bound, 1.0F} : length_of(bound);
      if (cut) paid.slope = 0.0F;
      return paid;
    }
    case Penalty::kGemanMcClure: {
      const float below = 1.0F + square / (s * s);
      const float unit = p.squared ? 1.0F : s;
      return {square / below / unit, 1.0F / (below * below) / unit};
    }
    case Penalty::kHuber: {
      const Paid length = length_of(square);
      const float unit = p.squared ? 1.0F : 2.0F * s;
      const bool inside = length.value <= s;
      return {(inside ? square : (2.0F * length.value - s) * s) / unit,
              (inside ? 1.0F : 2.0F * s * length.slope) / unit};
    }
  }
  return {square, 1.0F};
}

__device__ bool comparable(const ChamferLoss& p, int32_t segment) {
  const Segments x = segments_of(p, 0), y = segments_of(p, 1);
  return x.begin(segment) < x.end(segment) && y.begin(segment) < y.end(segment);
}

// A block a chunk of a cloud: what it pays in each segment that it meets. Chunks and segments rise
// together, so every pair of them that meets has a slot of its own at the sum of their numbers.
__global__ void __launch_bounds__(kThreads)
    add_chunks(const __grid_constant__ ChamferLoss p, Sums* first_slots, Sums* second_slots) {
  __shared__ Sums of_warps[kWarps];
  const int cloud = blockIdx.y;
  const Segments segments = segments_of(p, cloud);
  const int64_t first = blockIdx.x * kChunk, end = min(first + kChunk, p.length[cloud]);
  if (p.distance[cloud] == nullptr || first >= end) return;
  Sums* const slots = (cloud == 0 ? first_slots : second_slots) + blockIdx.x;
  const int32_t last_segment = segments.of(end - 1);
  for (int32_t segment = segments.of(first); segment <= last_segment; ++segment) {
    const int64_t stop = min(end, segments.end(segment));
    Sums sums{0.0, 0.0};
    for (int64_t row = max(first, segments.begin(segment)) + threadIdx.x; row < stop;
         row += kThreads) {
      const float weight = p.weights[cloud] == nullptr ? 1.0F : p.weights[cloud][row];
      const double paid = penalty_of(p, p.distance[cloud][row]).value;
      sums = sums + Sums{weight * paid, weight};
    }
    sums = warp_sum(sums);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = sums;
    __syncthreads();
    if (threadIdx.x == 0) {
      for (int warp = 1; warp < kWarps; ++warp) sums = sums + of_warps[warp];
      slots[segment] = sums;
    }
    __syncthreads();
  }
}

// The sums of a segment, by a warp.
__device__ Sums sums_of(const ChamferLoss& p, int cloud, int32_t segment, const Sums* slots) {
  const Segments segments = segments_of(p, cloud);
  const int64_t begin = segments.begin(segment), end = segments.end(segment);
  Sums sums{0.0, 0.0};
  if (begin < end)
    for (int64_t chunk = begin / kChunk + threadIdx.x % 32; chunk <= (end - 1) / kChunk;
         chunk += 32)
      sums = sums + slots[chunk + segment];
  return warp_sum(sums);
}

// One block: a warp a segment, then the sum over the segments in order.
__global__ void __launch_bounds__(kFinishThreads)
    finish(const __grid_constant__ ChamferLoss p, const Sums* first_slots,
           const Sums* second_slots) {
  __shared__ double losses[kFinishThreads / 32];
  __shared__ int32_t counts[kFinishThreads / 32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  const int warps = kFinishThreads / 32;
  double loss = 0.0;
  int32_t count = 0;
  for (int32_t segment = warp; segment < p.segments; segment += warps) {
    const bool counts_in = comparable(p, segment);
    count += counts_in;
    for (int cloud = 0; cloud < 2; ++cloud) {
      float* share = p.share + (int64_t{cloud} * p.segments + segment) * 2;
      if (p.distance[cloud] == nullptr) {
        if (lane < 2) share[lane] = 0.0F;
        continue;
      }
      const Sums sums = sums_of(p, cloud, segment, cloud == 0 ? first_slots : second_slots);
      const double mean = sums.weight == 0.0 ? 0.0 : sums.paid / sums.weight;
      if (counts_in) loss += p.mean ? mean : sums.paid;
      if (lane != 0) continue;
      const double each = sums.weight == 0.0 ? 0.0 : 1.0 / sums.weight;
      share[0] = static_cast<float>(!counts_in ? 0.0 : p.mean ? each : 1.0);
      share[1] = static_cast<float>(p.mean ? mean : 0.0);
    }
  }
  if (lane == 0) losses[warp] = loss, counts[warp] = count;
  __syncthreads();
  loss = 0.0, count = 0;
  for (int i = 0; i < warps; ++i) loss += losses[i], count += counts[i];
  const double segments = p.mean ? max(count, 1) : 1;
  if (threadIdx.x == 0) *p.loss = static_cast<float>(loss / segments);
  for (int64_t i = threadIdx.x; i < 2 * int64_t{p.segments}; i += kFinishThreads)
    p.share[i * 2] = static_cast<float>(p.share[i * 2] / segments);
}

// A thread a point.
__global__ void __launch_bounds__(kThreads) spread(const __grid_constant__ ChamferLossGradient g) {
  const ChamferLoss& p = g.problem;
  const int cloud = blockIdx.y;
  const int64_t row = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (p.distance[cloud] == nullptr || row >= p.length[cloud]) return;
  const Segments segments = segments_of(p, cloud);
  const int32_t segment = segments.of(row);
  const float* share = p.share + (int64_t{cloud} * p.segments + segment) * 2;
  const float scale = segments.covers(segment, row) ? *g.grad_loss * share[0] : 0.0F;
  const Paid paid = penalty_of(p, p.distance[cloud][row]);
  const float weight = p.weights[cloud] == nullptr ? 1.0F : p.weights[cloud][row];
  if (g.grad_distance[cloud] != nullptr)
    g.grad_distance[cloud][row] = scale == 0.0F ? 0.0F : scale * weight * paid.slope;
  if (g.grad_weights[cloud] != nullptr)
    g.grad_weights[cloud][row] = scale == 0.0F ? 0.0F : scale * (paid.value - share[1]);
}

struct Slots {
  Sums* of[2];
  size_t bytes;

  Slots(const ChamferLoss& p, void* base) {
    Workspace workspace(base);
    for (int cloud = 0; cloud < 2; ++cloud)
      of[cloud] = workspace.take<Sums>(p.length[cloud] / kChunk + 1 + p.segments);
    bytes = workspace.bytes();
  }
};

}  // namespace

size_t chamfer_loss_workspace(const ChamferLoss& problem) {
  return Slots(problem, nullptr).bytes;
}

void chamfer_loss_cuda(const ChamferLoss& p, void* workspace, int device, void* stream) {
  const DeviceGuard guard(device);
  const Slots slots(p, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  const int64_t longest = std::max(p.length[0], p.length[1]);
  // Where offsets are wrong, sums are looked for that no chunk has written.
  if (p.offsets[0] != nullptr || p.offsets[1] != nullptr)
    check_cuda(cudaMemsetAsync(workspace, 0, slots.bytes, s), "chamfer_loss");
  if (longest > 0)
    add_chunks<<<{blocks_for(longest, kChunk), 2}, kThreads, 0, s>>>(p, slots.of[0], slots.of[1]);
  finish<<<1, kFinishThreads, 0, s>>>(p, slots.of[0], slots.of[1]);
  check_cuda(cudaGetLastError(), "chamfer_loss");
}

void chamfer_loss_backward_cuda(const ChamferLossGradient& gradient, int device, void* stream) {
  const DeviceGuard guard(device);
  const int64_t longest = std::max(gradient.problem.length[0], gradient.problem.length[1]);
  if (longest == 0) return;
  spread<<<{blocks_for(longest, kThreads), 2}, kThreads, 0, static_cast<cudaStream_t>(stream)>>>(
      gradient);
  check_cuda(cudaGetLastError(), "chamfer_loss_backward");
}

}  // namespace g2vlm
