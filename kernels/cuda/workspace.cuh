// Device memory that the caller brings, handed out in parts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace g2vlm {

// From null it hands out nothing real and measures what is needed.
class Workspace {
 public:
  explicit Workspace(void* base) : base_(static_cast<char*>(base)) {}
  template <class T>
  T* take(int64_t count) {
    const size_t begin = bytes_;
    bytes_ += (static_cast<size_t>(count) * sizeof(T) + 255) / 256 * 256;
    return base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + begin);
  }
  size_t bytes() const { return bytes_; }

 private:
  char* base_;
  size_t bytes_ = 0;
};

// Bits that numbers from 0 to `largest` need.
inline int bits_of_number(uint64_t largest) {
  int bits = 0;
  for (; largest != 0; largest >>= 1) ++bits;
  return bits;
}

inline unsigned blocks_for(int64_t items, int64_t block) {
  return static_cast<unsigned>((items + block - 1) / block);
}

}  // namespace g2vlm
