// Memory of the host that the device writes to.
#pragma once

#include "common.cuh"

namespace g2vlm {

// One value of this thread, the same at every call: who has the device write to it waits for that
// before it returns.
template <class T>
T* pinned() {
  struct Memory {
    T* value = nullptr;
    Memory() {
      check_cuda(cudaHostAlloc(reinterpret_cast<void**>(&value), sizeof(T), cudaHostAllocPortable),
                 "cudaHostAlloc");
    }
    ~Memory() { (void)cudaFreeHost(value); }
  };
  static thread_local Memory memory;
  return memory.value;
}

}  // namespace g2vlm
