// What a pair of neighbours adds to gradients. Points of both clouds are numbered through: those of
// the first cloud come first.
#pragma once

#include "g2vlm/nearest_pair.h"
#include "vector3.cuh"

namespace g2vlm {

__device__ inline int64_t cloud_of(const NearestPairGradient& p, int64_t number) {
  return number >= p.length[0];
}

// The number of a point's neighbour, -1 without one.
__device__ inline int64_t neighbour_of(const NearestPairGradient& p, int64_t number) {
  const int64_t cloud = cloud_of(p, number);
  const int64_t neighbour = p.index[cloud][number - cloud * p.length[0]];
  if (neighbour < 0 || neighbour >= p.length[1 - cloud]) return -1;
  return (1 - cloud) * p.length[0] + neighbour;
}

// What a point adds to its own gradient; its neighbour gets the opposite.
__device__ inline float3 pull(const NearestPairGradient& p, int64_t number) {
  const int64_t cloud = cloud_of(p, number), row = number - cloud * p.length[0];
  const int64_t neighbour = p.index[cloud][row];
  if (neighbour < 0 || neighbour >= p.length[1 - cloud]) return {0.0F, 0.0F, 0.0F};
  const float3 from = load(p.points[cloud], row), to = load(p.points[1 - cloud], neighbour);
  return multiply(multiply(2.0F, p.grad_distance[cloud][row]), subtract(from, to));
}

}  // namespace g2vlm
