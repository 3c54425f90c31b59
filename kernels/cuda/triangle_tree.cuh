// Searches between points and triangles, by the warp.
#pragma once

#include "g2vlm/closest_on_triangle.h"
#include "nearest_tree_walk.cuh"

namespace g2vlm {

struct Triangle {
  float4 a, b, c;  // a.w: the row, as an integer

  __device__ bool is_known() const {
    return g2vlm::is_known(a) && g2vlm::is_known(b) && g2vlm::is_known(c);
  }
  __device__ bool is_finite() const {
    return g2vlm::is_finite(a) && g2vlm::is_finite(b) && g2vlm::is_finite(c);
  }

  // Around the triangle, and what the rounding of distances may add to it.
  __device__ Box box() const {
    const float3 low = {fminf(fminf(a.x, b.x), c.x), fminf(fminf(a.y, b.y), c.y),
                        fminf(fminf(a.z, b.z), c.z)};
    const float3 high = {fmaxf(fmaxf(a.x, b.x), c.x), fmaxf(fmaxf(a.y, b.y), c.y),
                         fmaxf(fmaxf(a.z, b.z), c.z)};
    const float side = fmaxf(fmaxf(high.x - low.x, high.y - low.y), high.z - low.z);
    const float more = 16 * 0x1p-23F * side;
    return {{low.x - more, low.y - more, low.z - more, 0.0F},
            {high.x + more, high.y + more, high.z + more, 0.0F}};
  }
};

// Leaf by leaf the corners a of its triangles, then b, then c: as a tree over their centroids has
// them sorted.
struct Triangles {
  float4* corners;  // [leaves * 32 * 3]

  __device__ Triangle load(int64_t slot) const {
    const float4* at = corners + slot / kFanout * (3 * kFanout) + slot % kFanout;
    return {at[0], at[kFanout], at[2 * kFanout]};
  }
  __device__ void store(int64_t slot, const Triangle& triangle) const {
    float4* at = corners + slot / kFanout * (3 * kFanout) + slot % kFanout;
    at[0] = triangle.a, at[kFanout] = triangle.b, at[2 * kFanout] = triangle.c;
  }
};

struct Corner {
  float xyz[3];
};
__device__ inline Corner relative(float4 corner, float4 origin) {
  return {
      {subtract(corner.x, origin.x), subtract(corner.y, origin.y), subtract(corner.z, origin.z)}};
}

__device__ inline OnTriangle<float> closest(const Triangle& triangle, float4 point,
                                            float min_area) {
  const Corner a = relative(triangle.a, point), b = relative(triangle.b, point);
  const Corner c = relative(triangle.c, point);
  return closest_on_triangle(a.xyz, b.xyz, c.xyz, min_area);
}

// The bits of the least distance between boxes, less what rounding may add to it.
__device__ inline uint32_t bound_between(float4 low, float4 high, const Box& box) {
  constexpr float kSlack = 1.0F - 8 * 0x1p-23F;
  return __float_as_uint(kSlack * squared_length(gap(low.x, high.x, box.low.x, box.high.x),
                                                 gap(low.y, high.y, box.low.y, box.high.y),
                                                 gap(low.z, high.z, box.low.z, box.high.z)));
}

// A point looks for the nearest triangle.
class TriangleSearch : public BestPair {
 public:
  __device__ __forceinline__ TriangleSearch(const Triangles& triangles, float4 point,
                                            float min_area, uint32_t limit)
      : BestPair(limit), triangles_(triangles), point_(point), min_area_(min_area) {}

  __device__ __forceinline__ uint32_t bound(const Box& box) const {
    return bound_between(point_, point_, box);
  }

  __device__ __forceinline__ void visit(int64_t leaf) {
    const Triangle triangle = triangles_.load(leaf * kFanout + threadIdx.x % kFanout);
    keep(closest(triangle, point_, min_area_).distance, __float_as_int(triangle.a.w));
  }

 private:
  const Triangles& triangles_;
  const float4 point_;
  const float min_area_;
};

// A triangle looks for the nearest point.
class TrianglePointSearch : public BestPair {
 public:
  __device__ __forceinline__ TrianglePointSearch(const Tree& tree, const Triangle& triangle,
                                                 float min_area, uint32_t limit)
      : BestPair(limit), tree_(tree), triangle_(triangle) {
    const Corner a = relative(triangle.a, {}), b = relative(triangle.b, {});
    const Corner c = relative(triangle.c, {});
    shape_ = shape_of_triangle(a.xyz, b.xyz, c.xyz, min_area);
    box_ = triangle.box();
  }

  __device__ __forceinline__ uint32_t bound(const Box& box) const {
    return bound_between(box_.low, box_.high, box);
  }

  __device__ __forceinline__ void visit(int64_t leaf) {
    const float4 point = tree_.sorted[leaf * kFanout + threadIdx.x % kFanout];
    const Corner a = relative(triangle_.a, point), b = relative(triangle_.b, point);
    keep(closest_on_triangle(shape_, a.xyz, b.xyz).distance, __float_as_int(point.w));
  }

 private:
  const Tree& tree_;
  const Triangle triangle_;
  TriangleShape<float> shape_;
  Box box_;
};

}  // namespace g2vlm
