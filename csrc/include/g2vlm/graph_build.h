// Compressed rows (CSR) from triangles or edges, in steps that a caller strings together:
//
//   counts[row]   <- how many entries each row gets          count_*
//   offsets       <- running sum of counts                   (the caller's)
//   entries       <- the entries of each row, in any order   fill_*, moves `cursor` from offsets
//   entries, kept <- each row sorted; with `kept`, equal entries once, `kept[row]` of them
//   columns       <- the kept entries without gaps           compact_rows
//
// Rows come out sorted, so that the result does not depend on the order in which threads fill.
// Indices that are out of range set `*invalid` to 1 and are left out of every step.
#pragma once

#include <cstdint>

namespace g2vlm {

// The six directed edges of each triangle, without loops: entries are vertices.
template <class Index>
struct FaceEdges {
  const Index* faces;  // [num_faces, 3]
  int64_t num_faces;
  int32_t num_vertices;
};

// Directed edges: entries are sources, or the positions of the edges where `source` is null.
template <class Index>
struct EdgeList {
  const Index* destination;  // [num_edges]
  const Index* source;       // [num_edges] or null
  int64_t num_edges;
  int32_t num_rows;
  int32_t num_sources;
};

// Adds to `counts [rows]`, which the caller has set to 0, as `invalid [1]`.
template <class Edges>
void count_edges_cpu(const Edges& edges, int32_t* counts, int32_t* invalid);

// `cursor [rows]` starts as a copy of the offsets.
template <class Edges>
void fill_edges_cpu(const Edges& edges, int32_t* cursor, int32_t* entries);

// `kept [rows]` may be null: then equal entries stay.
void sort_rows_cpu(const int32_t* offsets, int32_t num_rows, int32_t* entries, int32_t* kept,
                   int threads);

void compact_rows_cpu(const int32_t* offsets, const int32_t* entries, const int32_t* row_offsets,
                      int32_t num_rows, int32_t* columns, int threads);

// On the GPU each enqueues on `stream` of `device`, never synchronises, and throws
// std::runtime_error on launch errors.
template <class Edges>
void count_edges_cuda(const Edges& edges, int32_t* counts, int32_t* invalid, int device,
                      void* stream);
template <class Edges>
void fill_edges_cuda(const Edges& edges, int32_t* cursor, int32_t* entries, int device,
                     void* stream);
void sort_rows_cuda(const int32_t* offsets, int32_t num_rows, int32_t* entries, int32_t* kept,
                    int device, void* stream);
void compact_rows_cuda(const int32_t* offsets, const int32_t* entries, const int32_t* row_offsets,
                       int32_t num_rows, int32_t* columns, int device, void* stream);

}  // namespace g2vlm
