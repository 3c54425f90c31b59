// Persistent blocks of threads keep the second map in shared memory, in the order in which lanes
// take it, and their warps walk over tiles of rows. A row of more slots than a tile has takes more
// turns, between which its maxima wait in shared memory.
#include <algorithm>
#include <string>

#include "edge_mlp.cuh"

namespace g2vlm {
namespace {

// Where the maxima of a warp's rows wait: four channels of a row for each lane.
template <class Tile, bool kWinner>
struct Waiting {
  static constexpr int kBytes = kBlockChannels / 32 * Tile::kGroups * 32 * (kWinner ? 32 : 16);
  float4* values;
  int4* slots;

  __device__ Waiting(uint4* memory)
      : values(reinterpret_cast<float4*>(memory)),
        slots(reinterpret_cast<int4*>(memory + kBlockChannels * Tile::kGroups)) {}

  __device__ static int place(int pair, int group) {
    return (pair * Tile::kGroups + group) * 32 + (threadIdx.x & 31);
  }
  __device__ Best load(int pair, int group) const {
    const float4 value = values[place(pair, group)];
    const int4 slot = kWinner ? slots[place(pair, group)] : int4{};
    return {{value.x, value.y, value.z, value.w}, {slot.x, slot.y, slot.z, slot.w}};
  }
  __device__ void store(int pair, int group, const Best& best) const {
    const auto& [value, slot] = best;
    values[place(pair, group)] = {value[0], value[1], value[2], value[3]};
    if (kWinner) slots[place(pair, group)] = {slot[0], slot[1], slot[2], slot[3]};
  }
};

// Lays the channels of a block out as operands of the products, [channels / 16][steps][32 lanes].
template <class T, class Tile>
__device__ void load_map(const EdgeMlp<T>& p, int first_channel, int pairs, uint4* map) {
  const auto weight = [&](int hidden, int channel) -> uint32_t {
    if (hidden >= p.hidden || channel >= p.channels) return 0;
    return __ldg(
        reinterpret_cast<const uint32_t*>(p.weight + int64_t{hidden} * p.channels + channel));
  };
#pragma unroll 2
  for (int i = threadIdx.x; i < 2 * pairs * Tile::kSteps * 32; i += blockDim.x) {
    const int g = i >> 2 & 7, t = i & 3, step = i / 32 % Tile::kSteps;
    const int rows = i / 32 / Tile::kSteps;
    const int channel = first_channel + rows / 2 * 32 + 4 * g + rows % 2 * 2;
    const int hidden = step / 2 * 32 + 8 * t + step % 2 * 4;
    uint32_t two[4];  // channels of each hidden channel
#pragma unroll
    for (int k = 0; k < 4; ++k) two[k] = weight(hidden + k, channel);
    map[i] = {__byte_perm(two[0], two[1], 0x5410), __byte_perm(two[0], two[1], 0x7632),
              __byte_perm(two[2], two[3], 0x5410), __byte_perm(two[2], two[3], 0x7632)};
  }
}

// The sources of the edges that a warp takes in a turn, on their way into shared memory.
template <class Tile>
struct Columns {
  static constexpr int kBytes = Tile::kGroups * Tile::kTiles * 32 * 4;
  int32_t* memory;  // [groups][tiles][32 lanes]

  // Asks for this lane's slots from `first` on; returns a bit for each that there is.
  __device__ uint32_t request(const Csr& graph, const RowEdges (&edges)[Tile::kGroups],
                              int32_t first) const {
    const int lane = threadIdx.x & 31;
    const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(memory + lane));
    uint32_t asked = 0;
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
      for (int tile = 0; tile < Tile::kTiles; ++tile) {
        const int32_t slot = 2 * tile + (lane >> 2 & 1);
        const int i = group * Tile::kTiles + tile;
        if (edges[group].degree - slot <= first) continue;
        asked |= 1u << i;
        copy_later<4>(to + i * 128, graph.columns + (edges[group].begin + first + slot), true);
      }
    return asked;
  }

  // What has been asked for, -1 where no edge is.
  __device__ int32_t load(const Csr& graph, uint32_t asked, int group, int tile) const {
    const int i = group * Tile::kTiles + tile;
    const int32_t source = memory[i * 32 + (threadIdx.x & 31)];
    return (asked >> i & 1) != 0 && in_range(source, graph.num_sources) ? source : -1;
  }
};

// Loads the rows of the sources; returns which slots of row t of each group have edges, kSlots bits
// a group.
template <class T, class Tile>
__device__ uint32_t gather(const EdgeMlp<T>& p, const Columns<Tile>& columns, uint32_t asked,
                           HiddenRows<Tile>& hidden) {
  const int t = threadIdx.x & 3;
  uint32_t present = 0;
#pragma unroll
  for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
    for (int tile = 0; tile < Tile::kTiles; ++tile) {
      const int32_t source = columns.load(p.graph, asked, group, tile);
      const uint32_t lanes = __ballot_sync(kAllLanes, source >= 0) >> (8 * t);
      present |= ((lanes & 1) | (lanes >> 3 & 2)) << (group * Tile::kSlots + 2 * tile);
      const int channels = source < 0 ? 0 : p.hidden - 8 * t;
      const T* row = p.b + int64_t{source} * p.hidden + 8 * t;
#pragma unroll
      for (int piece = 0; piece < Tile::kPieces; ++piece)
        hidden.pieces[group][tile][piece] =
            channels > 32 * piece ? __ldg(reinterpret_cast<const uint4*>(row + 32 * piece))
                                  : uint4{};
    }
  return present;
}

// The maxima of the slots of one turn, of the four channels of a pair.
template <class T, class Tile, bool kWinner>
__device__ void maxima(const uint4* map, const HiddenRows<Tile>& hidden, uint32_t present,
                       Best (&best)[Tile::kGroups]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float message[Tile::kGroups][Tile::kTiles][4] = {};
#pragma unroll
    for (int step = 0; step < Tile::kSteps; ++step) {
      const uint4 weight = map[(half * Tile::kSteps + step) * 32];
#pragma unroll
      for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
        for (int tile = 0; tile < Tile::kTiles; ++tile) {
          const uint4& piece = hidden.pieces[group][tile][step / 2];
          const uint2 right = step % 2 == 0 ? uint2{piece.x, piece.y} : uint2{piece.z, piece.w};
          multiply_add_16x8<T>(message[group][tile], weight, right);
        }
    }
    if (present != Tile::kFull) {
#pragma unroll
      for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
        for (int slot = 0; slot < Tile::kSlots; ++slot)
          if ((present >> (group * Tile::kSlots + slot) & 1) == 0)
            message[group][slot / 2][slot % 2] = message[group][slot / 2][2 + slot % 2] = -INFINITY;
    }
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group)
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float of_channel[Tile::kSlots];
#pragma unroll
        for (int slot = 0; slot < Tile::kSlots; ++slot)
          of_channel[slot] = message[group][slot / 2][2 * c + slot % 2];
        float& value = best[group].value[2 * half + c];
        if constexpr (kWinner) {
          first_maximum(of_channel, present >> (group * Tile::kSlots), value,
                        best[group].slot[2 * half + c]);
        } else {
          value = of_channel[0];
#pragma unroll
          for (int slot = 1; slot < Tile::kSlots; ++slot)
            value = max_or_nan(value, of_channel[slot]);
        }
      }
  }
}

// Writes four channels of a row.
template <class T, bool kWinner>
__device__ void finish(const EdgeMlp<T>& p, int64_t row, int channel, bool is_empty, Best best) {
  if (row >= p.graph.num_rows || channel >= p.channels) return;
  const int64_t at = row * p.channels + channel;
  float bias[4] = {};
  if (p.bias != nullptr) load_floats(p.bias + channel, bias);
#pragma unroll
  for (int c = 0; c < 4; ++c) {
    const bool has_none = kWinner ? best.slot[c] == kNoSlot : is_empty;
    best.value[c] = has_none ? 0.0f : best.value[c] + bias[c];
  }
  store_floats(best.value, p.out + at);
  if constexpr (kWinner) {
#pragma unroll
    for (int c = 0; c < 4; ++c)
      if (best.slot[c] == kNoSlot) best.slot[c] = p.winners.none();
    p.winners.store(at, best.slot);
  }
}

template <class Tile>
constexpr int kMapBytes = kBlockChannels / 16 * Tile::kSteps * 32 * 16;
template <class Tile, bool kWinner>
constexpr int kWarpBytes =
    OwnRows<Tile>::kBytes + Columns<Tile>::kBytes + Waiting<Tile, kWinner>::kBytes;

// The edges of the rows whose slots a lane takes.
template <class Tile>
struct TileEdges {
  RowEdges edges[Tile::kGroups];

  __device__ TileEdges(const Csr& graph, int tile) {
    const int64_t row = int64_t{tile} * Tile::kRows + ((threadIdx.x & 31) >> 3);
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group)
      edges[group] = row_edges(graph, row + 4 * group);
  }

  // Whether a turn from slot `first` on is the last one of the tile.
  __device__ bool end_with(int32_t first) const {
    bool goes_on = false;
#pragma unroll
    for (int group = 0; group < Tile::kGroups; ++group)
      goes_on = goes_on || edges[group].degree - Tile::kSlots > first;
    return !__any_sync(kAllLanes, goes_on);
  }
};

template <class T, class Tile, bool kWinner, bool kPacked>
__global__ void __launch_bounds__(Tile::kThreads, 1) edge_mlp(const EdgeMlp<T> p) {
  extern __shared__ uint4 shared[];
  const int first_channel = blockIdx.y * kBlockChannels;
  const int pairs = (min(p.channels - first_channel, kBlockChannels) + 31) / 32;
  load_map<T, Tile>(p, first_channel, pairs, shared);
  __syncthreads();

  const int warp = threadIdx.x >> 5, lane = threadIdx.x & 31;
  uint4* memory = shared + (kMapBytes<Tile> + warp * kWarpBytes<Tile, kWinner>) / 16;
  const OwnRows<Tile> own{memory};
  const Columns<Tile> columns{reinterpret_cast<int32_t*>(memory + OwnRows<Tile>::kBytes / 16)};
  const Waiting<Tile, kWinner> waiting(memory +
                                       (OwnRows<Tile>::kBytes + Columns<Tile>::kBytes) / 16);
  const Activate<T, kPacked> activate(p.activation);
  const int tiles = (p.graph.num_rows - 1) / Tile::kRows + 1;
  int tile = blockIdx.x * (blockDim.x >> 5) + warp;
  own.request(p, tile);
  const TileEdges<Tile> first_edges(p.graph, tile);
  uint32_t asked = columns.request(p.graph, first_edges.edges, 0);
  bool is_last = first_edges.end_with(0);
  int32_t first = 0;    // slot of this turn
  uint32_t filled = 0;  // as `present`, of all turns of the tile
  while (tile < tiles) {
    const int next_tile = is_last ? tile + gridDim.x * (blockDim.x >> 5) : tile;
    const int32_t next_first = is_last ? 0 : first + Tile::kSlots;
    const TileEdges<Tile> next_edges(p.graph, next_tile);
    HiddenRows<Tile> hidden;
    wait_for_copies();
    const uint32_t present = gather(p, columns, asked, hidden);
    filled |= present;
    hidden.add_and_activate(own, activate);
    // What comes next is asked for before the products, which take longer than the answer.
    if (is_last) own.request(p, next_tile);
    asked = columns.request(p.graph, next_edges.edges, next_first);
    const bool next_is_last = next_edges.end_with(next_first);
#pragma unroll 1
    for (int pair = 0; pair < pairs; ++pair) {
      Best best[Tile::kGroups];
      maxima<T, Tile, kWinner>(shared + pair * 2 * Tile::kSteps * 32 + lane, hidden, present, best);
#pragma unroll
      for (int group = 0; group < Tile::kGroups; ++group) {
        if (first > 0) merge<kWinner>(waiting.load(pair, group), best[group], first);
        if (is_last)
          finish<T, kWinner>(p, int64_t{tile} * Tile::kRows + 4 * group + (lane & 3),
                             first_channel + 32 * pair + (lane >> 2) * 4,
                             (filled >> (group * Tile::kSlots) & Tile::kAllSlots) == 0,
                             best[group]);
        else
          waiting.store(pair, group, best[group]);
      }
    }
    if (is_last) filled = 0;
    // Worked out again: registers are scarce while products are taken.
    asm volatile("" : "+r"(tile), "+r"(first));
    tile = is_last ? tile + gridDim.x * (blockDim.x >> 5) : tile;
    first = is_last ? 0 : first + Tile::kSlots;
    is_last = next_is_last;
  }
  wait_for_copies();  // of rows behind the last; another block may own this memory next
}

template <class T, class Tile, bool kWinner, bool kPacked>
void launch(const EdgeMlp<T>& p, int device, cudaStream_t stream) {
  int processors = 0, most_shared = 0;
  check_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device),
             "cudaDeviceGetAttribute");
  check_cuda(cudaDeviceGetAttribute(&most_shared, cudaDevAttrMaxSharedMemoryPerBlockOptin, device),
             "cudaDeviceGetAttribute");
  const int64_t tiles = (int64_t{p.graph.num_rows} + Tile::kRows - 1) / Tile::kRows;
  // Few tiles spread over all multiprocessors, but a warp alone takes long to load the map.
  const int64_t wanted = std::max<int64_t>(4, (tiles + processors - 1) / processors);
  const int64_t room = (most_shared - kMapBytes<Tile>) / kWarpBytes<Tile, kWinner>;
  const int warps = static_cast<int>(std::min({wanted, room, int64_t{Tile::kThreads / 32}}));
  const int bytes = kMapBytes<Tile> + warps * kWarpBytes<Tile, kWinner>;
  const auto kernel = edge_mlp<T, Tile, kWinner, kPacked>;
  // The same for every call: it is state of the kernel, which threads of the host share.
  const int most_bytes =
      std::min(most_shared, kMapBytes<Tile> + Tile::kThreads / 32 * kWarpBytes<Tile, kWinner>);
  check_cuda(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_bytes),
             "edge_mlp: shared memory");
  const dim3 grid(static_cast<unsigned>(std::min<int64_t>(processors, (tiles + warps - 1) / warps)),
                  blocks_for(p.channels, kBlockChannels));
  kernel<<<grid, 32 * warps, bytes, stream>>>(p);
  check_cuda(cudaGetLastError(), "edge_mlp");
}

// Slots of a tile by the mean degree. Rows of more take more turns; slots that stay empty cost as
// much as others.
template <class T, int kPieces>
void launch_by_degree(const EdgeMlp<T>& p, int device, cudaStream_t stream) {
  const bool is_packed = p.activation == Activation::kNone || p.activation == Activation::kRelu;
  const bool with_winner = p.winners.slots != nullptr;
  const auto run = [&](auto tile) {
    using Tile = decltype(tile);
    const auto start = with_winner
                           ? is_packed ? launch<T, Tile, true, true> : launch<T, Tile, true, false>
                       : is_packed ? launch<T, Tile, false, true>
                                   : launch<T, Tile, false, false>;
    start(p, device, stream);
  };
  const int64_t rows = p.graph.num_rows, edges = p.graph.num_edges;
  if (edges <= 4 * rows) return run(EdgeTile<kPieces, 2, 2>{});
  if (edges <= 6 * rows) return run(EdgeTile<kPieces, 2, 3>{});
  run(EdgeTile<kPieces, 1, 4>{});
}

}  // namespace

template <class T, class Slot>
void edge_mlp_cuda(const EdgeMlpProblem<T, Slot>& p, int device, void* stream_) {
  using D = DeviceType<T>;
  const DeviceGuard guard(device);
  const auto stream = static_cast<cudaStream_t>(stream_);
  if (p.graph.num_rows == 0 || p.channels == 0) return;
  if (p.hidden <= 0 || p.hidden > kEdgeMlpMaxHidden || p.hidden % kEdgeMlpMultiple != 0 ||
      p.channels % kEdgeMlpMultiple != 0 || !aligned(p.a, p.b, p.weight, p.bias, p.out, p.winner))
    throw std::runtime_error(
        "edge_mlp: the CUDA kernel takes 8 to 128 hidden channels, both numbers of channels in "
        "multiples of 8 and tensors from multiples of 16 bytes on, got " +
        std::to_string(p.hidden) + " and " + std::to_string(p.channels) + " channels");
  const EdgeMlp<D> problem{reinterpret_cast<const D*>(p.a),
                           reinterpret_cast<const D*>(p.b),
                           reinterpret_cast<const D*>(p.weight),
                           reinterpret_cast<const D*>(p.bias),
                           reinterpret_cast<D*>(p.out),
                           Winners(p.winner),
                           p.graph,
                           p.hidden,
                           p.channels,
                           p.activation};
  if (p.hidden <= 64)
    launch_by_degree<D, 2>(problem, device, stream);
  else
    launch_by_degree<D, 4>(problem, device, stream);
}

#define G2VLM_INSTANTIATE(T)                                                  \
  template void edge_mlp_cuda(const EdgeMlpProblem<T, uint8_t>&, int, void*); \
  template void edge_mlp_cuda(const EdgeMlpProblem<T, int32_t>&, int, void*);
G2VLM_INSTANTIATE(BFloat16)
G2VLM_INSTANTIATE(Float16)
#undef G2VLM_INSTANTIATE

}  // namespace g2vlm
