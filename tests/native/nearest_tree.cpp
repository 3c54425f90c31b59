// Searches hostile points: by a tree, by an index whose points have moved, and by comparing all
// pairs; exits with 1 where they differ.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "g2vlm/nearest.h"
#include "g2vlm/nearest_index.h"
#include "nearest_paths.h"

namespace {

template <class T>
struct Found {
  std::vector<T> distance;
  std::vector<int32_t> index;

  bool operator==(const Found& other) const {
    if (index != other.index) return false;
    for (size_t i = 0; i < distance.size(); ++i) {
      const bool unknown = std::isnan(distance[i]) && std::isnan(other.distance[i]);
      if (!unknown && std::memcmp(&distance[i], &other.distance[i], sizeof(T)) != 0) return false;
    }
    return true;
  }
};

template <class T>
g2vlm::NearestProblem<T> problem_of(const std::vector<T>& query, const std::vector<T>& target,
                                    int dim, int k, int norm, Found<T>& found) {
  g2vlm::NearestProblem<T> problem{};
  problem.query = query.data();
  problem.target = target.data();
  problem.num_queries = static_cast<int64_t>(query.size()) / dim;
  problem.num_targets = static_cast<int64_t>(target.size()) / dim;
  problem.num_segments = 1;
  problem.dim = dim;
  problem.k = k;
  problem.norm = norm;
  problem.max_distance = std::numeric_limits<T>::infinity();
  found.distance.resize(static_cast<size_t>(problem.num_queries * k));
  found.index.resize(static_cast<size_t>(problem.num_queries * k));
  problem.distance = found.distance.data();
  problem.index = found.index.data();
  return problem;
}

template <class T>
std::vector<T> points(std::mt19937& random, int count, int kind) {
  std::normal_distribution<double> normal;
  std::vector<T> values(static_cast<size_t>(count));
  for (T& value : values) {
    const double x = normal(random);
    const auto chance = random() % 16;
    value = static_cast<T>(kind == 0    ? x
                           : kind == 1  ? std::round(2 * x)
                           : kind == 2  ? x * std::exp2(-static_cast<double>(random() % 90))
                           : kind == 3  ? x * 1e38
                           : chance < 2 ? std::numeric_limits<double>::infinity() * (chance - 0.5)
                           : chance < 3 ? std::numeric_limits<double>::quiet_NaN()
                                        : x);
  }
  return values;
}

struct alignas(64) Block {
  uint8_t bytes[64];
};

// Builds over `before` and refits to the targets of the problem.
template <class T>
void search_index(const g2vlm::NearestProblem<T>& problem, const std::vector<T>& before) {
  g2vlm::NearestTargets<T> targets{before.data(), nullptr, problem.num_targets, 1, problem.dim};
  const int64_t size = nearest_index_bytes_cpu(targets);
  std::vector<Block> memory(static_cast<size_t>(2 * size / 64));
  uint8_t *built = memory.data()->bytes, *fitted = built + size;
  nearest_index_build_cpu(targets, built, size, 2);
  targets.target = problem.target;
  nearest_index_refit_cpu(targets, built, size, fitted, size, 2);
  nearest_index_query_cpu(problem, fitted, size, 2);
}

template <class T>
bool agree() {
  std::mt19937 random(0);
  for (int kind = 0; kind < 5; ++kind)
    for (int dim = 1; dim <= 3; ++dim)
      for (int queries : {1, 70, 300})
        for (int targets : {1, 17, 900})
          for (int k : {1, 20, 80})
            for (int norm : {1, 2}) {
              const auto query = points<T>(random, queries * dim, kind);
              const auto target = points<T>(random, targets * dim, kind);
              const auto before = points<T>(random, targets * dim, (kind + 1) % 5);
              Found<T> tree, index, brute;
              const g2vlm::NearestSegment segment{0, queries, 0, targets};
              search_nearest_tree(problem_of(query, target, dim, k, norm, tree), segment, 2);
              search_nearest_brute(problem_of(query, target, dim, k, norm, brute), {segment}, 2);
              search_index(problem_of(query, target, dim, k, norm, index), before);
              if (tree == brute && index == brute) continue;
              std::fprintf(stderr, "kind %d, dim %d, %d queries, %d targets, k %d, norm %d\n", kind,
                           dim, queries, targets, k, norm);
              return false;
            }
  return true;
}

}  // namespace

int main() {
  return agree<float>() && agree<double>() ? 0 : 1;
}
