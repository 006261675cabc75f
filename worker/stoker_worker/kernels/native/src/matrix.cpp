#include "matrix.h"

#include <algorithm>
#include <array>
#include <utility>

namespace stoker {

namespace {

// Rows whose activations stay in the second-level cache while panels pass by, and inputs whose weights stay in the first.
constexpr int64_t BLOCK_ROWS = 96;
constexpr int64_t CHUNK_INPUTS = 256;
constexpr int HALF = PANEL / 2;

// acc [Rows, 16] += x [Rows, inputs] · panel [inputs, 16]; prefetches `lines` cache lines from `ahead` on meanwhile.
template <int Rows>
void multiply_tile(const float* x, int64_t x_stride, const float* panel, int64_t panel_stride, int64_t inputs,
                          float* acc, int64_t acc_stride, const float* ahead, int64_t lines) {
  Vector sums[Rows][PANEL_VECTORS];
  for (int row = 0; row < Rows; ++row)
    for (int v = 0; v < PANEL_VECTORS; ++v) sums[row][v] = load(acc + row * acc_stride + v * VECTOR);
  const auto step = [&](int64_t input) __attribute__((always_inline)) {
    Vector weights[PANEL_VECTORS];
    for (int v = 0; v < PANEL_VECTORS; ++v) weights[v] = load(panel + input * panel_stride + v * VECTOR);
    for (int row = 0; row < Rows; ++row) {
      const float value = x[row * x_stride + input];
      for (int v = 0; v < PANEL_VECTORS; ++v) sums[row][v] += weights[v] * value;
    }
  };
  const int64_t prefetching = lines < inputs ? lines : inputs;
  for (int64_t input = 0; input < prefetching; ++input) {
    __builtin_prefetch(ahead + input * PANEL);
    step(input);
  }
  for (int64_t input = prefetching; input < inputs; ++input) step(input);
  for (int row = 0; row < Rows; ++row)
    for (int v = 0; v < PANEL_VECTORS; ++v) store(acc + row * acc_stride + v * VECTOR, sums[row][v]);
}

using Tile = void (*)(const float*, int64_t, const float*, int64_t, int64_t, float*, int64_t, const float*, int64_t);

template <size_t... Index>
constexpr std::array<Tile, sizeof...(Index)> tiles(std::index_sequence<Index...>) {
  return {multiply_tile<Index + 1>...};
}

constexpr auto TILES = tiles(std::make_index_sequence<TILE_ROWS>());

// Tiles of nearly equal height: eight rows are 4 + 4 rather than 6 + 2.
struct TileSplit {
  int64_t rows;
  int64_t count = (rows + TILE_ROWS - 1) / TILE_ROWS;

  int64_t first(int64_t tile) const { return rows * tile / count; }
};

void finish_row(const float* products, const float* bias, float* out, Epilogue epilogue) {
  float sums[PANEL];
  for (int lane = 0; lane < PANEL; ++lane) sums[lane] = bias ? products[lane] + bias[lane] : products[lane];
  switch (epilogue) {
    case Epilogue::STORE:
      std::copy_n(sums, PANEL, out);
      break;
    case Epilogue::ADD:
      for (int lane = 0; lane < PANEL; ++lane) out[lane] += sums[lane];
      break;
    case Epilogue::SWIGLU:
      for (int lane = 0; lane < HALF; lane += VECTOR) {
        if constexpr (VECTOR <= HALF) {
          store(out + lane, silu(load(sums + lane)) * load(sums + HALF + lane));
        } else {
          float gates[VECTOR] = {};
          std::copy_n(sums, HALF, gates);
          store(gates, silu(load(gates)));
          for (int half = 0; half < HALF; ++half) out[half] = gates[half] * sums[HALF + half];
        }
      }
      break;
  }
}

// One panel's outputs for up to BLOCK_ROWS rows. While a chunk of the panel is used, the next one is fetched.
void multiply_panel(const Matrix& matrix, int64_t index, const float* x, int64_t x_stride, int64_t rows, float* out,
                    int64_t out_stride, Epilogue epilogue) {
  alignas(CACHE_LINE) float acc[BLOCK_ROWS * PANEL];
  std::fill_n(acc, rows * PANEL, 0.0f);
  const TileSplit split{rows};
  const float* panel = matrix.panel(index);
  for (int64_t input = 0; input < matrix.inputs(); input += CHUNK_INPUTS) {
    const int64_t inputs = std::min(CHUNK_INPUTS, matrix.inputs() - input);
    const int64_t lines = (inputs + split.count - 1) / split.count;
    const float* chunk = panel + input * PANEL;
    for (int64_t tile = 0; tile < split.count; ++tile) {
      const int64_t first = split.first(tile);
      multiply_rows(split.first(tile + 1) - first, x + first * x_stride + input, x_stride, chunk, PANEL, inputs,
                    acc + first * PANEL, PANEL, chunk + (inputs + tile * lines) * PANEL, lines);
    }
  }
  const int width = epilogue == Epilogue::SWIGLU ? HALF : PANEL;
  for (int64_t row = 0; row < rows; ++row)
    finish_row(acc + row * PANEL, matrix.bias(index), out + row * out_stride + index * width, epilogue);
}

}  // namespace

void multiply_rows(int rows, const float* x, int64_t x_stride, const float* panel, int64_t panel_stride, int64_t inputs,
                   float* acc, int64_t acc_stride, const float* ahead, int64_t lines) {
  TILES[rows - 1](x, x_stride, panel, panel_stride, inputs, acc, acc_stride, ahead, lines);
}

void multiply(const Matrix& matrix, const float* x, int64_t x_stride, int64_t rows, float* out, int64_t out_stride,
              Epilogue epilogue, ThreadPool& threads) {
  const int64_t blocks = (rows + BLOCK_ROWS - 1) / BLOCK_ROWS;
  // Enough tasks that a slow thread's share can be taken over by the others, few enough that taking them costs nothing.
  const int64_t group = std::max<int64_t>(1, matrix.panels() / (16 * threads.threads()));
  const int64_t groups = (matrix.panels() + group - 1) / group;
  threads.run(static_cast<int>(blocks * groups), [&](int task, int) {
    const int64_t row = task / groups * BLOCK_ROWS, first = task % groups * group;
    const int64_t count = std::min(BLOCK_ROWS, rows - row);
    for (int64_t panel = first; panel < std::min(first + group, matrix.panels()); ++panel)
      multiply_panel(matrix, panel, x + row * x_stride, x_stride, count, out + row * out_stride, out_stride, epilogue);
  });
}

int64_t Matrix::Placement::output(int64_t row) const {
  return half < 0 ? first + row : row / HALF * PANEL + half * HALF + row % HALF;
}

void Matrix::set_weight(const float* rows, int64_t count, Placement placement, ThreadPool& threads) {
  constexpr int64_t ROWS_PER_TASK = 64;
  threads.run(static_cast<int>((count + ROWS_PER_TASK - 1) / ROWS_PER_TASK), [&](int task, int) {
    for (int64_t row = task * ROWS_PER_TASK; row < std::min(count, (task + 1) * ROWS_PER_TASK); ++row) {
      const int64_t output = placement.output(row);
      float* to = weights_.data() + output / PANEL * PANEL * inputs_ + output % PANEL;
      for (int64_t input = 0; input < inputs_; ++input) to[input * PANEL] = rows[row * inputs_ + input];
    }
  });
}

void Matrix::set_bias(const float* values, int64_t count, Placement placement) {
  if (!bias_.size()) bias_ = FloatArray(padded(outputs_));
  for (int64_t row = 0; row < count; ++row) bias_.data()[placement.output(row)] = values[row];
}

void Matrix::copy_output(int64_t output, float* to) const {
  const float* from = panel(output / PANEL) + output % PANEL;
  for (int64_t input = 0; input < inputs_; ++input) to[input] = from[input * PANEL];
}

}  // namespace stoker
