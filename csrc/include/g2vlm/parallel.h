// Threads of the CPU kernels.
#pragma once

#include <cstdint>
#include <functional>

namespace g2vlm {

// Calls `body(begin, end)` over [0, count) in pieces of `grain` items, on at most `threads` threads
// (the caller's included). The pieces depend on `count` and `grain` alone, never on `threads`, so
// that per-piece results are reproducible. Runs inline when the pool is busy with another caller.
// Safe after fork(): a child starts threads of its own. An exception thrown by `body` is rethrown.
void parallel_for(int64_t count, int64_t grain, int threads,
                  const std::function<void(int64_t begin, int64_t end)>& body);

}  // namespace g2vlm
