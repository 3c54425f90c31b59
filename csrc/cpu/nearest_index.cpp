#include "g2vlm/nearest_index.h"

#include <cstring>
#include <stdexcept>
#include <vector>

#include "nearest_tree.h"

namespace g2vlm {
namespace {

// Up to which comparing all pairs of a segment is faster than a search of the tree that is there.
// Measured with AVX-512, k = 1, microseconds brute / tree: 2.3 / 3.4 at 1 query and 256 targets, 15
// / 3.6 at 1 and 4096, 4.5 / 5.7 at 64 and 256, 33 / 11 at 256 and 256.
constexpr int64_t kBruteTargets = 512;
constexpr int64_t kBrutePairs = 1 << 14;

constexpr uint64_t kMagic = 0x3158444E52414E4Eu;

// What a tree was built over; the nodes of all segments follow it, then their leaves.
struct alignas(64) Header {
  uint64_t magic;
  int64_t num_targets;
  int64_t num_leaves;
  int64_t num_nodes;
  int32_t num_segments;
  int32_t dim;
  int32_t coordinate_bytes;
  int32_t unused[5];
};

struct Segment {
  NearestSegment rows;
  int64_t first_leaf, first_node;
};

// The segments of an index, and where the tree of each lies.
template <class T>
struct Layout {
  explicit Layout(const NearestTargets<T>& t) : header{} {
    header.magic = kMagic;
    header.num_targets = t.num_targets;
    header.num_segments = t.num_segments;
    header.dim = t.dim;
    header.coordinate_bytes = sizeof(T);
    segments.reserve(static_cast<size_t>(t.num_segments));
    for (int32_t number = 0; number < t.num_segments; ++number) {
      Segment segment{{}, header.num_leaves, header.num_nodes};
      find_rows(t.offsets, t.num_targets, number, segment.rows.target_begin,
                segment.rows.target_end);
      const NearestTreeShape shape(segment.rows.targets());
      header.num_leaves += shape.num_leaves;
      header.num_nodes += shape.num_nodes;
      segments.push_back(segment);
    }
  }

  int64_t nodes_at() const { return sizeof(Header); }
  int64_t leaves_at() const {
    return nodes_at() + header.num_nodes * static_cast<int64_t>(sizeof(Node<T>));
  }
  int64_t bytes() const {
    return leaves_at() + header.num_leaves * static_cast<int64_t>(sizeof(Leaf<T>));
  }

  // Byte is uint8_t or const uint8_t.
  template <class Byte>
  auto leaves(Byte* tree, const Segment& segment) const {
    using Place = std::conditional_t<std::is_const_v<Byte>, const Leaf<T>, Leaf<T>>;
    return reinterpret_cast<Place*>(tree + leaves_at()) + segment.first_leaf;
  }
  template <class Byte>
  auto nodes(Byte* tree, const Segment& segment) const {
    using Place = std::conditional_t<std::is_const_v<Byte>, const Node<T>, Node<T>>;
    return reinterpret_cast<Place*>(tree + nodes_at()) + segment.first_node;
  }

  void check_room(const uint8_t* tree, int64_t size) const {
    if (reinterpret_cast<uintptr_t>(tree) % alignof(Header) != 0 || size < bytes())
      throw std::invalid_argument("nearest_index: the memory of a tree is too small or unaligned");
  }
  void check_tree(const uint8_t* tree, int64_t size) const {
    check_room(tree, size);
    if (std::memcmp(tree, &header, sizeof header) != 0)
      throw std::invalid_argument(
          "nearest_index: tree was not built by the cpu backend over such "
          "targets; build the index "
          "anew, on the backend that queries it");
  }

  Header header;
  std::vector<Segment> segments;
};

template <class T>
NearestTargets<T> targets_of(const NearestProblem<T>& p) {
  return {p.target, p.target_offsets, p.num_targets, p.num_segments, p.dim};
}

int64_t targets_in(const Segment& segment) {
  return segment.rows.targets();
}

void begin_tree(const Header& header, uint8_t* tree, int64_t used, int64_t bytes) {
  std::memcpy(tree, &header, sizeof header);
  std::memset(tree + used, 0, static_cast<size_t>(bytes - used));
}

}  // namespace

template <class T>
int64_t nearest_index_bytes_cpu(const NearestTargets<T>& targets) {
  return Layout<T>(targets).bytes();
}

template <class T>
void nearest_index_build_cpu(const NearestTargets<T>& t, uint8_t* tree, int64_t bytes,
                             int threads) {
  const Layout<T> layout(t);
  layout.check_room(tree, bytes);
  begin_tree(layout.header, tree, layout.bytes(), bytes);
  share_out(layout.segments, threads, targets_in, [&](const Segment& segment, int shared) {
    build_nearest_tree(t.target, segment.rows.target_begin, segment.rows.targets(), t.dim,
                       layout.leaves(tree, segment), layout.nodes(tree, segment), shared);
  });
}

template <class T>
void nearest_index_refit_cpu(const NearestTargets<T>& t, const uint8_t* old, int64_t old_bytes,
                             uint8_t* tree, int64_t bytes, int threads) {
  const Layout<T> layout(t);
  layout.check_tree(old, old_bytes);
  layout.check_room(tree, bytes);
  begin_tree(layout.header, tree, layout.bytes(), bytes);
  share_out(layout.segments, threads, targets_in, [&](const Segment& segment, int shared) {
    refit_nearest_tree(t.target, segment.rows.targets(), t.dim, layout.leaves(old, segment),
                       layout.leaves(tree, segment), layout.nodes(tree, segment), shared);
  });
}

template <class T>
void nearest_index_query_cpu(const NearestProblem<T>& p, const uint8_t* tree, int64_t bytes,
                             int threads) {
  Layout<T> layout(targets_of(p));
  layout.check_tree(tree, bytes);
  std::vector<NearestSegment> brute;
  std::vector<Segment> trees;
  for (int32_t number = 0; number < p.num_segments; ++number) {
    Segment& segment = layout.segments[static_cast<size_t>(number)];
    NearestSegment& rows = segment.rows;
    find_rows(p.query_offsets, p.num_queries, number, rows.query_begin, rows.query_end);
    const int64_t pairs = int64_t{rows.queries()} * rows.targets();
    if (pairs == 0 || (rows.targets() <= kBruteTargets && pairs <= kBrutePairs)) {
      brute.push_back(rows);
    } else {
      trees.push_back(segment);
    }
  }
  search_nearest_brute(p, brute, threads);
  const auto queries_in = [](const Segment& segment) { return int64_t{segment.rows.queries()}; };
  share_out(trees, threads, queries_in, [&](const Segment& segment, int shared) {
    const NearestTree<T> searched{NearestTreeShape(segment.rows.targets()),
                                  layout.leaves(tree, segment), layout.nodes(tree, segment)};
    search_nearest_tree(p, segment.rows, searched, shared);
  });
}

#define G2VLM_INDEX_OF(T)                                                                  \
  template int64_t nearest_index_bytes_cpu(const NearestTargets<T>&);                      \
  template void nearest_index_build_cpu(const NearestTargets<T>&, uint8_t*, int64_t, int); \
  template void nearest_index_refit_cpu(const NearestTargets<T>&, const uint8_t*, int64_t, \
                                        uint8_t*, int64_t, int);                           \
  template void nearest_index_query_cpu(const NearestProblem<T>&, const uint8_t*, int64_t, int);
G2VLM_INDEX_OF(float)
G2VLM_INDEX_OF(double)
#undef G2VLM_INDEX_OF

}  // namespace g2vlm
