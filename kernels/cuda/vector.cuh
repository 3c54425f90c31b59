// Vectors of storage types that compute in float.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include <cstdint>
#include <cstring>

#include "g2vlm/half.h"

namespace g2vlm {

template <class T>
struct DeviceTypeOf {
  using type = T;
};
template <>
struct DeviceTypeOf<BFloat16> {
  using type = __nv_bfloat16;
};
template <>
struct DeviceTypeOf<Float16> {
  using type = __half;
};
template <class T>
using DeviceType = typename DeviceTypeOf<T>::type;

__device__ inline float to_float(float x) {
  return x;
}
__device__ inline float to_float(__nv_bfloat16 x) {
  return __bfloat162float(x);
}
__device__ inline float to_float(__half x) {
  return __half2float(x);
}

template <class T>
__device__ T from_float(float x);
template <>
__device__ inline float from_float(float x) {
  return x;
}
template <>
__device__ inline __nv_bfloat16 from_float(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ inline __half from_float(float x) {
  return __float2half_rn(x);
}

// How many T a 16-byte access holds.
template <class T>
constexpr int kVectorWidth = 16 / sizeof(T);

// The widest access that divides a number of bytes.
template <int kBytes>
struct WordOf {
  using type = std::conditional_t<
      kBytes % 16 == 0, uint4,
      std::conditional_t<
          kBytes % 8 == 0, uint2,
          std::conditional_t<kBytes % 4 == 0, uint32_t,
                             std::conditional_t<kBytes % 2 == 0, uint16_t, uint8_t>>>>;
};

// kWidth values as they lie in memory: neighbours, or words of neighbours some words apart.
template <class T, int kWidth>
struct Packed {
  using Word = typename WordOf<sizeof(T) * kWidth>::type;
  static constexpr int kWords = sizeof(T) * kWidth / sizeof(Word);
  Word words[kWords];

  __device__ static Packed zero() {
    Packed packed;
    memset(packed.words, 0, sizeof(packed.words));
    return packed;
  }

  __device__ static Packed load(const T* from, int apart = 1) {
    Packed packed;
#pragma unroll
    for (int i = 0; i < kWords; ++i)
      packed.words[i] = __ldg(reinterpret_cast<const Word*>(from) + i * apart);
    return packed;
  }

  __device__ void store(T* to) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) reinterpret_cast<Word*>(to)[i] = words[i];
  }

  // For what is written once and not read again soon: it leaves the caches first.
  __device__ void stream(T* to, int apart = 1) const {
#pragma unroll
    for (int i = 0; i < kWords; ++i) __stcs(reinterpret_cast<Word*>(to) + i * apart, words[i]);
  }

  __device__ T operator[](int i) const {
    T value;
    memcpy(&value, reinterpret_cast<const char*>(words) + i * sizeof(T), sizeof(T));
    return value;
  }

  __device__ void set(int i, T value) {
    memcpy(reinterpret_cast<char*>(words) + i * sizeof(T), &value, sizeof(T));
  }
};

template <class T, int kWidth>
__device__ void to_floats(const Packed<T, kWidth>& from, float (&to)[kWidth]) {
#pragma unroll
  for (int i = 0; i < kWidth; ++i) to[i] = to_float(from[i]);
}

// A bfloat16 is the upper half of its float: one instruction each, where taking the upper half out
// of a word and moving it back up would be two.
template <int kWidth>
__device__ void to_floats(const Packed<__nv_bfloat16, kWidth>& from, float (&to)[kWidth]) {
  if constexpr (kWidth % 2 == 0) {
    uint32_t pairs[kWidth / 2];
    memcpy(pairs, from.words, sizeof(pairs));
#pragma unroll
    for (int i = 0; i < kWidth / 2; ++i) {
      to[2 * i] = __uint_as_float(pairs[i] << 16);
      to[2 * i + 1] = __uint_as_float(pairs[i] & 0xFFFF0000);
    }
  } else {
#pragma unroll
    for (int i = 0; i < kWidth; ++i) to[i] = to_float(from[i]);
  }
}

template <class T, int kWidth>
__device__ void load_floats(const T* from, float (&to)[kWidth]) {
  to_floats(Packed<T, kWidth>::load(from), to);
}

template <class T, int kWidth>
__device__ Packed<T, kWidth> packed(const float (&from)[kWidth]) {
  Packed<T, kWidth> packed;
#pragma unroll
  for (int i = 0; i < kWidth; ++i) packed.set(i, from_float<T>(from[i]));
  return packed;
}

template <class T, int kWidth>
__device__ void store_floats(const float (&from)[kWidth], T* to) {
  packed<T>(from).store(to);
}

}  // namespace g2vlm
