// IEEE arithmetic for a scope, whatever the host program has switched on.
#pragma once

#include <cfenv>

namespace g2vlm {

// Rounds to nearest and keeps denormal numbers, as results must not depend on the caller's mode
// (torch.set_flush_denormal, -ffast-math start-up code); restores the mode when it ends.
class StrictFloatingPoint {
 public:
  StrictFloatingPoint() {
    std::fegetenv(&previous_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~StrictFloatingPoint() { std::fesetenv(&previous_); }
  StrictFloatingPoint(const StrictFloatingPoint&) = delete;
  StrictFloatingPoint& operator=(const StrictFloatingPoint&) = delete;

 private:
  std::fenv_t previous_;
};

}  // namespace g2vlm
