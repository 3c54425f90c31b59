#include "hilbert_order.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "g2vlm/parallel.h"
#include "instruction_set.h"

namespace g2vlm {
namespace {

using Entry = uint64_t;  // key << 32 | index

constexpr int kAxes = 3;
constexpr int kBits = 10;        // of the curve, each axis
constexpr int32_t kCrowd = 32;   // points of one cell that are left in the order of their indices
constexpr int32_t kBlock = 256;  // points whose keys are made together
constexpr int64_t kPiece = 1 << 14;

// Above the curve's bits, so that such points come last.
constexpr uint32_t kInfinite = 1u << (kAxes * kBits);
constexpr uint32_t kNan = 2u << (kAxes * kBits);

constexpr int kDigitBits = 8;
constexpr int kDigits = 1 << kDigitBits;
constexpr int64_t kComparisonSort = 1024;  // entries; the digits' counts cost more below

uint32_t key_of(Entry entry) {
  return static_cast<uint32_t>(entry >> 32);
}
uint32_t index_of(Entry entry) {
  return static_cast<uint32_t>(entry);
}

struct Range {
  int64_t begin, end;
};

// A cube around all finite coordinates. Everything is halved: the extent of finite numbers may
// itself not be finite.
struct Cube {
  double low[kAxes];
  double high[kAxes];

  Cube() {
    std::fill_n(low, kAxes, std::numeric_limits<double>::infinity());
    std::fill_n(high, kAxes, -std::numeric_limits<double>::infinity());
  }
  void cover(int axis, double least, double most) {
    low[axis] = std::min(low[axis], least);
    high[axis] = std::max(high[axis], most);
  }
  double extent() const {
    double most = 0;
    for (int axis = 0; axis < kAxes; ++axis) most = std::max(most, high[axis] - low[axis]);
    return most;
  }
};

// Cells of a block of points, and then their places on the curve, by J. Skilling, "Programming the
// Hilbert curve", AIP Conference Proceedings 707 (2004), without branches.
struct Block {
  uint32_t cell[kAxes][kBlock];
  uint32_t flags[kBlock];
  uint32_t key[kBlock];
};

template <class T>
G2VLM_ALWAYS_INLINE void find_cells(const T* points, int32_t dim, const Entry* entries,
                                    int32_t count, const Cube& cube, double extent, Block& block) {
  constexpr uint32_t kCells = 1u << kBits;
  double values[kBlock];
  std::fill_n(block.flags, kBlock, 0u);
  for (int axis = 0; axis < kAxes; ++axis) {
    uint32_t* cell = block.cell[axis];
    if (axis >= dim || !(extent > 0)) {
      std::fill_n(cell, kBlock, 0u);
      if (axis >= dim) continue;
    }
    for (int32_t i = 0; i < count; ++i)
      values[i] = static_cast<double>(points[int64_t{index_of(entries[i])} * dim + axis]);
    std::fill(values + count, values + kBlock, 0.0);
    const double low = cube.low[axis];
    for (int32_t i = 0; i < kBlock; ++i) {
      const double value = values[i];
      const bool infinite = std::abs(value) > std::numeric_limits<double>::max();
      block.flags[i] |= (infinite ? kInfinite : 0u) | (value == value ? 0u : kNan);
    }
    if (!(extent > 0)) continue;
    for (int32_t i = 0; i < kBlock; ++i) {
      double place = (values[i] * 0.5 - low) / extent;
      place = place > 0 ? place : 0;  // NaN too
      place = place < 1 ? place : 1;
      cell[i] = static_cast<uint32_t>(static_cast<int32_t>(place * (kCells - 1)));
    }
  }
}

G2VLM_ALWAYS_INLINE uint32_t spread(uint32_t x) {
  x = (x | (x << 16)) & 0x030000FFu;
  x = (x | (x << 8)) & 0x0300F00Fu;
  x = (x | (x << 4)) & 0x030C30C3u;
  return (x | (x << 2)) & 0x09249249u;
}

// Exchanges the bits `below` of x and y, or inverts them in x where y has `bit`.
G2VLM_ALWAYS_INLINE void turn(uint32_t bit, uint32_t* __restrict x, uint32_t* __restrict y) {
  const uint32_t below = bit - 1;
  for (int32_t i = 0; i < kBlock; ++i) {
    const uint32_t set = (y[i] & bit) != 0 ? ~0u : 0u;
    const uint32_t exchanged = (x[i] ^ y[i]) & below & ~set;
    x[i] ^= (below & set) ^ exchanged;
    y[i] ^= exchanged;
  }
}

G2VLM_ALWAYS_INLINE void find_keys(Block& block) {
  uint32_t* x = block.cell[0];
  for (uint32_t bit = 1u << (kBits - 1); bit > 1; bit >>= 1) {
    for (int32_t i = 0; i < kBlock; ++i) x[i] ^= (x[i] & bit) != 0 ? bit - 1 : 0u;
    turn(bit, x, block.cell[1]);
    turn(bit, x, block.cell[2]);
  }
  for (int32_t i = 0; i < kBlock; ++i) {
    const uint32_t a = block.cell[0][i], b = block.cell[1][i] ^ a, c = block.cell[2][i] ^ b;
    uint32_t flip = 0;
    for (uint32_t bit = 1u << (kBits - 1); bit > 1; bit >>= 1)
      flip ^= (c & bit) != 0 ? bit - 1 : 0u;
    block.key[i] =
        (spread(a ^ flip) << 2 | spread(b ^ flip) << 1 | spread(c ^ flip)) | block.flags[i];
  }
}

template <class T>
G2VLM_ALWAYS_INLINE void encode_entries(const T* points, int32_t dim, Entry* entries, int64_t count,
                                        const Cube& cube) {
  const double extent = cube.extent();
  Block block;
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int32_t size = static_cast<int32_t>(std::min<int64_t>(kBlock, count - begin));
    Entry* here = entries + begin;
    find_cells(points, dim, here, size, cube, extent, block);
    find_keys(block);
    for (int32_t i = 0; i < size; ++i) here[i] = Entry{block.key[i]} << 32 | index_of(here[i]);
  }
}

template <class T>
using Encode = void (*)(const T* points, int32_t dim, Entry* entries, int64_t count,
                        const Cube& cube);

template <class T>
void encode_baseline(const T* points, int32_t dim, Entry* entries, int64_t count,
                     const Cube& cube) {
  encode_entries(points, dim, entries, count, cube);
}
#ifdef G2VLM_X86_DISPATCH
template <class T>
G2VLM_AVX2 void encode_avx2(const T* points, int32_t dim, Entry* entries, int64_t count,
                            const Cube& cube) {
  encode_entries(points, dim, entries, count, cube);
}
template <class T>
G2VLM_AVX512 void encode_avx512(const T* points, int32_t dim, Entry* entries, int64_t count,
                                const Cube& cube) {
  encode_entries(points, dim, entries, count, cube);
}
#endif

template <class T>
Encode<T> choose_encode() {
#ifdef G2VLM_X86_DISPATCH
  switch (instruction_set()) {
    case InstructionSet::kAvx512:
      return encode_avx512<T>;
    case InstructionSet::kAvx2:
      return encode_avx2<T>;
    case InstructionSet::kBaseline:
      break;
  }
#endif
  return encode_baseline<T>;
}

template <class T>
Cube cube_of(const T* points, int32_t dim, const Entry* entries, int64_t count) {
  T low[kAxes], high[kAxes];
  std::fill_n(low, kAxes, std::numeric_limits<T>::infinity());
  std::fill_n(high, kAxes, -std::numeric_limits<T>::infinity());
  for (int64_t i = 0; i < count; ++i) {
    const T* point = points + int64_t{index_of(entries[i])} * dim;
    for (int32_t axis = 0; axis < dim; ++axis) {
      const T value = point[axis];
      if (!(std::abs(value) <= std::numeric_limits<T>::max())) continue;
      low[axis] = std::min(low[axis], value);
      high[axis] = std::max(high[axis], value);
    }
  }
  Cube cube;
  for (int32_t axis = 0; axis < dim; ++axis)
    cube.cover(axis, static_cast<double>(low[axis]) * 0.5, static_cast<double>(high[axis]) * 0.5);
  return cube;
}

// Stable: by key, and among equal keys as they were.
class RadixSort {
 public:
  RadixSort(Entry* entries, int64_t count, Entry* spare, int threads)
      : count_(count), threads_(threads), piece_(std::max(int64_t{1} << 16, count / 64)) {
    Entry *from = entries, *to = spare;
    for (int shift = 32; shift < 64; shift += kDigitBits)
      if (pass(from, to, shift)) std::swap(from, to);
    if (from != entries) std::copy(from, from + count, entries);
  }

 private:
  static uint32_t digit(Entry entry, int shift) {
    return static_cast<uint32_t>(entry >> shift) & (kDigits - 1);
  }

  // False, and nothing moved, where all entries have the same digit.
  bool pass(const Entry* from, Entry* to, int shift) const {
    const int64_t pieces = (count_ + piece_ - 1) / piece_;
    std::vector<uint32_t> places(static_cast<size_t>(pieces) * kDigits);
    parallel_for(count_, piece_, threads_, [&](int64_t begin, int64_t end) {
      uint32_t* count = places.data() + begin / piece_ * kDigits;
      for (int64_t i = begin; i < end; ++i) ++count[digit(from[i], shift)];
    });
    uint32_t next = 0;
    for (int value = 0; value < kDigits; ++value) {
      const uint32_t before = next;
      for (int64_t piece = 0; piece < pieces; ++piece) {
        uint32_t& place = places[static_cast<size_t>(piece * kDigits + value)];
        next += std::exchange(place, next);
      }
      if (next - before == count_) return false;
    }
    parallel_for(count_, piece_, threads_, [&](int64_t begin, int64_t end) {
      uint32_t* place = places.data() + begin / piece_ * kDigits;
      for (int64_t i = begin; i < end; ++i) to[place[digit(from[i], shift)]++] = from[i];
    });
    return true;
  }

  int64_t count_;
  int threads_;
  int64_t piece_;
};

template <class T>
class CurveSort {
 public:
  CurveSort(const T* points, int32_t dim, int threads)
      : points_(points), dim_(dim), threads_(threads), encode_(choose_encode<T>()) {}

  // `spare` has room for `count` entries.
  void run(Entry* entries, int64_t count, Entry* spare) const {
    const Cube cube = cover(entries, count);
    parallel_for(count, kPiece, threads_, [&](int64_t begin, int64_t end) {
      encode_(points_, dim_, entries + begin, end - begin, cube);
    });
    if (count <= kComparisonSort) {
      std::sort(entries, entries + count);
    } else {
      RadixSort(entries, count, spare, threads_);
    }
    if (cube.extent() > 0) refine(entries, count, spare);
  }

 private:
  Cube cover(const Entry* entries, int64_t count) const {
    std::vector<Cube> parts(static_cast<size_t>((count + kPiece - 1) / kPiece));
    parallel_for(count, kPiece, threads_, [&](int64_t begin, int64_t end) {
      parts[static_cast<size_t>(begin / kPiece)] =
          cube_of(points_, dim_, entries + begin, end - begin);
    });
    Cube whole;
    for (const Cube& part : parts)
      for (int axis = 0; axis < dim_; ++axis) whole.cover(axis, part.low[axis], part.high[axis]);
    return whole;
  }

  // Sorts the points of each crowded cell by a curve of their own.
  void refine(Entry* entries, int64_t count, Entry* spare) const {
    std::vector<Range> small;
    std::vector<Range> large;
    for (const std::vector<Range>& found : crowded_cells(entries, count))
      for (const Range& cell : found)
        (cell.end - cell.begin > kPiece ? large : small).push_back(cell);
    for (const Range& cell : large)
      run(entries + cell.begin, cell.end - cell.begin, spare + cell.begin);
    parallel_for(static_cast<int64_t>(small.size()), 16, threads_, [&](int64_t i, int64_t end) {
      for (; i < end; ++i) {
        const Range& cell = small[static_cast<size_t>(i)];
        run(entries + cell.begin, cell.end - cell.begin, spare + cell.begin);
      }
    });
  }

  // A list of those that begin in each piece.
  std::vector<std::vector<Range>> crowded_cells(const Entry* entries, int64_t count) const {
    std::vector<std::vector<Range>> found(static_cast<size_t>((count + kPiece - 1) / kPiece));
    parallel_for(count, kPiece, threads_, [&](int64_t begin, int64_t end) {
      std::vector<Range>& here = found[static_cast<size_t>(begin / kPiece)];
      while (begin < end && begin > 0 && key_of(entries[begin]) == key_of(entries[begin - 1]))
        ++begin;
      while (begin < end) {
        const uint32_t key = key_of(entries[begin]);
        int64_t stop = begin + 1;
        while (stop < count && key_of(entries[stop]) == key) ++stop;
        if (stop - begin > kCrowd && key < kInfinite) here.push_back({begin, stop});
        begin = stop;
      }
    });
    return found;
  }

  const T* points_;
  int32_t dim_;
  int threads_;
  Encode<T> encode_;
};

}  // namespace

template <class T>
HilbertOrder::HilbertOrder(const T* points, int32_t count, int32_t dim, int threads)
    : entries_(new uint64_t[static_cast<size_t>(count)]), count_(count) {
  const std::unique_ptr<Entry[]> spare(new Entry[static_cast<size_t>(count)]);
  parallel_for(count, kPiece, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) entries_[i] = static_cast<Entry>(i);
  });
  CurveSort<T>(points, dim, threads).run(entries_.get(), count, spare.get());
  const uint64_t first_nan = uint64_t{kNan} << 32;
  without_nan_ = static_cast<int32_t>(
      std::lower_bound(entries_.get(), entries_.get() + count, first_nan) - entries_.get());
}

template HilbertOrder::HilbertOrder(const float*, int32_t, int32_t, int);
template HilbertOrder::HilbertOrder(const double*, int32_t, int32_t, int);

}  // namespace g2vlm
