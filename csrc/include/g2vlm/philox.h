// Philox-4x32-10, a counter-based random generator (Salmon, Moraes, Dror and Shaw, "Parallel Random
// Numbers: As Easy as 1, 2, 3", 2011): what it returns depends on its counter and key alone.
#pragma once

#include <cstdint>

namespace g2vlm {

constexpr int kPhiloxRounds = 10;
constexpr uint32_t kPhiloxMultiplier[2] = {0xD2511F53u, 0xCD9E8D57u};
constexpr uint32_t kPhiloxWeyl[2] = {0x9E3779B9u, 0xBB67AE85u};

// One round of `Width` counters: counter[word][lane].
template <int Width>
inline void philox_round(uint32_t (&counter)[4][Width], uint32_t key0, uint32_t key1) {
  for (int lane = 0; lane < Width; ++lane) {
    const uint64_t first = uint64_t{kPhiloxMultiplier[0]} * counter[0][lane];
    const uint64_t second = uint64_t{kPhiloxMultiplier[1]} * counter[2][lane];
    counter[0][lane] = static_cast<uint32_t>(second >> 32) ^ counter[1][lane] ^ key0;
    counter[2][lane] = static_cast<uint32_t>(first >> 32) ^ counter[3][lane] ^ key1;
    counter[1][lane] = static_cast<uint32_t>(second);
    counter[3][lane] = static_cast<uint32_t>(first);
  }
}

// Replaces `Width` counters by the random words that belong to them.
template <int Width>
inline void philox_4x32_10(uint32_t (&counter)[4][Width], uint64_t key) {
  uint32_t key0 = static_cast<uint32_t>(key), key1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < kPhiloxRounds; ++round) {
    philox_round(counter, key0, key1);
    key0 += kPhiloxWeyl[0];
    key1 += kPhiloxWeyl[1];
  }
}

}  // namespace g2vlm
