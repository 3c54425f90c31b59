// Vectors of three coordinates, rounded as written.
#pragma once

#include "common.cuh"
#include "rounding.cuh"

namespace g2vlm {

__device__ inline float3 load(const float* values, int64_t row) {
  return {values[row * 3], values[row * 3 + 1], values[row * 3 + 2]};
}
__device__ inline void store(float* values, int64_t row, float3 value) {
  values[row * 3] = value.x;
  values[row * 3 + 1] = value.y;
  values[row * 3 + 2] = value.z;
}
__device__ inline float3 add(float3 a, float3 b) {
  return {add(a.x, b.x), add(a.y, b.y), add(a.z, b.z)};
}
__device__ inline float3 subtract(float3 a, float3 b) {
  return {subtract(a.x, b.x), subtract(a.y, b.y), subtract(a.z, b.z)};
}
__device__ inline float3 multiply(float scale, float3 a) {
  return {multiply(scale, a.x), multiply(scale, a.y), multiply(scale, a.z)};
}

__device__ inline float3 warp_sum(float3 value) {
  for (int stride = 16; stride > 0; stride /= 2)
    value = add(value, {__shfl_xor_sync(kAllLanes, value.x, stride),
                        __shfl_xor_sync(kAllLanes, value.y, stride),
                        __shfl_xor_sync(kAllLanes, value.z, stride)});
  return value;
}

}  // namespace g2vlm
