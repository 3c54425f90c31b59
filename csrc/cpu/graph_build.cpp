#include "g2vlm/graph_build.h"

#include <algorithm>

#include "g2vlm/parallel.h"

namespace g2vlm {
namespace {

constexpr int64_t kRowsPerPiece = 4096;

// Calls `visit(row, entry)` for every valid directed edge; returns false if any was not.
template <class Index, class Visit>
bool for_each_edge(const FaceEdges<Index>& e, Visit visit) {
  bool valid = true;
  const auto in_range = [&](Index v) { return v >= 0 && v < e.num_vertices; };
  for (int64_t face = 0; face < e.num_faces; ++face) {
    const Index* corner = e.faces + 3 * face;
    if (!in_range(corner[0]) || !in_range(corner[1]) || !in_range(corner[2])) {
      valid = false;
      continue;
    }
    for (int i = 0; i < 3; ++i) {
      const auto a = static_cast<int32_t>(corner[i]);
      const auto b = static_cast<int32_t>(corner[(i + 1) % 3]);
      if (a == b) continue;
      visit(a, b);
      visit(b, a);
    }
  }
  return valid;
}

template <class Index, class Visit>
bool for_each_edge(const EdgeList<Index>& e, Visit visit) {
  bool valid = true;
  for (int64_t edge = 0; edge < e.num_edges; ++edge) {
    const Index row = e.destination[edge];
    const Index entry = e.source == nullptr ? static_cast<Index>(edge) : e.source[edge];
    if (row < 0 || row >= e.num_rows || entry < 0 ||
        (e.source != nullptr && entry >= e.num_sources)) {
      valid = false;
      continue;
    }
    visit(static_cast<int32_t>(row), static_cast<int32_t>(entry));
  }
  return valid;
}

}  // namespace

template <class Edges>
void count_edges_cpu(const Edges& edges, int32_t* counts, int32_t* invalid) {
  if (!for_each_edge(edges, [&](int32_t row, int32_t) { ++counts[row]; })) *invalid = 1;
}

template <class Edges>
void fill_edges_cpu(const Edges& edges, int32_t* cursor, int32_t* entries) {
  for_each_edge(edges, [&](int32_t row, int32_t entry) { entries[cursor[row]++] = entry; });
}

void sort_rows_cpu(const int32_t* offsets, int32_t num_rows, int32_t* entries, int32_t* kept,
                   int threads) {
  parallel_for(num_rows, kRowsPerPiece, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      int32_t* first = entries + offsets[row];
      int32_t* last = entries + offsets[row + 1];
      if (!std::is_sorted(first, last)) std::sort(first, last);
      if (kept != nullptr) kept[row] = static_cast<int32_t>(std::unique(first, last) - first);
    }
  });
}

void compact_rows_cpu(const int32_t* offsets, const int32_t* entries, const int32_t* row_offsets,
                      int32_t num_rows, int32_t* columns, int threads) {
  parallel_for(num_rows, kRowsPerPiece, threads, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      std::copy_n(entries + offsets[row], row_offsets[row + 1] - row_offsets[row],
                  columns + row_offsets[row]);
  });
}

#define G2VLM_INSTANTIATE(Edges)                                   \
  template void count_edges_cpu(const Edges&, int32_t*, int32_t*); \
  template void fill_edges_cpu(const Edges&, int32_t*, int32_t*);
G2VLM_INSTANTIATE(FaceEdges<int32_t>)
G2VLM_INSTANTIATE(FaceEdges<int64_t>)
G2VLM_INSTANTIATE(EdgeList<int32_t>)
G2VLM_INSTANTIATE(EdgeList<int64_t>)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
