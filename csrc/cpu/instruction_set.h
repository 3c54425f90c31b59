// Which vector instructions a kernel may use, decided when it runs.
//
// A kernel writes its loop once as a G2VLM_ALWAYS_INLINE function and instantiates it in one
// function per instruction set (G2VLM_AVX2, G2VLM_AVX512), so that the build needs no machine
// flags and one module serves every x86-64. Elsewhere the baseline is all there is.
// G2VLM_INSTRUCTION_SET=baseline, avx2 or avx512 in the environment lowers the choice: results are
// the same to the bit, and a test holds them to it.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <stdexcept>
#include <string>

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

inline InstructionSet supported_instruction_set() {
#ifdef G2VLM_X86_DISPATCH
  __builtin_cpu_init();
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return InstructionSet::kBaseline;
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                 __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")
             ? InstructionSet::kAvx512
             : InstructionSet::kAvx2;
#else
  return InstructionSet::kBaseline;
#endif
}

inline InstructionSet allowed_instruction_set() {
  const char* value = std::getenv("G2VLM_INSTRUCTION_SET");
  const std::string name = value != nullptr ? value : "";
  if (name == "baseline") return InstructionSet::kBaseline;
  if (name == "avx2") return InstructionSet::kAvx2;
  if (name == "avx512" || name.empty()) return InstructionSet::kAvx512;
  throw std::invalid_argument("G2VLM_INSTRUCTION_SET must be baseline, avx2 or avx512, got '" +
                              name + "'");
}

inline InstructionSet instruction_set() {
  static const InstructionSet chosen =
      std::min(supported_instruction_set(), allowed_instruction_set());
  return chosen;
}

}  // namespace g2vlm
