// Storage-only stand-ins for 16-bit floats: host code passes them by pointer and never does
// arithmetic on them.
#pragma once

#include <cstdint>

namespace g2vlm {

struct Float16 {
  uint16_t bits;
};
struct BFloat16 {
  uint16_t bits;
};

// What sums over T run in.
template <class T>
struct AccumulatorOf {
  using type = float;
};
template <>
struct AccumulatorOf<double> {
  using type = double;
};
template <class T>
using Accumulator = typename AccumulatorOf<T>::type;

}  // namespace g2vlm
