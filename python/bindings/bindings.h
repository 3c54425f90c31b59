// One `bind_<stem>` per op; module.cpp calls them all.
#pragma once

#include <nanobind/nanobind.h>

#include "tensor.h"

namespace g2vlm::python {

void bind_nearest(nanobind::module_& module);

}  // namespace g2vlm::python
