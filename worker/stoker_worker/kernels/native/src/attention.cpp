#include "attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "matrix.h"

namespace stoker {

namespace {

constexpr int64_t SCORES_PER_PIECE = 48 * 1024;
constexpr int64_t QUERIES_PER_PIECE = 32;
constexpr int PIECES_PER_THREAD = 4;

// The keys that a piece reads: whole blocks [first, last), and the number of keys in the last one.
struct KeyRange {
  int64_t first_block, last_block, keys_in_last;

  KeyRange(const AttentionPiece& piece, int64_t window, int64_t block_size) {
    const int64_t oldest = window ? std::max<int64_t>(0, piece.first_position - window + 1) : 0;
    const int64_t keys = piece.first_position + piece.queries;
    first_block = oldest / block_size;
    last_block = (keys + block_size - 1) / block_size;
    keys_in_last = keys - (last_block - 1) * block_size;
  }

  int64_t blocks() const { return last_block - first_block; }
};

// Rows of queries as one matrix [queries · heads, head_dim], scaled so that products are scores.
void collect_queries(const AttentionPiece& piece, const HeadShape& shape, const float* q, int64_t q_stride, float* to) {
  const float scale = 1.0f / std::sqrt(static_cast<float>(shape.head_dim));
  const int64_t width = int64_t{piece.heads} * shape.head_dim;
  for (int64_t query = 0; query < piece.queries; ++query) {
    const float* from = q + (piece.first_token + query) * q_stride + piece.first_head * shape.head_dim;
    for (int64_t i = 0; i < width; ++i) to[query * width + i] = from[i] * scale;
  }
}

// acc [rows, panels · 16] += x [rows, inputs] · matrix [inputs, panels · 16], whose rows are `stride` apart; fetches `ahead` meanwhile.
void multiply_block(int64_t rows, const float* x, int64_t x_stride, const float* matrix, int64_t stride, int64_t inputs,
                    float* acc, int64_t acc_stride, int64_t panels, const float* ahead) {
  for (int64_t panel = 0; panel < panels; ++panel) {
    for (int64_t row = 0; row < rows; row += TILE_ROWS) {
      multiply_rows(static_cast<int>(std::min<int64_t>(TILE_ROWS, rows - row)), x + row * x_stride, x_stride,
                    matrix + panel * PANEL, stride, inputs, acc + row * acc_stride + panel * PANEL, acc_stride,
                    ahead + panel * inputs * PANEL, row ? 0 : inputs);
    }
  }
}

// scores [rows, blocks · block_size] = queries · keysᵀ. While a block's keys are used, the next one's are fetched.
void score_keys(const AttentionPiece& piece, const HeadShape& shape, const KeyRange& range, const LayerCache& cache,
                const float* queries, int64_t rows, float* scores) {
  const int64_t block_size = cache.block_size(), kv_head = piece.first_head / shape.group();
  const int64_t span = range.blocks() * block_size;
  std::fill_n(scores, rows * span, 0.0f);
  for (int64_t block = range.first_block; block < range.last_block; ++block) {
    const int64_t next = std::min(block + 1, range.last_block - 1);
    multiply_block(rows, queries, shape.head_dim, cache.keys(piece.block_table[block], kv_head), block_size,
                   shape.head_dim, scores + (block - range.first_block) * block_size, span, block_size / PANEL,
                   cache.keys(piece.block_table[next], kv_head));
  }
}

// values [rows, padded head_dim] = weights · values. Keys past the sequence's end are not read: whoever had the block before may
// have left a NaN there.
void sum_values(const AttentionPiece& piece, const HeadShape& shape, const KeyRange& range, const LayerCache& cache,
                const float* weights, int64_t rows, float* values) {
  const int64_t block_size = cache.block_size(), stride = padded(shape.head_dim);
  const int64_t kv_head = piece.first_head / shape.group(), span = range.blocks() * block_size;
  std::fill_n(values, rows * stride, 0.0f);
  for (int64_t block = range.first_block; block < range.last_block; ++block) {
    const bool is_last = block + 1 == range.last_block;
    const int64_t next = is_last ? block : block + 1;
    multiply_block(rows, weights + (block - range.first_block) * block_size, span,
                   cache.values(piece.block_table[block], kv_head), shape.head_dim,
                   is_last ? range.keys_in_last : block_size, values, stride, stride / PANEL,
                   cache.values(piece.block_table[next], kv_head));
  }
}

// Turn the scores of keys [begin, end) into weights, all others into 0; returns the weights' sum.
float exponentiate(float* scores, int64_t span, int64_t begin, int64_t end) {
  constexpr float HIDDEN = -std::numeric_limits<float>::infinity();
  std::fill(scores, scores + begin, HIDDEN);
  std::fill(scores + end, scores + span, HIDDEN);
  Vector best = broadcast(HIDDEN);
  for (int64_t key = 0; key < span; key += VECTOR) best = greater(best, load(scores + key));
  const float highest = maximum(best);
  Vector total{};
  for (int64_t key = 0; key < span; key += VECTOR) {
    const Vector weight = exponential(load(scores + key) - highest);
    store(scores + key, weight);
    total += weight;
  }
  return sum(total);
}

}  // namespace

LayerCache::LayerCache(const HeadShape& shape, int64_t blocks, int64_t block_size)
    : kv_heads_(shape.kv_heads),
      head_dim_(shape.head_dim),
      block_size_(block_size),
      data_(blocks * kv_heads_ * 2 * head_dim_ * block_size + PANEL) {}

void LayerCache::write(int64_t slot, int64_t head, const float* key, const float* value) {
  const int64_t block = slot / block_size_, place = slot % block_size_;
  float* keys = data_.data() + offset(block, head);
  float* values = keys + head_dim_ * block_size_ + place * head_dim_;
  for (int64_t dim = 0; dim < head_dim_; ++dim) keys[dim * block_size_ + place] = key[dim];
  std::copy_n(value, head_dim_, values);
}

std::vector<AttentionPiece> divide(const Sequences& sequences, const HeadShape& shape, int threads) {
  std::vector<AttentionPiece> pieces;
  const bool few = sequences.count * shape.kv_heads < PIECES_PER_THREAD * threads;
  for (int64_t index = 0; index < sequences.count; ++index) {
    const int64_t begin = sequences.query_starts[index], end = sequences.query_starts[index + 1];
    const int64_t context = sequences.context_lens[index];
    const int32_t heads = few && end - begin == 1 ? 1 : shape.group();
    const int64_t largest = std::clamp<int64_t>(SCORES_PER_PIECE / (context * heads), 1, QUERIES_PER_PIECE);
    for (int64_t token = begin; token < end; token += largest)
      for (int32_t head = 0; head < shape.heads; head += heads)
        pieces.push_back({sequences.block_tables + index * sequences.table_width, token, std::min(largest, end - token),
                          context - (end - token), head, heads});
  }
  return pieces;
}

void attend(const AttentionPiece& piece, const HeadShape& shape, const LayerCache& cache, const float* q,
            int64_t q_stride, float* out, int64_t out_stride, AttentionScratch& scratch) {
  const KeyRange range(piece, shape.window, cache.block_size());
  const int64_t rows = piece.queries * piece.heads, span = range.blocks() * cache.block_size();
  const int64_t value_stride = padded(shape.head_dim);
  float* queries = scratch.queries.at_least(rows * shape.head_dim);
  float* scores = scratch.scores.at_least(rows * span);
  float* sums = scratch.sums.at_least(rows);
  float* values = scratch.values.at_least(rows * value_stride);
  collect_queries(piece, shape, q, q_stride, queries);
  score_keys(piece, shape, range, cache, queries, rows, scores);
  for (int64_t row = 0; row < rows; ++row) {
    const int64_t position = piece.first_position + row / piece.heads - range.first_block * cache.block_size();
    const int64_t oldest = shape.window ? std::max<int64_t>(0, position - shape.window + 1) : 0;
    sums[row] = exponentiate(scores + row * span, span, oldest, position + 1);
  }
  sum_values(piece, shape, range, cache, scores, rows, values);
  for (int64_t row = 0; row < rows; ++row) {
    float* to = out + (piece.first_token + row / piece.heads) * out_stride +
                (piece.first_head + row % piece.heads) * shape.head_dim;
    for (int64_t dim = 0; dim < shape.head_dim; ++dim)
      to[dim] = values[row * value_stride + dim] / sums[row];
  }
}

}  // namespace stoker
