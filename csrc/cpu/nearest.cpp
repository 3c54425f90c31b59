#include "g2vlm/nearest.h"

#include <vector>

#include "g2vlm/parallel.h"
#include "nearest_paths.h"

namespace g2vlm {
namespace {

// Pairs for each point of a segment above which a tree pays. Measured on two cores with AVX-512,
// clouds of a room, milliseconds brute / tree: k = 1: 0.006 / 0.010 at 128 points against 128,
// 0.079 / 0.043 at 512; k = 5: 0.032 / 0.043 at 128, 0.32 / 0.18 at 512; k = 64: 0.32 / 0.25 at
// 128.
constexpr int64_t kPairsPerPoint = 100;

template <class T>
bool wants_tree(const NearestProblem<T>& p, const NearestSegment& segment) {
  const int64_t queries = segment.query_end - segment.query_begin;
  const int64_t targets = segment.target_end - segment.target_begin;
  if (p.method != NearestMethod::kAuto)
    return p.method == NearestMethod::kTree && queries > 0 && targets > 0;
  return p.dim <= kMaxTreeDim && queries * targets > kPairsPerPoint * (queries + targets);
}

int64_t points_of(const NearestSegment& segment) {
  return int64_t{segment.query_end} - segment.query_begin + segment.target_end -
         segment.target_begin;
}

template <class T>
NearestSegment segment_at(const NearestProblem<T>& p, int32_t number) {
  NearestSegment segment{0, static_cast<int32_t>(p.num_queries), 0,
                         static_cast<int32_t>(p.num_targets)};
  if (p.query_offsets != nullptr) {
    segment.query_begin = p.query_offsets[number];
    segment.query_end = p.query_offsets[number + 1];
  }
  if (p.target_offsets != nullptr) {
    segment.target_begin = p.target_offsets[number];
    segment.target_end = p.target_offsets[number + 1];
  }
  return segment;
}

// A segment that is much of all work is shared by the threads; others are taken whole.
template <class T>
void search_trees(const NearestProblem<T>& p, const std::vector<NearestSegment>& segments,
                  int threads) {
  int64_t points = 0;
  for (const NearestSegment& segment : segments) points += points_of(segment);
  std::vector<NearestSegment> whole;
  for (const NearestSegment& segment : segments) {
    if (points_of(segment) * 4 * threads > points) {
      search_nearest_tree(p, segment, threads);
    } else {
      whole.push_back(segment);
    }
  }
  parallel_for(static_cast<int64_t>(whole.size()), 1, threads, [&](int64_t i, int64_t) {
    search_nearest_tree(p, whole[static_cast<size_t>(i)], 1);
  });
}

}  // namespace

template <class T>
void nearest_cpu(const NearestProblem<T>& p, int threads) {
  std::vector<NearestSegment> brute, trees;
  for (int32_t number = 0; number < p.num_segments; ++number) {
    const NearestSegment segment = segment_at(p, number);
    (wants_tree(p, segment) ? trees : brute).push_back(segment);
  }
  search_nearest_brute(p, brute, threads);
  search_trees(p, trees, threads);
}

template void nearest_cpu(const NearestProblem<float>&, int);
template void nearest_cpu(const NearestProblem<double>&, int);

}  // namespace g2vlm
