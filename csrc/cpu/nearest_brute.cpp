#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "g2vlm/parallel.h"
#include "instruction_set.h"
#include "nearest_arithmetic.h"
#include "nearest_heap.h"
#include "nearest_paths.h"
#include "strict_floating_point.h"

namespace g2vlm {
namespace {

constexpr int32_t kQueriesPerPiece = 128;
constexpr int32_t kChunk = 256;  // targets that are transposed and searched together
constexpr int32_t kLanes = 16;

// Distances are never negative, so their bits order as unsigned integers, and every NaN, of either
// sign, orders after infinity.
template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  using type = uint32_t;
};
template <>
struct BitsOf<double> {
  using type = uint64_t;
};
template <class T>
using Bits = typename BitsOf<T>::type;

template <class T>
G2VLM_ALWAYS_INLINE Bits<T> bits_of(T value) {
  Bits<T> bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

// The targets of a chunk, one row of kChunk numbers per coordinate, filled up with NaN to a
// multiple of kLanes.
template <class T>
struct Columns {
  explicit Columns(int32_t dim) : dim(dim), rows(size_t{kChunk} * dim) {}

  void load(const T* points, int32_t points_count) {
    count = (points_count + kLanes - 1) / kLanes * kLanes;
    for (int32_t axis = 0; axis < dim; ++axis) {
      T* row = rows.data() + axis * kChunk;
      for (int32_t i = 0; i < points_count; ++i) row[i] = points[int64_t{i} * dim + axis];
      std::fill(row + points_count, row + count, std::numeric_limits<T>::quiet_NaN());
    }
  }

  int32_t dim;
  int32_t count = 0;
  std::vector<T> rows;
};

// Writes the distances from `point` to a chunk and returns the bits of the smallest.
template <class T, int kNorm>
G2VLM_ALWAYS_INLINE Bits<T> chunk_distances(const T* __restrict point, const Columns<T>& chunk,
                                            T* __restrict out) {
  const T* __restrict rows = chunk.rows.data();
  const int32_t count = chunk.count;
  if (chunk.dim == 3) {
    const T x = point[0], y = point[1], z = point[2];
    for (int32_t i = 0; i < count; ++i) {
      const T sum = first_term<kNorm>(x - rows[i]);
      out[i] =
          next_term<kNorm>(next_term<kNorm>(sum, y - rows[kChunk + i]), z - rows[2 * kChunk + i]);
    }
  } else {
    for (int32_t i = 0; i < count; ++i) out[i] = first_term<kNorm>(point[0] - rows[i]);
    for (int32_t axis = 1; axis < chunk.dim; ++axis) {
      const T coordinate = point[axis];
      const T* __restrict row = rows + axis * kChunk;
      for (int32_t i = 0; i < count; ++i) out[i] = next_term<kNorm>(out[i], coordinate - row[i]);
    }
  }
  Bits<T> smallest = std::numeric_limits<Bits<T>>::max();
  for (int32_t i = 0; i < count; ++i) smallest = std::min(smallest, bits_of(out[i]));
  return smallest;
}

template <class T>
using ChunkDistances = Bits<T> (*)(const T* point, const Columns<T>& chunk, T* out);

template <class T, int kNorm>
Bits<T> chunk_distances_baseline(const T* point, const Columns<T>& chunk, T* out) {
  return chunk_distances<T, kNorm>(point, chunk, out);
}
#ifdef G2VLM_X86_DISPATCH
template <class T, int kNorm>
G2VLM_AVX2 Bits<T> chunk_distances_avx2(const T* point, const Columns<T>& chunk, T* out) {
  return chunk_distances<T, kNorm>(point, chunk, out);
}
template <class T, int kNorm>
G2VLM_AVX512 Bits<T> chunk_distances_avx512(const T* point, const Columns<T>& chunk, T* out) {
  return chunk_distances<T, kNorm>(point, chunk, out);
}
#endif

template <class T, int kNorm>
ChunkDistances<T> choose_chunk_distances() {
#ifdef G2VLM_X86_DISPATCH
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return chunk_distances_avx512<T, kNorm>;
    case InstructionSet::kAvx2:
      return chunk_distances_avx2<T, kNorm>;
    case InstructionSet::kBaseline:
      break;
  }
#endif
  return chunk_distances_baseline<T, kNorm>;
}

// The few best targets of one query so far, sorted by (distance, index), in the output itself.
template <class T>
struct Neighbours {
  T* distance;
  int32_t* index;
  int32_t k;
  int32_t found;

  // Candidates come with rising index, so one enters only in front of strictly larger distances.
  void insert(T value, int32_t candidate) {
    int32_t slot = found < k ? found++ : k - 1;
    for (; slot > 0 && value < distance[slot - 1]; --slot) {
      distance[slot] = distance[slot - 1];
      index[slot] = index[slot - 1];
    }
    distance[slot] = value;
    index[slot] = candidate;
  }
};

template <class T>
class Search {
 public:
  explicit Search(const NearestProblem<T>& problem)
      : p_(problem),
        distances_(problem.norm == 1 ? choose_chunk_distances<T, 1>()
                                     : choose_chunk_distances<T, 2>()),
        bound_(bits_of(problem.max_distance + T(0))) {}

  // Of at most kQueriesPerPiece queries.
  void run(const NearestSegment& piece, Columns<T>& chunk) const {
    const int64_t begin = piece.query_begin, end = piece.query_end;
    int32_t first = piece.target_begin;
    std::fill(p_.distance + begin * p_.k, p_.distance + end * p_.k,
              std::numeric_limits<T>::infinity());
    std::fill(p_.index + begin * p_.k, p_.index + end * p_.k, -1);
    std::array<int32_t, kQueriesPerPiece> found{};
    while (first < piece.target_end) {
      const int32_t count = std::min(kChunk, piece.target_end - first);
      chunk.load(p_.target + int64_t{first} * p_.dim, count);
      for (int64_t query = begin; query < end; ++query)
        scan(query, first, count, chunk, found[query - begin]);
      first += count;
    }
    for (int64_t query = begin; query < end; ++query) {
      const int64_t row = query * p_.k;
      if (p_.k > kMostListed)
        NearestHeap<T>{p_.distance + row, p_.index + row, p_.k, found[query - begin]}.finish();
      const T* point = p_.query + query * p_.dim;
      if (std::any_of(point, point + p_.dim, [](T x) { return std::isnan(x); }))
        std::fill_n(p_.distance + row, p_.k, std::numeric_limits<T>::quiet_NaN());
    }
  }

 private:
  void scan(int64_t query, int32_t first, int32_t count, const Columns<T>& chunk,
            int32_t& found) const {
    T distances[kChunk];
    Neighbours<T> best{p_.distance + query * p_.k, p_.index + query * p_.k, p_.k, found};
    Bits<T> bound = limit(best);
    const Bits<T> smallest = distances_(p_.query + query * p_.dim, chunk, distances);
    if (smallest >= bound) return;
    if (p_.k == 1) {
      const T* nearest = std::find_if(distances, distances + count,
                                      [&](T each) { return bits_of(each) == smallest; });
      *best.distance = *nearest;
      *best.index = first + static_cast<int32_t>(nearest - distances);
      found = 1;
      return;
    }
    if (p_.k > kMostListed) {
      NearestHeap<T> heap{best.distance, best.index, best.k, found};
      for (int32_t i = 0; i < count; ++i) {
        if (bits_of(distances[i]) >= bound) continue;
        heap.put(distances[i], first + i);
        if (heap.full()) bound = bits_of(heap.distance[0]);
      }
      found = heap.found;
      return;
    }
    for (int32_t i = 0; i < count; ++i) {
      if (bits_of(distances[i]) >= bound) continue;
      best.insert(distances[i], first + i);
      bound = limit(best);
    }
    found = best.found;
  }

  // A candidate enters where its bits are below this: free slots take the bound itself.
  Bits<T> limit(const Neighbours<T>& best) const {
    if (best.found < best.k) return bound_ + 1;
    return bits_of(best.distance[p_.k > kMostListed ? 0 : p_.k - 1]);
  }

  const NearestProblem<T>& p_;
  const ChunkDistances<T> distances_;
  const Bits<T> bound_;
};

// Cuts segments into pieces of at most kQueriesPerPiece queries.
std::vector<NearestSegment> pieces_of(const std::vector<NearestSegment>& segments) {
  std::vector<NearestSegment> pieces;
  for (NearestSegment piece : segments) {
    const int32_t end = piece.query_end;
    while (piece.query_begin < end) {
      piece.query_end = std::min(end, piece.query_begin + kQueriesPerPiece);
      pieces.push_back(piece);
      piece.query_begin = piece.query_end;
    }
  }
  return pieces;
}

}  // namespace

template <class T>
void search_nearest_brute(const NearestProblem<T>& p, const std::vector<NearestSegment>& segments,
                          int threads) {
  const Search<T> search(p);
  const std::vector<NearestSegment> pieces = pieces_of(segments);
  const auto count = static_cast<int64_t>(pieces.size());
  const int64_t grain = count * kQueriesPerPiece / std::max<int64_t>(p.num_queries, 1);
  parallel_for(count, grain, threads, [&](int64_t begin, int64_t end) {
    const StrictFloatingPoint strict;
    Columns<T> chunk(p.dim);
    for (; begin < end; ++begin) search.run(pieces[static_cast<size_t>(begin)], chunk);
  });
}

template void search_nearest_brute(const NearestProblem<float>&, const std::vector<NearestSegment>&,
                                   int);
template void search_nearest_brute(const NearestProblem<double>&,
                                   const std::vector<NearestSegment>&, int);

}  // namespace g2vlm
