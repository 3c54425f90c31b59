// Segments of packed points, and how threads share them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "g2vlm/parallel.h"

namespace g2vlm {

// Packed rows of one segment.
struct NearestSegment {
  int32_t query_begin, query_end;
  int32_t target_begin, target_end;

  int32_t queries() const { return query_end - query_begin; }
  int32_t targets() const { return target_end - target_begin; }
};

// Where a segment begins and ends, of which `offsets` is null where there is only one.
inline void find_rows(const int32_t* offsets, int64_t rows, int32_t segment, int32_t& begin,
                      int32_t& end) {
  begin = offsets == nullptr ? 0 : offsets[segment];
  end = offsets == nullptr ? static_cast<int32_t>(rows) : offsets[segment + 1];
}

// Calls `body(item, threads)` for every item: one that is much of all work is shared by the
// threads, others are taken whole.
template <class Item, class WorkOf, class Body>
void share_out(const std::vector<Item>& items, int threads, const WorkOf& work_of,
               const Body& body) {
  int64_t work = 0;
  for (const Item& item : items) work += work_of(item);
  std::vector<const Item*> whole;
  for (const Item& item : items) {
    if (work_of(item) * 4 * threads > work) {
      body(item, threads);
    } else {
      whole.push_back(&item);
    }
  }
  parallel_for(static_cast<int64_t>(whole.size()), 1, threads, [&](int64_t begin, int64_t end) {
    for (; begin < end; ++begin) body(*whole[static_cast<size_t>(begin)], 1);
  });
}

}  // namespace g2vlm
