// More neighbours than a sorted list is fast for, kept in the memory of the results.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>

namespace g2vlm {

constexpr int32_t kMostListed = 64;  // neighbours that are kept in a sorted list

// The first k pairs by (distance, index) of those that are put in: a heap whose root is the last of
// them, until `finish` sorts it. A pair enters a full heap in place of the root.
template <class T>
struct NearestHeap {
  T* distance;
  int32_t* index;
  int32_t k;
  int32_t found;

  bool full() const { return found == k; }

  // Of a full heap, only in front of the root.
  void put(T value, int32_t candidate) {
    if (full()) {
      sift_down(value, candidate, k);
    } else {
      sift_up(value, candidate);
    }
  }

  // By rising (distance, index); slots without a neighbour hold infinity and -1.
  void finish() {
    for (int32_t last = found - 1; last > 0; --last) {
      const T value = std::exchange(distance[last], distance[0]);
      const int32_t candidate = std::exchange(index[last], index[0]);
      sift_down(value, candidate, last);
    }
    std::fill(distance + found, distance + k, std::numeric_limits<T>::infinity());
    std::fill(index + found, index + k, -1);
  }

 private:
  static bool before(T value, int32_t candidate, T other, int32_t other_candidate) {
    return value < other || (value == other && candidate < other_candidate);
  }

  void move(int32_t from, int32_t to) {
    distance[to] = distance[from];
    index[to] = index[from];
  }

  void sift_up(T value, int32_t candidate) {
    int32_t slot = found++;
    for (; slot > 0; slot = (slot - 1) / 2) {
      const int32_t above = (slot - 1) / 2;
      if (!before(distance[above], index[above], value, candidate)) break;
      move(above, slot);
    }
    distance[slot] = value;
    index[slot] = candidate;
  }

  // Puts a pair in place of the root of the first `size` slots.
  void sift_down(T value, int32_t candidate, int32_t size) {
    int32_t slot = 0;
    for (int64_t below = 1; below < size; below = 2 * int64_t{slot} + 1) {
      auto later = static_cast<int32_t>(below);
      if (later + 1 < size &&
          before(distance[later], index[later], distance[later + 1], index[later + 1]))
        ++later;
      if (!before(value, candidate, distance[later], index[later])) break;
      move(later, slot);
      slot = later;
    }
    distance[slot] = value;
    index[slot] = candidate;
  }
};

}  // namespace g2vlm
