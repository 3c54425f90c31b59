// Checks of the thread pool that Python cannot make; exits with the number of the failed one.
#include <atomic>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "g2vlm/parallel.h"

namespace {

bool covers_every_item_once(int64_t count, int64_t grain, int threads) {
  std::vector<std::atomic<int>> visits(count);
  g2vlm::parallel_for(count, grain, threads, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) ++visits[i];
  });
  for (const auto& each : visits)
    if (each != 1) return false;
  return true;
}

bool rethrows_and_goes_on() {
  for (int repeat = 0; repeat < 50; ++repeat) {
    try {
      g2vlm::parallel_for(1000, 1, 4, [](int64_t begin, int64_t) {
        if (begin == 500) throw std::runtime_error("at 500");
      });
      return false;
    } catch (const std::runtime_error& error) {
      if (std::string(error.what()) != "at 500") return false;
    }
  }
  return covers_every_item_once(1000, 7, 4);
}

bool runs_inside_itself() {
  std::atomic<int64_t> sum{0};
  g2vlm::parallel_for(8, 1, 4, [&](int64_t begin, int64_t) {
    g2vlm::parallel_for(100, 10, 4, [&](int64_t inner, int64_t end) {
      for (; inner < end; ++inner) sum += begin * 100 + inner;
    });
  });
  return sum == 799 * 800 / 2;
}

bool serves_callers_at_once() {
  std::atomic<int> good{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i)
    callers.emplace_back([&] {
      for (int repeat = 0; repeat < 100; ++repeat) good += covers_every_item_once(64, 3, 4);
    });
  for (auto& each : callers) each.join();
  return good == 800;
}

}  // namespace

int main() {
  if (!covers_every_item_once(10001, 64, 4) || !covers_every_item_once(3, 64, 4) ||
      !covers_every_item_once(0, 64, 4) || !covers_every_item_once(100, 0, 4))
    return 1;
  if (!rethrows_and_goes_on()) return 2;
  if (!runs_inside_itself()) return 3;
  if (!serves_callers_at_once()) return 4;
  return 0;
}
