// A borrowed view of a Python tensor, checked when the argument is converted.
//
// torch publishes the DLPack C exchange API on its tensor type; reading through it costs about
// 0.1 us a tensor. Other array libraries go through nanobind's generic n-d array. A view is valid
// for the duration of the call only.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <cstdint>
#include <string>
#include <type_traits>

#include "g2vlm/half.h"

namespace g2vlm::python {

struct DLDevice {
  int32_t type;
  int32_t id;
};
struct DLDataType {
  uint8_t code;
  uint8_t bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t* shape;
  int64_t* strides;
  uint64_t byte_offset;
};
// Layout of DLPack 1.x `DLPackExchangeAPI`; only the two entries that are used have their types.
struct DLExchangeApi {
  struct {
    uint32_t major, minor;
    void* previous;
  } header;
  void* allocate;
  void* managed_from_object;
  void* managed_to_object;
  int (*view_of_object)(void* object, DLTensor* out);
  int (*current_stream)(int device_type, int32_t device_id, void** out);
};

constexpr int32_t kCpu = 1;
constexpr int32_t kCuda = 2;

template <class T>
struct DType;
#define G2VLM_DTYPE(type, code_, bits_, name_) \
  template <>                                  \
  struct DType<type> {                         \
    static constexpr uint8_t code = code_;     \
    static constexpr uint8_t bits = bits_;     \
    static constexpr char name[] = name_;      \
  };
G2VLM_DTYPE(float, 2, 32, "float32")
G2VLM_DTYPE(double, 2, 64, "float64")
G2VLM_DTYPE(Float16, 2, 16, "float16")
G2VLM_DTYPE(BFloat16, 4, 16, "bfloat16")
G2VLM_DTYPE(bool, 6, 8, "bool")
G2VLM_DTYPE(uint8_t, 1, 8, "uint8")
G2VLM_DTYPE(uint16_t, 1, 16, "uint16")
G2VLM_DTYPE(int32_t, 0, 32, "int32")
G2VLM_DTYPE(int64_t, 0, 64, "int64")
#undef G2VLM_DTYPE

inline const DLExchangeApi* exchange_api(PyTypeObject* type) {
  static thread_local PyTypeObject* cached_type = nullptr;
  static thread_local const DLExchangeApi* cached_api = nullptr;
  if (type == cached_type) return cached_api;
  const DLExchangeApi* api = nullptr;
  PyObject* capsule =
      PyObject_GetAttrString(reinterpret_cast<PyObject*>(type), "__dlpack_c_exchange_api__");
  if (capsule != nullptr) {
    api = static_cast<const DLExchangeApi*>(PyCapsule_GetPointer(capsule, "dlpack_exchange_api"));
    Py_DECREF(capsule);
  }
  PyErr_Clear();
  if (api != nullptr && api->header.major != 1) api = nullptr;
  cached_type = type;
  cached_api = api;
  return api;
}

// A dense, row-major tensor of T. `Tensor<const T>` is read, `Tensor<T>` is written.
template <class T>
class Tensor {
 public:
  T* data() const {
    return reinterpret_cast<T*>(static_cast<char*>(view_.data) + view_.byte_offset);
  }
  int64_t size(int axis) const {
    if (axis >= view_.ndim)
      throw nanobind::value_error(("a tensor has no axis " + std::to_string(axis)).c_str());
    return view_.shape[axis];
  }
  int32_t ndim() const { return view_.ndim; }
  int64_t numel() const {
    int64_t count = 1;
    for (int32_t axis = 0; axis < view_.ndim; ++axis) count *= view_.shape[axis];
    return count;
  }
  bool is_cuda() const { return view_.device.type == kCuda; }
  int32_t device() const { return view_.device.id; }

  // The stream that the framework launches on now, or the default stream.
  void* stream() const {
    void* stream = nullptr;
    if (api_ != nullptr && api_->current_stream != nullptr &&
        api_->current_stream(view_.device.type, view_.device.id, &stream) != 0)
      throw nanobind::python_error();
    return stream;
  }

 private:
  friend struct nanobind::detail::type_caster<Tensor<T>>;
  DLTensor view_{};
  const DLExchangeApi* api_ = nullptr;
  nanobind::ndarray<> owner_;
};

}  // namespace g2vlm::python

namespace nanobind::detail {

// Refuses other dtypes, strided tensors and tensors without storage (meta, fake): such arguments
// raise TypeError instead of being read.
template <class T>
struct type_caster<g2vlm::python::Tensor<T>> {
  using View = g2vlm::python::Tensor<T>;
  using Type = g2vlm::python::DType<std::remove_const_t<T>>;
  NB_TYPE_CASTER(View, const_name("torch.Tensor"))

  bool from_python(handle source, uint32_t, cleanup_list* cleanup) noexcept {
    const auto* api = g2vlm::python::exchange_api(Py_TYPE(source.ptr()));
    if (api != nullptr && api->view_of_object != nullptr) {
      if (api->view_of_object(source.ptr(), &value.view_) != 0) {
        PyErr_Clear();
        return false;
      }
      value.api_ = api;
    } else {
      make_caster<ndarray<>> array;
      if (!array.from_python(source, 0, cleanup)) return false;
      value.owner_ = array.value;
      const ndarray<>& owner = value.owner_;
      value.view_ = {const_cast<void*>(static_cast<const void*>(owner.data())),
                     {owner.device_type(), owner.device_id()},
                     static_cast<int32_t>(owner.ndim()),
                     {owner.dtype().code, owner.dtype().bits, owner.dtype().lanes},
                     const_cast<int64_t*>(owner.shape_ptr()),
                     const_cast<int64_t*>(owner.stride_ptr()),
                     0};
    }
    const auto& view = value.view_;
    if (view.dtype.code != Type::code || view.dtype.bits != Type::bits || view.dtype.lanes != 1)
      return false;
    int64_t expected_stride = 1;
    for (int32_t axis = view.ndim - 1; axis >= 0; --axis) {
      if (view.strides != nullptr && view.shape[axis] != 1 && view.strides[axis] != expected_stride)
        return view_is_empty();
      expected_stride *= view.shape[axis];
    }
    return expected_stride == 0 || view.data != nullptr;
  }

 private:
  bool view_is_empty() const {
    for (int32_t axis = 0; axis < value.view_.ndim; ++axis)
      if (value.view_.shape[axis] == 0) return true;
    return false;
  }
};

}  // namespace nanobind::detail
