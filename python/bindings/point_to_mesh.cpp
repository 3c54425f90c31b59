#include "g2vlm/point_to_mesh.h"

#include <nanobind/stl/optional.h>

#include <limits>
#include <optional>
#include <string>

#include "bindings.h"

namespace g2vlm::python {
namespace {

namespace nb = nanobind;
using namespace nb::literals;

using Rows = Tensor<const int32_t>;
template <class T>
using Maybe = std::optional<Tensor<T>>;

constexpr int32_t kMostSegments = 1 << 24;

template <class T>
T at_most_infinity(double value) {
  return value > std::numeric_limits<T>::max() ? std::numeric_limits<T>::infinity()
                                               : static_cast<T>(value);
}

MeshSearch search_of(bool from_mesh) {
  return from_mesh ? MeshSearch::kMeshToPoint : MeshSearch::kPointToMesh;
}

template <class T>
PointToMeshProblem<T> problem_of(const Tensor<const T>& points, const Tensor<const T>& vertices,
                                 const Rows& faces, const Maybe<const int32_t>& point_offsets,
                                 const Maybe<const int32_t>& face_offsets, bool from_mesh,
                                 double min_area, double max_distance) {
  PointToMeshProblem<T> problem{};
  problem.search = search_of(from_mesh);
  problem.points = points.data();
  problem.vertices = vertices.data();
  problem.faces = faces.data();
  problem.point_offsets = point_offsets ? point_offsets->data() : nullptr;
  problem.face_offsets = face_offsets ? face_offsets->data() : nullptr;
  problem.num_points = points.size(0);
  problem.num_vertices = vertices.size(0);
  problem.num_faces = faces.size(0);
  const auto& any = point_offsets ? point_offsets : face_offsets;
  problem.num_segments = any ? static_cast<int32_t>(any->size(0) - 1) : 1;
  problem.min_area = at_most_infinity<T>(min_area);
  problem.max_distance = at_most_infinity<T>(max_distance);
  if (problem.num_segments > kMostSegments)
    throw nb::value_error("point_to_mesh: offsets must describe at most 2^24 segments");
  return problem;
}

template <class T>
PointToMeshGradient<T> gradient_of(const Tensor<const T>& grad_distance,
                                   const Tensor<const T>& points, const Tensor<const T>& vertices,
                                   const Rows& faces, const Rows& index,
                                   const Tensor<const T>& barycentric, bool from_mesh,
                                   const Maybe<T>& grad_points, const Maybe<T>& grad_vertices) {
  PointToMeshGradient<T> problem{};
  problem.search = search_of(from_mesh);
  problem.grad_distance = grad_distance.data();
  problem.points = points.data();
  problem.vertices = vertices.data();
  problem.faces = faces.data();
  problem.index = index.data();
  problem.barycentric = barycentric.data();
  problem.grad_points = grad_points ? grad_points->data() : nullptr;
  problem.grad_vertices = grad_vertices ? grad_vertices->data() : nullptr;
  problem.num_points = points.size(0);
  problem.num_vertices = vertices.size(0);
  problem.num_faces = faces.size(0);
  return problem;
}

template <class T>
void bind(nb::module_& module) {
  module.def(
      "point_to_mesh_cpu",
      [](Tensor<const T> points, Tensor<const T> vertices, Rows faces,
         Maybe<const int32_t> point_offsets, Maybe<const int32_t> face_offsets, bool from_mesh,
         double min_area, double max_distance, Tensor<T> distance, Tensor<int32_t> index,
         Tensor<T> barycentric, int threads) {
        auto problem = problem_of(points, vertices, faces, point_offsets, face_offsets, from_mesh,
                                  min_area, max_distance);
        problem.distance = distance.data();
        problem.index = index.data();
        problem.barycentric = barycentric.data();
        nb::gil_scoped_release release;
        point_to_mesh_cpu(problem, threads);
      },
      "points"_a, "vertices"_a, "faces"_a, "point_offsets"_a.none(), "face_offsets"_a.none(),
      "from_mesh"_a, "min_area"_a, "max_distance"_a, "distance"_a, "index"_a, "barycentric"_a,
      "threads"_a);
  module.def(
      "point_to_mesh_backward_cpu",
      [](Tensor<const T> grad_distance, Tensor<const T> points, Tensor<const T> vertices,
         Rows faces, Rows index, Tensor<const T> barycentric, bool from_mesh, Maybe<T> grad_points,
         Maybe<T> grad_vertices, int threads) {
        const auto problem = gradient_of(grad_distance, points, vertices, faces, index, barycentric,
                                         from_mesh, grad_points, grad_vertices);
        nb::gil_scoped_release release;
        point_to_mesh_backward_cpu(problem, threads);
      },
      "grad_distance"_a, "points"_a, "vertices"_a, "faces"_a, "index"_a, "barycentric"_a,
      "from_mesh"_a, "grad_points"_a.none(), "grad_vertices"_a.none(), "threads"_a);
}

#ifdef G2VLM_WITH_CUDA
using Floats = Tensor<const float>;

void check_at_most(int64_t count, int64_t most, const char* what) {
  if (count > most)
    throw nb::value_error(("point_to_mesh: on CUDA at most " + std::to_string(most) + " " + what +
                           ", got " + std::to_string(count))
                              .c_str());
}

void bind_cuda(nb::module_& module) {
  module.def(
      "point_to_mesh_workspace_cuda",
      [](Floats points, Floats vertices, Rows faces, Maybe<const int32_t> point_offsets,
         Maybe<const int32_t> face_offsets, bool from_mesh, double min_area, double max_distance) {
        const auto problem = problem_of(points, vertices, faces, point_offsets, face_offsets,
                                        from_mesh, min_area, max_distance);
        check_at_most(problem.num_points + problem.num_faces, 0x7FFFFFFE, "points and faces");
        return point_to_mesh_workspace(problem, points.device());
      },
      "points"_a, "vertices"_a, "faces"_a, "point_offsets"_a.none(), "face_offsets"_a.none(),
      "from_mesh"_a, "min_area"_a, "max_distance"_a);
  module.def(
      "point_to_mesh_cuda",
      [](Floats points, Floats vertices, Rows faces, Maybe<const int32_t> point_offsets,
         Maybe<const int32_t> face_offsets, bool from_mesh, double min_area, double max_distance,
         Tensor<float> distance, Tensor<int32_t> index, Tensor<float> barycentric,
         Tensor<uint8_t> workspace) {
        auto problem = problem_of(points, vertices, faces, point_offsets, face_offsets, from_mesh,
                                  min_area, max_distance);
        problem.distance = distance.data();
        problem.index = index.data();
        problem.barycentric = barycentric.data();
        void* stream = points.stream();
        nb::gil_scoped_release release;
        point_to_mesh_cuda(problem, workspace.data(), points.device(), stream);
      },
      "points"_a, "vertices"_a, "faces"_a, "point_offsets"_a.none(), "face_offsets"_a.none(),
      "from_mesh"_a, "min_area"_a, "max_distance"_a, "distance"_a, "index"_a, "barycentric"_a,
      "workspace"_a);
  module.def(
      "point_to_mesh_backward_workspace_cuda",
      [](Floats grad_distance, Floats points, Floats vertices, Rows faces, Rows index,
         Floats barycentric, bool from_mesh, Maybe<float> grad_points, Maybe<float> grad_vertices) {
        const auto problem = gradient_of(grad_distance, points, vertices, faces, index, barycentric,
                                         from_mesh, grad_points, grad_vertices);
        check_at_most(index.numel(), 0x7FFFFFFF / 3, "distances have a gradient");
        return point_to_mesh_backward_workspace(problem, points.device());
      },
      "grad_distance"_a, "points"_a, "vertices"_a, "faces"_a, "index"_a, "barycentric"_a,
      "from_mesh"_a, "grad_points"_a.none(), "grad_vertices"_a.none());
  module.def(
      "point_to_mesh_backward_cuda",
      [](Floats grad_distance, Floats points, Floats vertices, Rows faces, Rows index,
         Floats barycentric, bool from_mesh, Maybe<float> grad_points, Maybe<float> grad_vertices,
         Tensor<uint8_t> workspace) {
        const auto problem = gradient_of(grad_distance, points, vertices, faces, index, barycentric,
                                         from_mesh, grad_points, grad_vertices);
        void* stream = points.stream();
        nb::gil_scoped_release release;
        point_to_mesh_backward_cuda(problem, workspace.data(), points.device(), stream);
      },
      "grad_distance"_a, "points"_a, "vertices"_a, "faces"_a, "index"_a, "barycentric"_a,
      "from_mesh"_a, "grad_points"_a.none(), "grad_vertices"_a.none(), "workspace"_a);
}
#endif

}  // namespace

void bind_point_to_mesh(nb::module_& module) {
  bind<float>(module);
  bind<double>(module);
#ifdef G2VLM_WITH_CUDA
  bind_cuda(module);
#endif
}

}  // namespace g2vlm::python
