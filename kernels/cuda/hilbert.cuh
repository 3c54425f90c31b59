// Positions along a Hilbert curve, after J. Skilling, "Programming the Hilbert curve", AIP
// Conference Proceedings 707, 2004: undo the curve's rotations bit by bit, then its Gray code.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace g2vlm {

// Bits 0, 1, 2, ... of a number of at most 21 bits, moved to 0, 3, 6, ...
__device__ inline uint64_t spread_by_three(uint32_t value) {
  uint64_t spread = value & 0x1FFFFF;
  spread = (spread | spread << 32) & 0x001F00000000FFFF;
  spread = (spread | spread << 16) & 0x001F0000FF0000FF;
  spread = (spread | spread << 8) & 0x100F00F00F00F00F;
  spread = (spread | spread << 4) & 0x10C30C30C30C30C3;
  spread = (spread | spread << 2) & 0x1249249249249249;
  return spread;
}

// Undoes the turn that `other`'s bit stands for: a flip of x below it, or an exchange of the two.
__device__ inline void turn(uint32_t& x, uint32_t& other, uint32_t bit) {
  const uint32_t below = bit - 1;
  const uint32_t exchanged = (x ^ other) & below;
  const bool flip = other & bit;
  x ^= flip ? below : exchanged;
  other ^= flip ? 0 : exchanged;
}

// The position of a cell of a grid of 2^bits cells a side.
__device__ inline uint64_t hilbert_position(uint32_t x, uint32_t y, uint32_t z, int bits) {
  for (uint32_t bit = 1U << (bits - 1); bit > 1; bit >>= 1) {
    const uint32_t below = bit - 1;
    if (x & bit) x ^= below;
    turn(x, y, bit);
    turn(x, z, bit);
  }
  y ^= x;
  z ^= y;
  // Every set bit of z above the lowest flips all bits below it, in all three.
  uint32_t flips = z >> 1;
  flips ^= flips >> 1;
  flips ^= flips >> 2;
  flips ^= flips >> 4;
  flips ^= flips >> 8;
  flips ^= flips >> 16;
  return spread_by_three(x ^ flips) << 2 | spread_by_three(y ^ flips) << 1 |
         spread_by_three(z ^ flips);
}

}  // namespace g2vlm
