// Memory for weights and keys: zeroed, aligned, on huge pages where the system grants them.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <new>
#include <utility>

namespace stoker {

constexpr size_t CACHE_LINE = 64;

// An array of floats straight from the system. Pages that nobody touches cost nothing. Throws std::bad_alloc.
class FloatArray {
 public:
  FloatArray() = default;

  explicit FloatArray(size_t count) : bytes_(count * sizeof(float)) {
    if (bytes_ == 0) return;
    void* pages = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<float*>(pages);
#ifdef MADV_HUGEPAGE
    madvise(pages, bytes_, MADV_HUGEPAGE);  // a refusal costs speed only
#endif
  }

  FloatArray(FloatArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}

  FloatArray& operator=(FloatArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  ~FloatArray() {
    if (data_) munmap(data_, bytes_);
  }

  float* data() { return data_; }
  const float* data() const { return data_; }
  size_t size() const { return bytes_ / sizeof(float); }

  // Have the system hand out all pages now, so that no step waits for them.
  void touch() {
    constexpr size_t SMALLEST_PAGE = 4096 / sizeof(float);
    for (size_t index = 0; index < size(); index += SMALLEST_PAGE) data_[index] = 0;
  }

  // Make room for `count` floats; what was there is lost when it has to grow.
  float* at_least(size_t count) {
    if (size() < count) *this = FloatArray(count);
    return data_;
  }

 private:
  float* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace stoker
