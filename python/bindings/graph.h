// Graphs as the bindings take them.
#pragma once

#include <optional>

#include "g2vlm/graph_reduce.h"
#include "tensor.h"

namespace g2vlm::python {

template <class T>
using Optional = std::optional<Tensor<T>>;

template <class T>
T* data_or_null(const Optional<T>& tensor) {
  return tensor ? tensor->data() : nullptr;
}

using Indices = Tensor<const int32_t>;
using OptionalIndices = Optional<const int32_t>;

inline Csr csr_of(const Indices& offsets, const Indices& columns, int64_t num_sources) {
  return {offsets.data(), columns.data(), static_cast<int32_t>(offsets.size(0) - 1),
          static_cast<int32_t>(num_sources), static_cast<int32_t>(columns.size(0))};
}

}  // namespace g2vlm::python
