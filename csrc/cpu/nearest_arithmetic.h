// The arithmetic of the contract in g2vlm/nearest.h.
#pragma once

#include <cmath>

#include "instruction_set.h"

namespace g2vlm {

#if defined(__GNUC__)
template <class T>
G2VLM_ALWAYS_INLINE void prefetch_to_read(const T* address) {
  __builtin_prefetch(address, 0);
}
template <class T>
G2VLM_ALWAYS_INLINE void prefetch_to_write(const T* address) {
  __builtin_prefetch(address, 1);
}
#else
template <class T>
void prefetch_to_read(const T*) {}
template <class T>
void prefetch_to_write(const T*) {}
#endif

// A distance is `first_term` of the first difference, then `next_term` with each other one.
template <int kNorm, class T>
G2VLM_ALWAYS_INLINE T first_term(T difference) {
  return kNorm == 1 ? std::abs(difference) : difference * difference;
}
template <int kNorm, class T>
G2VLM_ALWAYS_INLINE T next_term(T sum, T difference) {
  return kNorm == 1 ? sum + std::abs(difference) : std::fma(difference, difference, sum);
}

template <int kNorm, class T>
G2VLM_ALWAYS_INLINE T distance_of(T x, T y, T z) {
  return next_term<kNorm>(next_term<kNorm>(first_term<kNorm>(x), y), z);
}

}  // namespace g2vlm
