// Exact nearest neighbours of packed point sets.
//
// Contract, for every implementation: the same distance bits and the same indices. The distance is
// accumulated in axis order, squared L2 as one chain of fused multiply-adds
// `fma(d_n, d_n, ... fma(d_1, d_1, d_0 * d_0))`, L1 as ordered sums of |d_i|; neighbours are
// ordered by (distance, index), so equal distances go to the lower index. A NaN distance orders
// after every number. Slots without a neighbour (fewer targets than k, or none within the maximum
// distance) hold distance +infinity and index -1. Queries with a NaN coordinate hold distance NaN,
// index -1.
//
// Trees need no tolerance for that. Rounding is monotone, a <= b implies fl(a) <= fl(b), and so is
// each step of a distance in the lengths along the axes: fma(d, d, s) and s + d in d, s >= 0.
// 1. A box holds low <= t <= high of its targets t, exactly. Along an axis where q < low,
//    fl(t - q) >= fl(low - q) = the gap; likewise where q > high; elsewhere the gap is 0. So no gap
//    is above the rounded |q - t|.
// 2. The bound of a box is the chain above on its gaps. By 1 and monotony, axis by axis, it is at
//    most the computed distance of every target in the box. Overflow to infinity and subnormals are
//    monotone too, as nothing is flushed to zero. A NaN distance, of infinite coordinates, is above
//    every bound; targets with a NaN coordinate are in no box, and found nowhere.
// 3. A box is left out where its bound is above the distance of the k-th neighbour so far, or equal
//    to it while the lowest index in the box is above that neighbour's. By 2 every target in it
//    comes after the k-th in (distance, index), and the k-th only ever moves forward.
// 4. What is not left out gets its distance by the very chain that all pairs get.
#pragma once

#include <cstdint>

namespace g2vlm {

// How neighbours are searched for; all ways give the same bits. A tree wants at most 3 dimensions.
enum class NearestMethod : int32_t { kAuto, kBrute, kTree };

template <class T>
struct NearestProblem {
  const T* query;                 // [num_queries, dim]
  const T* target;                // [num_targets, dim]
  const int32_t* query_offsets;   // [num_segments + 1]; null for one segment
  const int32_t* target_offsets;  // [num_segments + 1]; null for one segment
  T* distance;                    // [num_queries, k]
  int32_t* index;                 // [num_queries, k], within the packed targets
  int64_t num_queries;
  int64_t num_targets;
  int32_t num_segments;
  int32_t dim;
  int32_t k;
  int32_t norm;          // 1 or 2 (squared)
  T max_distance;        // in the unit of `distance`; +infinity for no bound
  NearestMethod method;  // of the CPU's search
};

template <class T>
void nearest_cpu(const NearestProblem<T>& problem, int threads);

// Enqueues on `stream` of `device`; never synchronises. Throws std::runtime_error on launch errors.
// Offsets are read on the device only: queries that no segment covers get distance NaN, index -1,
// and targets out of range are not read. `workspace` holds num_queries numbers, or is null.
template <class T>
void nearest_cuda(const NearestProblem<T>& problem, uint64_t* workspace, int device, void* stream);

// The gradient of `distance` in the points: 2 (query - target) a pair for squared L2, the sign of
// each difference (0 at 0) for L1, times the pair's `grad_distance`. The sums of a query run over
// its slots in order, those of a target over its hits in a fixed order, so that two runs agree to
// the bit. Indices that name no target count for nothing.
template <class T>
struct NearestGradient {
  const T* grad_distance;  // [num_queries, k]
  const T* query;          // [num_queries, dim]
  const T* target;         // [num_targets, dim]
  const int32_t* index;    // [num_queries, k]
  const int32_t* sorted;   // CUDA: [num_queries * k], `index` in rising order
  const int64_t* order;    // CUDA: [num_queries * k], where each of `sorted` came from; stable
  T* grad_query;           // [num_queries, dim], or null where it is not wanted
  T* grad_target;          // [num_targets, dim], or null where it is not wanted
  int64_t num_queries;
  int64_t num_targets;
  int32_t dim;
  int32_t k;
  int32_t norm;
};

template <class T>
void nearest_backward_cpu(const NearestGradient<T>& problem, int threads);

template <class T>
void nearest_backward_cuda(const NearestGradient<T>& problem, int device, void* stream);

}  // namespace g2vlm
