// Groups points by the voxels of a grid, on CUDA, in two steps between which the caller reads what
// box of voxels the points fill.
//
// Contract: voxel (i, j, k) holds the points with floor(position / size) == (i, j, k) in float64.
// Groups are in order of segment, i, j and k, and the points of a group in order of their index.
#pragma once

#include <cstddef>
#include <cstdint>

namespace g2vlm {

struct VoxelPoints {
  const float* position;   // [count, 3]
  const int32_t* offsets;  // [segments + 1] or null for one segment
  int64_t count;           // at least 1, below 2^31
  int32_t segments;
  double size;  // edge of a voxel
};

// The voxels from `low` on; segments * extent[0] * extent[1] * extent[2] <= 2^62, and no voxel is
// farther than 2^52 from the origin.
struct VoxelGrid {
  double low[3];
  int64_t extent[3];
};

struct VoxelGroups {
  int32_t* order;            // [count], the points by group
  int32_t* order_again;      // [count], the same
  int32_t* slot;             // [count], the place of each point in `order`
  int32_t* assignment;       // [count], the group of each point
  int32_t* numbers;          // [count + 1], from 0 to count
  int32_t* row_offsets;      // [count + 1]; behind the number of groups it is not written
  int32_t* segment_offsets;  // [segments + 1], the groups of each segment
};

struct VoxelBounds {
  double low[3], high[3];  // the lowest voxel along each axis, and the highest
  bool are_finite;         // whether all positions are; else the bounds are any numbers
};

// These run on `stream` of `device` and throw std::runtime_error on launch errors. Each waits until
// what it returns is known.
//
// `space` is for partial results of `size / 7` blocks, at least one.
VoxelBounds voxel_bounds_cuda(const VoxelPoints& points, double* space, int64_t size, int device,
                              void* stream);

// Positions are finite, and the voxels of all of them in `grid`. Returns how many groups there are;
// what else it does may still be to come.
int32_t voxel_groups_cuda(const VoxelPoints& points, const VoxelGrid& grid,
                          const VoxelGroups& groups, void* workspace, int device, void* stream);

size_t voxel_groups_workspace(const VoxelPoints& points, const VoxelGrid& grid, int device);

}  // namespace g2vlm
