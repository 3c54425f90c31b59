#include "nearest_pair_popular.cuh"

namespace g2vlm {
namespace {

constexpr int kThreads = 256;
constexpr unsigned kBlocks = 1056;

// The power of two that takes coordinates to integers: the sum of as many as there are points stays
// below 2^62.
__device__ double unit_of(const NearestPairGradient& p, uint32_t largest) {
  const int room = 62 - (64 - __clzll(p.length[0] + p.length[1]));
  const int exponent = max(static_cast<int>(largest >> 23), 1) - 126;
  return scalbn(1.0, room - exponent);
}

// Calls `visit(place, pull)` for all hits on popular points, by whole warps: `place` is -1 for
// lanes without one.
template <class Visit>
__device__ void for_all_hits(const NearestPairGradient& p, const int32_t* heads,
                             const Popular& popular, const Visit& visit) {
  if (*popular.count == 0) return;
  const int64_t numbers = p.length[0] + p.length[1];
  const int64_t step = int64_t{gridDim.x} * kThreads;
  for (int64_t base = int64_t{blockIdx.x} * kThreads; base < numbers; base += step) {
    const int64_t number = base + threadIdx.x;
    int32_t place = -1;
    if (number < numbers && p.grad[1 - cloud_of(p, number)] != nullptr) {
      const int64_t neighbour = neighbour_of(p, number);
      if (neighbour >= 0 && heads[neighbour] <= -2) place = Popular::place_of(heads[neighbour]);
    }
    if (!__any_sync(kAllLanes, place >= 0)) continue;
    visit(place, place >= 0 ? pull(p, number) : float3{0.0F, 0.0F, 0.0F});
  }
}

// Whether a warp visits one place alone, which all lanes get to know.
__device__ bool shares_place(int32_t place, int32_t* shared) {
  *shared = __reduce_max_sync(kAllLanes, place);
  return __all_sync(kAllLanes, place == *shared || place < 0);
}

__global__ void __launch_bounds__(kThreads)
    find_largest(const __grid_constant__ NearestPairGradient p, const int32_t* heads,
                 Popular popular) {
  for_all_hits(p, heads, popular, [&](int32_t place, float3 hit) {
    // Bits of numbers without a sign order as the numbers do, and NaN comes last.
    uint32_t bits = max(max(__float_as_uint(fabsf(hit.x)), __float_as_uint(fabsf(hit.y))),
                        __float_as_uint(fabsf(hit.z)));
    int32_t shared;
    if (shares_place(place, &shared)) {
      bits = __reduce_max_sync(kAllLanes, bits);
      place = threadIdx.x % 32 == 0 ? shared : -1;
    }
    if (place >= 0 && bits > popular.largest[place]) atomicMax(popular.largest + place, bits);
  });
}

__device__ unsigned long long warp_sum(unsigned long long value) {
  for (int stride = 16; stride > 0; stride /= 2) value += __shfl_xor_sync(kAllLanes, value, stride);
  return value;
}

__global__ void __launch_bounds__(kThreads)
    add_hits(const __grid_constant__ NearestPairGradient p, const int32_t* heads, Popular popular) {
  for_all_hits(p, heads, popular, [&](int32_t place, float3 hit) {
    const double unit = place < 0 ? 0.0 : unit_of(p, popular.largest[place]);
    unsigned long long parts[3] = {static_cast<unsigned long long>(__double2ll_rn(hit.x * unit)),
                                   static_cast<unsigned long long>(__double2ll_rn(hit.y * unit)),
                                   static_cast<unsigned long long>(__double2ll_rn(hit.z * unit))};
    int32_t shared;
    if (shares_place(place, &shared)) {
      for (auto& part : parts) part = warp_sum(part);
      place = threadIdx.x % 32 == 0 ? shared : -1;
    }
    if (place < 0) return;
    for (int axis = 0; axis < 3; ++axis)
      atomicAdd(popular.sum + 3 * int64_t{place} + axis, parts[axis]);
  });
}

// A thread a popular point. Where a hit is no number, neither is the gradient.
__global__ void __launch_bounds__(kThreads)
    subtract_sums(const __grid_constant__ NearestPairGradient p, Popular popular) {
  const int64_t count = *popular.count, step = int64_t{gridDim.x} * kThreads;
  for (int64_t place = int64_t{blockIdx.x} * kThreads + threadIdx.x; place < count; place += step) {
    const int64_t number = popular.number[place], cloud = cloud_of(p, number);
    const uint32_t largest = popular.largest[place];
    const double unit = largest < 0x7F800000 ? unit_of(p, largest) : NAN;
    float* grad = p.grad[cloud] + (number - cloud * p.length[0]) * 3;
    for (int axis = 0; axis < 3; ++axis) {
      const auto sum = static_cast<long long>(popular.sum[3 * place + axis]);
      grad[axis] = subtract(grad[axis], static_cast<float>(static_cast<double>(sum) / unit));
    }
  }
}

}  // namespace

void add_popular(const NearestPairGradient& p, const int32_t* heads, const Popular& popular,
                 cudaStream_t stream) {
  find_largest<<<kBlocks, kThreads, 0, stream>>>(p, heads, popular);
  add_hits<<<kBlocks, kThreads, 0, stream>>>(p, heads, popular);
  subtract_sums<<<kBlocks / 8, kThreads, 0, stream>>>(p, popular);
}

}  // namespace g2vlm
