// Which vector instructions a kernel may use, decided when it runs.
//
// A kernel writes its loop once as a G2VLM_ALWAYS_INLINE function and instantiates it in one
// function per instruction set (G2VLM_AVX2, G2VLM_AVX512), so that the build needs no machine
// flags and one module serves every x86-64. Elsewhere the baseline is all there is.
#pragma once

#if defined(__GNUC__)
#define G2VLM_ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define G2VLM_ALWAYS_INLINE inline
#endif

#if defined(__GNUC__) && defined(__x86_64__)
#define G2VLM_X86_DISPATCH
#define G2VLM_AVX2 __attribute__((target("avx2,fma")))
#define G2VLM_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#endif

namespace g2vlm {

enum class InstructionSet { kBaseline, kAvx2, kAvx512 };

inline InstructionSet instruction_set() {
#ifdef G2VLM_X86_DISPATCH
  static const InstructionSet best = [] {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
      return InstructionSet::kBaseline;
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                   __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
               ? InstructionSet::kAvx512
               : InstructionSet::kAvx2;
  }();
  return best;
#else
  return InstructionSet::kBaseline;
#endif
}

}  // namespace g2vlm
