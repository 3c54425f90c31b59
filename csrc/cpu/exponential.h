// The exponential function in loops that vectorise.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "instruction_set.h"

namespace g2vlm {

// exp(x) for x <= 88, to 2 ulp, and exactly 0 far below; branch-free.
G2VLM_ALWAYS_INLINE float exponential(float x) {
  const float shifted = x * 1.44269504088896341f + 12582912.f;
  const float n = shifted - 12582912.f;
  const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
  float y = 1.9875691500e-4f;
  y = y * r + 1.3981999507e-3f;
  y = y * r + 8.3334519073e-3f;
  y = y * r + 4.1665795894e-2f;
  y = y * r + 1.6666665459e-1f;
  y = y * r + 5.0000001201e-1f;
  y = (y * r) * r + r + 1.f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = static_cast<int32_t>(static_cast<uint32_t>(bits - 0x4B400000 + 127) << 23);
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return x < -87.f ? 0.f : y * power;
}
G2VLM_ALWAYS_INLINE double exponential(double x) {
  return std::exp(x);
}

}  // namespace g2vlm
