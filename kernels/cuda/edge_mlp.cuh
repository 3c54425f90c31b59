// What a warp holds while it takes the maxima of two-layer messages.
//
// The product is transposed, message^T = weight^T hidden^T, and both orders that a product leaves
// free are chosen so that no lane asks another one for anything. Lane 4 g + t is called (g, t).
//   Hidden channels: a lane makes the operand of the product from 16 bytes of a row at a time,
//   channels 32 piece + 8 t ... + 7, which serve two steps of 16.
//   Columns: tile j of a group of four rows has their slots 2 j and 2 j + 1, row by row, so that
//   all messages of a row arrive in one lane: those of row t in the lanes (g, t).
//   Channels: a pair of products of 16 gives a lane four neighbours, 32 pair + 4 g ... + 3.
#pragma once

#include "g2vlm/edge_mlp.h"
#include "graph_rows.cuh"
#include "tensor_core.cuh"

namespace g2vlm {

constexpr int kBlockChannels = 128;  // of a block of threads

template <class T>
struct EdgeMlp {
  const T* a;
  const T* b;
  const T* weight;
  const T* bias;
  T* out;
  Winners winners;
  Csr graph;
  int32_t hidden;
  int32_t channels;
  Activation activation;
};

// What a warp takes at a time: kGroups of four rows, 2 kTiles slots of each.
template <int kPieces_, int kGroups_, int kTiles_>
struct EdgeTile {
  static constexpr int kPieces = kPieces_;  // of 32 hidden channels
  static constexpr int kGroups = kGroups_;
  static constexpr int kTiles = kTiles_;
  static constexpr int kSteps = 2 * kPieces;
  static constexpr int kSlots = 2 * kTiles;
  static constexpr int kRows = 4 * kGroups;
  static constexpr uint32_t kAllSlots = (1u << kSlots) - 1;
  static constexpr uint32_t kFull = (1u << kGroups * kSlots) - 1;
  // Hidden rows alone fill kPieces kGroups kTiles 4 registers of a thread.
  static constexpr int kThreads = kPieces * kGroups * kTiles > 16 ? 384 : 512;
};

struct RowEdges {
  int32_t begin, degree;
};

inline __device__ RowEdges row_edges(const Csr& graph, int64_t row) {
  if (row >= graph.num_rows) return {0, 0};
  const RowRange range = row_range(graph.offsets, row, graph.num_edges);
  return {range.begin, range.end - range.begin};
}

inline __device__ float2 floats_of(__nv_bfloat162 pair) {
  return __bfloat1622float2(pair);
}
inline __device__ float2 floats_of(__half2 pair) {
  return __half22float2(pair);
}
template <class Pair>
__device__ Pair pair_of(float2 floats);
template <>
__device__ inline __nv_bfloat162 pair_of(float2 floats) {
  return __float22bfloat162_rn(floats);
}
template <>
__device__ inline __half2 pair_of(float2 floats) {
  return __float22half2_rn(floats);
}
template <class T>
struct PairOf;
template <>
struct PairOf<__nv_bfloat16> {
  using type = __nv_bfloat162;
};
template <>
struct PairOf<__half> {
  using type = __half2;
};

// z / (1 + e^-z) to 16 bits, more than 16-bit floats hold; -0 below -87.
inline __device__ float silu(float z) {
  float power, inverse;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(-1.442695041f * z));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(inverse) : "f"(1.0f + power));
  return z * inverse;
}

// Activations of two channels at a time come in two kinds, each one code without branches.
template <class T, bool kPacked>
struct Activate;

// `none` and `relu`: the larger one of the sum and a floor. A sum of two 16-bit floats that is
// rounded to 16 bits is the same with and without the step over float.
template <class T>
struct Activate<T, true> {
  using Pair = typename PairOf<T>::type;
  Pair floor;

  __device__ explicit Activate(Activation activation) {
    const float lowest = activation == Activation::kRelu ? 0.0f : -INFINITY;
    floor = pair_of<Pair>({lowest, lowest});
  }
  __device__ Pair operator()(Pair a, Pair b) const { return __hmax2_nan(__hadd2(a, b), floor); }
};

// `leaky_relu` and `silu`.
template <class T>
struct Activate<T, false> {
  using Pair = typename PairOf<T>::type;
  bool is_silu;

  __device__ explicit Activate(Activation activation) : is_silu(activation == Activation::kSilu) {}
  __device__ Pair operator()(Pair a, Pair b) const {
    const float2 x = floats_of(a), y = floats_of(b);
    return pair_of<Pair>({of(x.x + y.x), of(x.y + y.y)});
  }

 private:
  __device__ float of(float z) const {
    const float smooth = silu(z), leaky = z > 0.0f ? z : static_cast<float>(kLeakySlope) * z;
    return is_silu ? smooth : leaky;
  }
};

template <class T, bool kPacked>
__device__ uint32_t activated_sum(const Activate<T, kPacked>& activate, uint32_t a, uint32_t b) {
  typename PairOf<T>::type pairs[2];
  memcpy(&pairs[0], &a, 4);
  memcpy(&pairs[1], &b, 4);
  pairs[0] = activate(pairs[0], pairs[1]);
  memcpy(&a, &pairs[0], 4);
  return a;
}

// Copies kBytes into shared memory while other work goes on; zeros where it is not there.
template <int kBytes>
__device__ void copy_later(uint32_t to, const void* from, bool is_there) {
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(from),
                 "r"(is_there ? 16 : 0)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %3, %2;" ::"r"(to), "l"(from),
                 "r"(is_there ? kBytes : 0), "n"(kBytes)
                 : "memory");
}

inline __device__ void wait_for_copies() {
  asm volatile("cp.async.wait_all;" ::: "memory");
  __syncwarp();
}

// The rows of `a` of a warp's tile, on their way into shared memory while other work goes on.
template <class Tile>
struct OwnRows {
  static constexpr int kBytes = Tile::kGroups * Tile::kPieces * 16 * 16;
  uint4* memory;  // [groups][pieces][4 rows][4 lanes]

  template <class T>
  __device__ void request(const EdgeMlp<T>& p, int tile) const {
    const int lane = threadIdx.x & 31, second = lane >> 4;  // two pieces at a time
    const int64_t row = int64_t{tile} * Tile::kRows + (lane >> 2 & 3);
    const int channel = 32 * second + 8 * (lane & 3);
    const T* from = p.a + row * p.hidden + channel;
    const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(memory + lane));
    __syncwarp();
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
      for (int piece = 0; piece < Tile::kPieces; piece += 2) {
        const bool is_there = row + 4 * group < p.graph.num_rows && channel + 32 * piece < p.hidden;
        copy_later<16>(to + (group * Tile::kPieces + piece) * 256,
                       is_there ? from + 4 * group * p.hidden + 32 * piece : p.a, is_there);
      }
  }

  __device__ uint4 load(int group, int piece) const {
    const int lane = threadIdx.x & 31;
    return memory[(group * Tile::kPieces + piece) * 16 + (lane >> 3) * 4 + (lane & 3)];
  }
};

// The hidden rows of a turn as operands of the products, at first the rows of the sources.
template <class Tile>
struct HiddenRows {
  uint4 pieces[Tile::kGroups][Tile::kTiles][Tile::kPieces];

  template <class T, bool kPacked>
  __device__ void add_and_activate(const OwnRows<Tile>& own, const Activate<T, kPacked>& activate) {
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
      for (int piece = 0; piece < Tile::kPieces; ++piece) {
        const uint4 a = own.load(group, piece);
#pragma unroll
        for (int tile = 0; tile < Tile::kTiles; ++tile) {
          uint4& b = pieces[group][tile][piece];
          b.x = activated_sum(activate, a.x, b.x);
          b.y = activated_sum(activate, a.y, b.y);
          b.z = activated_sum(activate, a.z, b.z);
          b.w = activated_sum(activate, a.w, b.w);
        }
      }
  }
};

inline __device__ float max_or_nan(float x, float y) {
  float larger;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(larger) : "f"(x), "f"(y));
  return larger;
}

// The maxima of some rows' messages so far, four channels of each, and the slots of the winners.
struct Best {
  float value[4];
  int32_t slot[4];
};

constexpr int32_t kNoSlot = INT32_MAX;

// The maximum of the messages that are present (the others are -infinity), of NaN if there is one,
// and its first slot.
template <int kSlots>
__device__ void first_maximum(const float (&message)[kSlots], uint32_t present, float& best,
                              int32_t& slot) {
  best = message[0];
#pragma unroll
  for (int s = 1; s < kSlots; ++s) best = max_or_nan(best, message[s]);
  if (best > -INFINITY) {
    slot = kSlots - 1;
#pragma unroll
    for (int s = kSlots - 2; s >= 0; --s)
      if (message[s] == best) slot = s;
    return;
  }
  slot = kNoSlot;
#pragma unroll
  for (int s = 0; s < kSlots; ++s)
    if ((present >> s & 1) != 0 && (slot == kNoSlot || leads(message[s], best)))
      best = message[s], slot = s;
}

// Merges what earlier turns found into what this one, whose slots begin at `first`, has found.
template <bool kWinner>
__device__ void merge(const Best& before, Best& best, int32_t first) {
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    if (!kWinner) {
      best.value[c] = max_or_nan(before.value[c], best.value[c]);
      continue;
    }
    const bool takes_over = best.slot[c] != kNoSlot &&
                            (before.slot[c] == kNoSlot || leads(best.value[c], before.value[c]));
    best.value[c] = takes_over ? best.value[c] : before.value[c];
    best.slot[c] = takes_over ? first + best.slot[c] : before.slot[c];
  }
}

}  // namespace g2vlm
