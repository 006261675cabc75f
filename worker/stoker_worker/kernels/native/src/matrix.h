// Weights in panels, and the product of activations with them.
#pragma once

#include <cstdint>

#include "memory.h"
#include "threads.h"
#include "vector.h"

namespace stoker {

// Outputs that are computed together: a cache line of floats.
constexpr int PANEL = 16;
constexpr int PANEL_VECTORS = PANEL / VECTOR;

constexpr int64_t panels_of(int64_t outputs) { return (outputs + PANEL - 1) / PANEL; }
constexpr int64_t padded(int64_t outputs) { return panels_of(outputs) * PANEL; }

// What becomes of a product's outputs.
enum class Epilogue {
  STORE,   // out = product
  ADD,     // out += product: a residual stream
  SWIGLU,  // out = silu(gate) · up, from panels that hold a half of each: the output has half the columns
};

// A linear layer's weight [outputs, inputs] and bias.
//
// Panel p holds outputs 16p … 16p+15 as [inputs, 16], so that a product reads it once and in order. Gate and up of a SwiGLU stand
// interleaved by halves of a panel, so that the activation is applied while both are in registers.
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t outputs, int64_t inputs)
      : outputs_(outputs), inputs_(inputs), weights_(panels_of(outputs) * PANEL * inputs) {}

  int64_t inputs() const { return inputs_; }
  int64_t panels() const { return panels_of(outputs_); }
  const float* panel(int64_t index) const { return weights_.data() + index * PANEL * inputs_; }
  const float* bias(int64_t panel) const { return bias_.size() ? bias_.data() + panel * PANEL : nullptr; }

  // Where output `row` of one projection among several stands in the whole.
  struct Placement {
    int64_t first = 0;
    int half = -1;  // of a panel: 0 gate, 1 up, -1 the panel is not shared

    int64_t output(int64_t row) const;
  };

  void set_weight(const float* rows, int64_t count, Placement placement, ThreadPool& threads);
  void set_bias(const float* values, int64_t count, Placement placement);

  // Copy the weights of one output: [inputs].
  void copy_output(int64_t output, float* to) const;

 private:
  int64_t outputs_ = 0;
  int64_t inputs_ = 0;
  FloatArray weights_;
  FloatArray bias_;
};

// out [rows, ·] = x [rows, inputs] · weightᵀ + bias, as `epilogue` says. Strides are in floats. Rows of `out` have room for padded
// panels. An output's value depends on its row alone: sums run over the inputs in order, whatever the rows beside it and the threads.
void multiply(const Matrix& matrix, const float* x, int64_t x_stride, int64_t rows, float* out, int64_t out_stride,
              Epilogue epilogue, ThreadPool& threads);

// acc [rows, 16] += x [rows, inputs] · panel [inputs, 16] for up to TILE_ROWS rows; prefetches `lines` cache lines from `ahead` on
// meanwhile.
void multiply_rows(int rows, const float* x, int64_t x_stride, const float* panel, int64_t panel_stride, int64_t inputs,
                   float* acc, int64_t acc_stride, const float* ahead, int64_t lines);

}  // namespace stoker
