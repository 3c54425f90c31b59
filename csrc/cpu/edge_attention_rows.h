// What the forward and backward CPU kernels of edge_attention share: the scores of edges.
#pragma once

#include "g2vlm/edge_attention.h"
#include "graph_rows.h"

namespace g2vlm {

// Edges of a row, or of a source, that are taken together.
constexpr int32_t kChunk = 64;

// Runs `body` on the chunks of a range. What a body sums over a chunk is added up afterwards, so
// that sums over a million edges lose no more digits than sums over a few.
template <class Body>
G2VLM_ALWAYS_INLINE void for_each_chunk(const Range& range, Body body) {
  for (int64_t begin = range.begin; begin < range.end; begin += kChunk)
    body(Range{static_cast<int32_t>(begin),
               static_cast<int32_t>(std::min<int64_t>(begin + kChunk, range.end))});
}

template <class T, class Count>
G2VLM_ALWAYS_INLINE void add_to(T* total, const T* tile, Count n) {
  for (int32_t c = 0; c < n; ++c) total[c] += tile[c];
}

// Where the channels of one head of a vertex, of `attention` or of a geometry term begin.
template <class T, class Element>
G2VLM_ALWAYS_INLINE Element* head_of(const EdgeAttentionProblem<T>& p, Element* base, int64_t of,
                                     int32_t head) {
  return base + (of * p.heads + head) * p.dim;
}

template <class T>
G2VLM_ALWAYS_INLINE const T* value_of(const EdgeAttentionProblem<T>& p, int64_t source,
                                      int32_t head) {
  return head_of(p, p.value == nullptr ? p.left : p.value, source, head);
}

// One head of one edge.
template <class T>
struct EdgeHead {
  EdgeHead(const EdgeAttentionProblem<T>& p, int64_t row, int64_t source, int64_t edge,
           int32_t head)
      : right(head_of(p, p.right, row, head)),
        left(head_of(p, p.left, source, head)),
        geometry(p.geometry + edge * p.terms),
        head(head) {}

  const T* right;
  const T* left;
  const T* geometry;
  int32_t head;
};

template <class T, class Count>
G2VLM_ALWAYS_INLINE void key_of(const EdgeAttentionProblem<T>& p, const EdgeHead<T>& edge,
                                int32_t first, Count n, T* key) {
  for (int32_t c = 0; c < n; ++c) key[c] = edge.left[first + c];
  for (int32_t term = 0; term < p.terms; ++term) {
    const T geometry = edge.geometry[term];
    const T* weight = head_of(p, p.geometry_weight, term, edge.head) + first;
    for (int32_t c = 0; c < n; ++c) key[c] += geometry * weight[c];
  }
}

// The sum of a tile, of which all but the first n channels count as 0, by adding its halves. The
// steps are spelled out for the compilers, which add a loop's numbers one by one.
template <class T, class Count>
G2VLM_ALWAYS_INLINE T fold(T* tile, Count n) {
  for (int32_t c = n; c < kTile<T>; ++c) tile[c] = T{0};
#if defined(__GNUC__)
  typedef T Half __attribute__((vector_size(64)));
  typedef T Quarter __attribute__((vector_size(32)));
  typedef T Eighth __attribute__((vector_size(16)));
  Half half[2];
  std::memcpy(half, tile, sizeof half);
  half[0] += half[1];
  Quarter quarter[2];
  std::memcpy(quarter, half, sizeof quarter);
  quarter[0] += quarter[1];
  Eighth eighth[2];
  std::memcpy(eighth, quarter, sizeof eighth);
  eighth[0] += eighth[1];
  std::memcpy(tile, eighth, sizeof eighth[0]);
#else
  for (int32_t width = kTile<T> / 2; width >= kTile<T> / 8; width /= 2)
    for (int32_t c = 0; c < width; ++c) tile[c] += tile[width + c];
#endif
  T sum = tile[0];
  for (int32_t c = 1; c < kTile<T> / 8; ++c) sum += tile[c];
  return sum;
}

template <class T>
G2VLM_ALWAYS_INLINE T dot(int32_t dim, const T* x, const T* y) {
  T sum = 0;
  for_each_tile<T>(dim, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    T product[kTile<T>];
    for (int32_t c = 0; c < n; ++c) product[c] = x[first + c] * y[first + c];
    sum += fold(product, n);
  });
  return sum;
}

template <class T>
G2VLM_ALWAYS_INLINE T score_of(const EdgeAttentionProblem<T>& p, const EdgeHead<T>& edge) {
  T score = 0;
  for_each_tile<T>(p.dim, [&](int32_t first, auto n) G2VLM_INLINE_LAMBDA {
    const T* right = edge.right + first;
    T z[kTile<T>];
    key_of(p, edge, first, n, z);
    if (p.attention == nullptr) {
      for (int32_t c = 0; c < n; ++c) z[c] *= right[c];
    } else {
      const T* attention = head_of(p, p.attention, 0, edge.head) + first;
      for (int32_t c = 0; c < n; ++c) {
        const T mixed = z[c] + right[c];
        const T leaked = p.negative_slope * mixed;
        z[c] = (mixed > 0 ? mixed : leaked) * attention[c];
      }
    }
    score += fold(z, n);
  });
  return p.scale * score;
}

}  // namespace g2vlm
