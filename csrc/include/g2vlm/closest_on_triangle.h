// The point of a triangle nearest to the origin, for every implementation of point_to_mesh.
//
// The nearest of four candidates, each a point of the triangle: the feet of the perpendiculars on
// the three edges, kept between their ends, and the foot on the plane where it lies inside. So a
// candidate that rounding spoils can only be passed over, never be nearer than the triangle. The
// foot on the plane is found edge first and then along the height (Gram and Schmidt), which holds
// for slivers: it is off by a few roundings of the triangle's size, whatever its angles. The
// weights are those of the candidate that the regions of the triangle single out.
//
// Edges of which the square of the length underflows count as points.
#pragma once

#include <limits>

#ifdef __CUDACC__
#define G2VLM_HOST_DEVICE __host__ __device__ __forceinline__
#elif defined(__GNUC__)
#define G2VLM_HOST_DEVICE inline __attribute__((always_inline))
#else
#define G2VLM_HOST_DEVICE inline
#endif

namespace g2vlm {

// The squared distance, and the weights of a, b and c: none negative, sum 1 to rounding. Where a
// coordinate is not finite or a square overflows, the distance is NaN, which no comparison lets in.
template <class T>
struct OnTriangle {
  T distance;
  T weight[3];
};

// What does not change with the origin. Of use where one triangle meets many points.
template <class T>
struct TriangleShape {
  T ab[3], ac[3], bc[3];
  T height[3];                           // of c above ab
  T per_ab, per_ac, per_bc, per_height;  // 1 / squared length; 0 for points, NaN for no inside
  T foot;                                // of c on ab: 0 at a, 1 at b
};

template <class T>
G2VLM_HOST_DEVICE T dot3(const T (&x)[3], const T (&y)[3]) {
  return x[0] * y[0] + x[1] * y[1] + x[2] * y[2];
}

// As members, so that device code may read them.
template <class T>
struct Limits {
  static constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  static constexpr T kSmallest = std::numeric_limits<T>::min();
  static constexpr T kLargest = std::numeric_limits<T>::max();
};

template <class T>
G2VLM_HOST_DEVICE T inverse_or_zero(T square) {
  return square >= Limits<T>::kSmallest ? T(1) / square : T(0);
}

template <class T>
G2VLM_HOST_DEVICE T between_0_and_1(T x) {
  x = x > T(0) ? x : T(0);
  return x < T(1) ? x : T(1);
}

// Without an inside where the area is below `min_area`.
template <class T>
G2VLM_HOST_DEVICE TriangleShape<T> shape_of_triangle(const T (&a)[3], const T (&b)[3],
                                                     const T (&c)[3], T min_area) {
  TriangleShape<T> shape;
  for (int axis = 0; axis < 3; ++axis) {
    shape.ab[axis] = b[axis] - a[axis];
    shape.ac[axis] = c[axis] - a[axis];
    shape.bc[axis] = c[axis] - b[axis];
  }
  const T ab_square = dot3(shape.ab, shape.ab), ac_square = dot3(shape.ac, shape.ac);
  shape.per_ab = inverse_or_zero(ab_square);
  shape.per_ac = inverse_or_zero(ac_square);
  shape.per_bc = inverse_or_zero(dot3(shape.bc, shape.bc));
  shape.foot = dot3(shape.ab, shape.ac) * shape.per_ab;
  for (int axis = 0; axis < 3; ++axis)
    shape.height[axis] = shape.ac[axis] - shape.foot * shape.ab[axis];
  const T height_square = dot3(shape.height, shape.height);
  shape.per_height = ab_square * height_square >= T(4) * min_area * min_area
                         ? inverse_or_zero(height_square)
                         : Limits<T>::kNan;
  const T poison = ab_square + ac_square <= Limits<T>::kLargest ? T(0) : Limits<T>::kNan;
  shape.ab[0] += poison;
  shape.ac[0] += poison;
  shape.bc[0] += poison;
  return shape;
}

// `a` and `b` relative to the origin; `shape` may come from other coordinates of the triangle.
template <class T>
G2VLM_HOST_DEVICE OnTriangle<T> closest_on_triangle(const TriangleShape<T>& shape, const T (&a)[3],
                                                    const T (&b)[3]) {
  const T on_line = -dot3(a, shape.ab) * shape.per_ab;
  const T on_ab = between_0_and_1(on_line);
  const T on_ac = between_0_and_1(-dot3(a, shape.ac) * shape.per_ac);
  const T on_bc = between_0_and_1(-dot3(b, shape.bc) * shape.per_bc);
  T ab[3], ac[3], bc[3], inside[3];
  for (int axis = 0; axis < 3; ++axis) {
    ab[axis] = a[axis] + on_ab * shape.ab[axis];
    ac[axis] = a[axis] + on_ac * shape.ac[axis];
    bc[axis] = b[axis] + on_bc * shape.bc[axis];
    inside[axis] = a[axis] + on_line * shape.ab[axis];
  }
  const T weight_c = -dot3(inside, shape.height) * shape.per_height;
  const T weight_b = on_line - weight_c * shape.foot;
  const T weight_a = T(1) - weight_b - weight_c;
  for (int axis = 0; axis < 3; ++axis) inside[axis] += weight_c * shape.height[axis];

  const T ab_distance = dot3(ab, ab), ac_distance = dot3(ac, ac), bc_distance = dot3(bc, bc);
  const T inside_distance = dot3(inside, inside);
  const bool is_inside = (weight_a >= T(0)) & (weight_b >= T(0)) & (weight_c >= T(0));
  OnTriangle<T> nearest{ab_distance, {T(1) - on_ab, on_ab, T(0)}};
  nearest.distance = ac_distance < nearest.distance ? ac_distance : nearest.distance;
  nearest.distance = bc_distance < nearest.distance ? bc_distance : nearest.distance;
  nearest.distance =
      is_inside & (inside_distance < nearest.distance) ? inside_distance : nearest.distance;
  nearest.distance += nearest.distance * T(0);  // infinity becomes NaN

  // Where two candidates are next to each other, their distances are equal to rounding, and tell
  // nothing: the end of an edge is the place where it is that of both edges that meet there.
  const bool ab_holds = ((on_ab > T(0)) | (on_ac == T(0))) & ((on_ab < T(1)) | (on_bc == T(0)));
  const bool ac_holds = ((on_ac > T(0)) | (on_ab == T(0))) & ((on_ac < T(1)) | (on_bc == T(1)));
  const bool bc_holds = ((on_bc > T(0)) | (on_ab == T(1))) & ((on_bc < T(1)) | (on_ac == T(1)));
  T least = ab_holds ? ab_distance : Limits<T>::kLargest;
  const bool takes_ac = ac_holds & (ac_distance < least);
  least = takes_ac ? ac_distance : least;
  const bool takes_bc = bc_holds & (bc_distance < least);
  nearest.weight[0] = takes_ac ? T(1) - on_ac : nearest.weight[0];
  nearest.weight[1] = takes_ac ? T(0) : nearest.weight[1];
  nearest.weight[2] = takes_ac ? on_ac : nearest.weight[2];
  nearest.weight[0] = takes_bc ? T(0) : nearest.weight[0];
  nearest.weight[1] = takes_bc ? T(1) - on_bc : nearest.weight[1];
  nearest.weight[2] = takes_bc ? on_bc : nearest.weight[2];
  nearest.weight[0] = is_inside ? weight_a : nearest.weight[0];
  nearest.weight[1] = is_inside ? weight_b : nearest.weight[1];
  nearest.weight[2] = is_inside ? weight_c : nearest.weight[2];
  return nearest;
}

// Of the triangle (a, b, c), relative to the origin.
template <class T>
G2VLM_HOST_DEVICE OnTriangle<T> closest_on_triangle(const T (&a)[3], const T (&b)[3],
                                                    const T (&c)[3], T min_area) {
  return closest_on_triangle(shape_of_triangle(a, b, c, min_area), a, b);
}

}  // namespace g2vlm
