// Trees that are built once and searched many times, and those of a single search.
#include "common.cuh"
#include "g2vlm/nearest_index.h"
#include "g2vlm/nearest_tree.h"
#include "nearest_tree_search.cuh"

namespace g2vlm {
namespace {

Clouds clouds_of(const NearestTargets<float>& t) {
  return {{t.target, nullptr}, {t.offsets, nullptr}, {t.num_targets, 0}, t.num_segments, t.dim};
}

NearestTargets<float> targets_of(const NearestProblem<float>& p) {
  return {p.target, p.target_offsets, p.num_targets, p.num_segments, p.dim};
}

// The tree that lies in an index.
Tree tree_in(const NearestTargets<float>& targets, void* index) {
  Workspace memory(index);
  const Clouds clouds = clouds_of(targets);
  const int32_t* offsets = take_offsets(clouds, 0, memory);
  return lay_out_tree(clouds, 0, offsets, memory);
}

struct BuildPlan {
  Workspace index, scratch;
  TreeBuilder builder;

  BuildPlan(const NearestTargets<float>& targets, void* index_memory, void* workspace)
      : index(index_memory), scratch(workspace), builder(clouds_of(targets), index, scratch) {}
};

// The queries are sorted too: those of a warp are neighbours, and so are those of a block. With
// `two` the targets are sorted beside them.
struct SearchPlan {
  Workspace memory;
  TreeBuilder builder;
  TreeSearch search;

  SearchPlan(const NearestProblem<float>& p, bool two, void* workspace)
      : memory(workspace),
        builder({{p.query, two ? p.target : nullptr},
                 {p.query_offsets, two ? p.target_offsets : nullptr},
                 {p.num_queries, two ? p.num_targets : 0},
                 p.num_segments,
                 p.dim},
                memory, memory),
        search(builder.pair().tree[0].leaves(), builder.counter(), memory) {}

  Neighbours results(const NearestProblem<float>& p) const {
    return {{p.distance, nullptr}, {p.index, nullptr}, p.k};
  }

  void run(const Pair& pair, const NearestProblem<float>& p, cudaStream_t stream) const {
    if (p.k == 1 && p.norm == 2)
      search.run(pair, results(p), p.max_distance, stream);
    else
      search_lists(pair, p, stream);
  }
};

}  // namespace

size_t nearest_tree_workspace(const NearestProblem<float>& problem, int device) {
  const DeviceGuard guard(device);
  return SearchPlan(problem, true, nullptr).memory.bytes();
}

void nearest_tree_cuda(const NearestProblem<float>& p, void* workspace, int device, void* stream) {
  if (p.num_queries == 0) return;
  const DeviceGuard guard(device);
  SearchPlan plan(p, true, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  plan.builder.build(plan.results(p), s);
  plan.run(plan.builder.pair(), p, s);
}

NearestIndexBytes nearest_index_bytes_cuda(const NearestTargets<float>& targets, int device) {
  const DeviceGuard guard(device);
  const BuildPlan plan(targets, nullptr, nullptr);
  return {plan.index.bytes(), plan.scratch.bytes()};
}

void nearest_index_build_cuda(const NearestTargets<float>& targets, void* index, void* workspace,
                              int device, void* stream) {
  if (targets.num_targets == 0) return;
  const DeviceGuard guard(device);
  BuildPlan(targets, index, workspace).builder.build({}, static_cast<cudaStream_t>(stream));
}

void nearest_index_refit_cuda(const NearestTargets<float>& targets, void* index, int device,
                              void* stream) {
  if (targets.num_targets == 0) return;
  const DeviceGuard guard(device);
  Pair pair{};
  pair.tree[0] = tree_in(targets, index);
  TreeBuilder::refill_leaves(pair, static_cast<cudaStream_t>(stream));
  TreeBuilder::fill_nodes(pair, static_cast<cudaStream_t>(stream));
}

size_t nearest_index_query_workspace(const NearestProblem<float>& problem, int device) {
  const DeviceGuard guard(device);
  return SearchPlan(problem, false, nullptr).memory.bytes();
}

void nearest_index_query_cuda(const NearestProblem<float>& p, const void* index, void* workspace,
                              int device, void* stream) {
  if (p.num_queries == 0) return;
  const DeviceGuard guard(device);
  SearchPlan plan(p, false, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  plan.builder.sort(plan.results(p), s);
  plan.builder.fill_leaves(s);
  Pair pair = plan.builder.pair();
  pair.tree[1] = tree_in(targets_of(p), const_cast<void*>(index));
  plan.run(pair, p, s);
}

}  // namespace g2vlm
