// Products of 16-bit floats on tensor cores, summed in float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>

namespace g2vlm {

// sum [16, 8] += left [16, 16] right [16, 8]. Of lane 4 g + t, with rows g and g + 8:
//   left.x, .y   k = 2 t, 2 t + 1 of the two rows; left.z, .w   k + 8
//   right.x      k = 2 t, 2 t + 1 of column g;     right.y      k + 8
//   sum[0], [1]  columns 2 t, 2 t + 1 of row g;    sum[2], [3]  of row g + 8
template <class T>
__device__ void multiply_add_16x8(float (&sum)[4], const uint4& left, const uint2& right);

template <>
__device__ inline void multiply_add_16x8<__nv_bfloat16>(float (&sum)[4], const uint4& left,
                                                        const uint2& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(left.x), "r"(left.y), "r"(left.z), "r"(left.w), "r"(right.x), "r"(right.y));
}

template <>
__device__ inline void multiply_add_16x8<__half>(float (&sum)[4], const uint4& left,
                                                 const uint2& right) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
      "{%0,%1,%2,%3};"
      : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
      : "r"(left.x), "r"(left.y), "r"(left.z), "r"(left.w), "r"(right.x), "r"(right.y));
}

}  // namespace g2vlm
