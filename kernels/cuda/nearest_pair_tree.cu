// Nearest neighbours between two large clouds: a tree over each, and a search of each in the other.
#include "common.cuh"
#include "g2vlm/nearest_pair.h"
#include "nearest_tree_search.cuh"

namespace g2vlm {
namespace {

struct Plan {
  Workspace memory;
  TreeBuilder builder;
  TreeSearch search;

  Plan(const NearestPairProblem& p, void* workspace)
      : memory(workspace),
        builder({{p.points[0], p.points[1]},
                 {p.offsets[0], p.offsets[1]},
                 {p.length[0], p.length[1]},
                 p.segments},
                memory, memory),
        search(builder.pair().tree[0].leaves() + builder.pair().tree[1].leaves(), builder.counter(),
               memory) {}
};

}  // namespace

size_t nearest_pair_tree_workspace(const NearestPairProblem& problem, int device) {
  const DeviceGuard guard(device);
  return Plan(problem, nullptr).memory.bytes();
}

void nearest_pair_tree_cuda(const NearestPairProblem& p, void* workspace, int device,
                            void* stream) {
  if (p.length[0] + p.length[1] == 0) return;
  const DeviceGuard guard(device);
  Plan plan(p, workspace);
  auto* const s = static_cast<cudaStream_t>(stream);
  const Neighbours results{{p.distance[0], p.distance[1]}, {p.index[0], p.index[1]}};
  plan.builder.build(results, s);
  plan.search.run(plan.builder.pair(), results, INFINITY, s);
}

}  // namespace g2vlm
