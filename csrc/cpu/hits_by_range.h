// Who hits the targets of a range, for sums that run in one order on any number of threads.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "g2vlm/parallel.h"

namespace g2vlm {

constexpr int64_t kHitRanges = 64;
constexpr int64_t kMinTargetsPerRange = 256;

inline int64_t targets_per_range(int64_t num_targets) {
  return std::max(kMinTargetsPerRange, (num_targets + kHitRanges - 1) / kHitRanges);
}

// The entries that name a target, by ranges of targets; rising within each range, so that every
// target adds its hits in rising order.
class HitsByRange {
 public:
  // `target_of(entry)` is below 0 where an entry names none.
  template <class TargetOf>
  HitsByRange(int64_t entries, int64_t num_targets, const TargetOf& target_of, int threads) {
    const int64_t width = targets_per_range(num_targets);
    const int64_t ranges = (num_targets + width - 1) / width;
    const int64_t grain = std::max(kEntriesPerPiece, (entries + kMaxPieces - 1) / kMaxPieces);
    const int64_t pieces = (entries + grain - 1) / grain;
    std::vector<int64_t> places(static_cast<size_t>(pieces * ranges));
    parallel_for(entries, grain, threads, [&](int64_t begin, int64_t end) {
      int64_t* count = places.data() + begin / grain * ranges;
      for (int64_t entry = begin; entry < end; ++entry) {
        const int64_t target = target_of(entry);
        if (target >= 0) ++count[target / width];
      }
    });
    starts_.push_back(0);
    for (int64_t range = 0, next = 0; range < ranges; ++range) {
      for (int64_t piece = 0; piece < pieces; ++piece) {
        int64_t& place = places[static_cast<size_t>(piece * ranges + range)];
        const int64_t count = place;
        place = next;
        next += count;
      }
      starts_.push_back(next);
    }
    entries_.reset(new int64_t[static_cast<size_t>(starts_.back())]);
    parallel_for(entries, grain, threads, [&](int64_t begin, int64_t end) {
      int64_t* place = places.data() + begin / grain * ranges;
      for (int64_t entry = begin; entry < end; ++entry) {
        const int64_t target = target_of(entry);
        if (target >= 0) entries_[place[target / width]++] = entry;
      }
    });
  }

  const int64_t* begin(int64_t range) const { return entries_.get() + at(range); }
  const int64_t* end(int64_t range) const { return entries_.get() + at(range + 1); }

 private:
  static constexpr int64_t kEntriesPerPiece = 1 << 15;
  static constexpr int64_t kMaxPieces = 64;

  int64_t at(int64_t range) const { return starts_[static_cast<size_t>(range)]; }

  std::vector<int64_t> starts_;
  std::unique_ptr<int64_t[]> entries_;
};

}  // namespace g2vlm
