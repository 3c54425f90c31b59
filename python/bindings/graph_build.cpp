#include "g2vlm/graph_build.h"

#include <nanobind/stl/optional.h>

#include <optional>

#include "bindings.h"
#include "graph.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

using Counts = Tensor<int32_t>;

template <class Index>
FaceEdges<Index> face_edges(const Tensor<const Index>& faces, int32_t num_vertices) {
  return {faces.data(), faces.size(0), num_vertices};
}

template <class Index>
EdgeList<Index> edge_list(const Tensor<const Index>& destination,
                          const std::optional<Tensor<const Index>>& source, int32_t num_rows,
                          int32_t num_sources) {
  return {destination.data(), source ? source->data() : nullptr, destination.size(0), num_rows,
          num_sources};
}

template <class Edges>
void count(const Edges& edges, const Counts& counts, const Counts& invalid) {
#ifdef G2VLM_WITH_CUDA
  if (counts.is_cuda()) {
    void* stream = counts.stream();
    nb::gil_scoped_release release;
    return count_edges_cuda(edges, counts.data(), invalid.data(), counts.device(), stream);
  }
#endif
  nb::gil_scoped_release release;
  count_edges_cpu(edges, counts.data(), invalid.data());
}

template <class Edges>
void fill(const Edges& edges, const Counts& cursor, const Counts& entries) {
#ifdef G2VLM_WITH_CUDA
  if (cursor.is_cuda()) {
    void* stream = cursor.stream();
    nb::gil_scoped_release release;
    return fill_edges_cuda(edges, cursor.data(), entries.data(), cursor.device(), stream);
  }
#endif
  nb::gil_scoped_release release;
  fill_edges_cpu(edges, cursor.data(), entries.data());
}

template <class Index>
void bind(nb::module_& module) {
  module.def(
      "count_faces",
      [](Tensor<const Index> faces, int32_t num_vertices, Counts counts, Counts invalid) {
        count(face_edges(faces, num_vertices), counts, invalid);
      },
      "faces"_a, "num_vertices"_a, "counts"_a, "invalid"_a);
  module.def(
      "fill_faces",
      [](Tensor<const Index> faces, int32_t num_vertices, Counts cursor, Counts entries) {
        fill(face_edges(faces, num_vertices), cursor, entries);
      },
      "faces"_a, "num_vertices"_a, "cursor"_a, "entries"_a);
  module.def(
      "count_edges",
      [](Tensor<const Index> destination, std::optional<Tensor<const Index>> source,
         int32_t num_rows, int32_t num_sources, Counts counts, Counts invalid) {
        count(edge_list(destination, source, num_rows, num_sources), counts, invalid);
      },
      "destination"_a, "source"_a.none(), "num_rows"_a, "num_sources"_a, "counts"_a, "invalid"_a);
  module.def(
      "fill_edges",
      [](Tensor<const Index> destination, std::optional<Tensor<const Index>> source,
         int32_t num_rows, int32_t num_sources, Counts cursor, Counts entries) {
        fill(edge_list(destination, source, num_rows, num_sources), cursor, entries);
      },
      "destination"_a, "source"_a.none(), "num_rows"_a, "num_sources"_a, "cursor"_a, "entries"_a);
}

}  // namespace

void bind_graph_build(nb::module_& module) {
  bind<int32_t>(module);
  bind<int64_t>(module);
  module.def(
      "sort_rows",
      [](Indices offsets, Counts entries, std::optional<Counts> kept, int threads) {
        const auto rows = static_cast<int32_t>(offsets.size(0) - 1);
        int32_t* kept_data = kept ? kept->data() : nullptr;
#ifdef G2VLM_WITH_CUDA
        if (entries.is_cuda()) {
          void* stream = entries.stream();
          nb::gil_scoped_release release;
          return sort_rows_cuda(offsets.data(), rows, entries.data(), kept_data, entries.device(),
                                stream);
        }
#endif
        nb::gil_scoped_release release;
        sort_rows_cpu(offsets.data(), rows, entries.data(), kept_data, threads);
      },
      "offsets"_a, "entries"_a, "kept"_a.none(), "threads"_a);
  module.def(
      "compact_rows",
      [](Indices offsets, Indices entries, Indices row_offsets, Counts columns, int threads) {
        const auto rows = static_cast<int32_t>(offsets.size(0) - 1);
#ifdef G2VLM_WITH_CUDA
        if (entries.is_cuda()) {
          void* stream = columns.stream();
          nb::gil_scoped_release release;
          return compact_rows_cuda(offsets.data(), entries.data(), row_offsets.data(), rows,
                                   columns.data(), columns.device(), stream);
        }
#endif
        nb::gil_scoped_release release;
        compact_rows_cpu(offsets.data(), entries.data(), row_offsets.data(), rows, columns.data(),
                         threads);
      },
      "offsets"_a, "entries"_a, "row_offsets"_a, "columns"_a, "threads"_a);
}

}  // namespace g2vlm::python
