#include "g2vlm/nearest.h"

#include <vector>

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
  const int64_t queries = segment.queries(), targets = segment.targets();
  if (queries == 0 || targets == 0 || p.method == NearestMethod::kBrute) return false;
  if (p.method == NearestMethod::kTree) return true;
  return p.dim <= kMaxTreeDim && queries * targets > kPairsPerPoint * (queries + targets);
}

}  // namespace

template <class T>
void nearest_cpu(const NearestProblem<T>& p, int threads) {
  std::vector<NearestSegment> brute, trees;
  for (int32_t number = 0; number < p.num_segments; ++number) {
    NearestSegment segment;
    find_rows(p.query_offsets, p.num_queries, number, segment.query_begin, segment.query_end);
    find_rows(p.target_offsets, p.num_targets, number, segment.target_begin, segment.target_end);
    (wants_tree(p, segment) ? trees : brute).push_back(segment);
  }
  search_nearest_brute(p, brute, threads);
  const auto points_of = [](const NearestSegment& segment) {
    return int64_t{segment.queries()} + segment.targets();
  };
  share_out(trees, threads, points_of, [&](const NearestSegment& segment, int shared) {
    search_nearest_tree(p, segment, shared);
  });
}

template void nearest_cpu(const NearestProblem<float>&, int);
template void nearest_cpu(const NearestProblem<double>&, int);

}  // namespace g2vlm
