// Arithmetic that rounds as written: the compiler neither contracts nor reorders it.
#pragma once

#include <cuda_runtime.h>

namespace g2vlm {

__device__ inline float add(float a, float b) {
  return __fadd_rn(a, b);
}
__device__ inline double add(double a, double b) {
  return __dadd_rn(a, b);
}
__device__ inline float subtract(float a, float b) {
  return __fsub_rn(a, b);
}
__device__ inline double subtract(double a, double b) {
  return __dsub_rn(a, b);
}
__device__ inline float multiply(float a, float b) {
  return __fmul_rn(a, b);
}
__device__ inline double multiply(double a, double b) {
  return __dmul_rn(a, b);
}
__device__ inline float multiply_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
__device__ inline double multiply_add(double a, double b, double c) {
  return __fma_rn(a, b, c);
}

// The terms of a distance in axis order: squares for norm 2, absolute values for norm 1.
template <int kNorm, class T>
__device__ inline T first_term(T difference) {
  return kNorm == 1 ? abs(difference) : multiply(difference, difference);
}
template <int kNorm, class T>
__device__ inline T next_term(T sum, T difference) {
  return kNorm == 1 ? add(sum, abs(difference)) : multiply_add(difference, difference, sum);
}

// The squared length of a vector, as the distance of a pair is rounded.
__device__ inline float squared_length(float x, float y, float z) {
  return next_term<2>(next_term<2>(first_term<2>(x), y), z);
}

}  // namespace g2vlm
