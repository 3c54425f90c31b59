// The search of the points of one tree in another.
#pragma once

#include "g2vlm/nearest.h"
#include "nearest_tree_build.cuh"

namespace g2vlm {

// Leaves whose points are searched for one by one; leaves of both clouds are numbered through.
struct Scattered {
  uint32_t* count;
  uint32_t* leaves;
};

class TreeSearch {
 public:
  // For clouds of so many leaves together; `counter` is 0 before each search.
  TreeSearch(int64_t leaves, uint32_t* counter, Workspace& scratch);

  // Enqueues; neighbours at more than `max_distance`, squared, are left out.
  void run(const Pair& pair, const Neighbours& results, float max_distance,
           cudaStream_t stream) const;

 private:
  Scattered scattered_;
};

// Any k and either norm: a warp a point, for 32 neighbours at a time. The first cloud searches.
void search_lists(const Pair& pair, const NearestProblem<float>& problem, cudaStream_t stream);

}  // namespace g2vlm
