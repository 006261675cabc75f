#include "decoder.h"

#include <algorithm>
#include <cmath>

namespace stoker {

namespace {

FloatArray copy_of(const float* values, int64_t count) {
  FloatArray copy(count);
  std::copy_n(values, count, copy.data());
  return copy;
}

// to = x / √(mean(x²) + ε) · weight (arXiv 1910.07467).
void rms_norm(const float* x, const float* weight, int64_t size, float eps, float* to) {
  Vector squares{};
  int64_t i = 0;
  for (; i + VECTOR <= size; i += VECTOR) squares += load(x + i) * load(x + i);
  float total = sum(squares);
  for (; i < size; ++i) total += x[i] * x[i];
  const float scale = 1.0f / std::sqrt(total / static_cast<float>(size) + eps);
  for (int64_t k = 0; k < size; ++k) to[k] = x[k] * scale * weight[k];
}

// Rotate the pairs (i, i + rope_dim/2) of a head in place (arXiv 2104.09864).
void rotate(float* head, const float* cos, const float* sin, int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[i + half];
    head[i] = a * cos[i] - b * sin[i];
    head[i + half] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

Decoder::Decoder(const StokerShape& shape, int threads)
    : shape_(shape),
      heads_{shape.heads, shape.kv_heads, shape.head_dim, shape.window},
      threads_(threads),
      scratch_(threads),
      head_(shape.vocab, shape.hidden),
      hidden_stride_(padded(shape.hidden)),
      qkv_stride_(padded(int64_t{shape.heads + 2 * shape.kv_heads} * shape.head_dim)),
      attended_stride_(padded(int64_t{shape.heads} * shape.head_dim)),
      inner_stride_(padded(shape.inner)) {
  const int64_t q_rows = int64_t{shape.heads} * shape.head_dim, kv_rows = int64_t{shape.kv_heads} * shape.head_dim;
  for (int index = 0; index < shape.layers; ++index) {
    Layer layer;
    layer.qkv = Matrix(q_rows + 2 * kv_rows, shape.hidden);
    layer.out = Matrix(shape.hidden, q_rows);
    layer.gate_up = Matrix(2 * inner_stride_, shape.hidden);
    layer.down = Matrix(shape.hidden, shape.inner);
    layers_.push_back(std::move(layer));
  }
}

void Decoder::set_tensor(StokerTensor tensor, int index, const float* values) {
  const int64_t q_rows = int64_t{shape_.heads} * shape_.head_dim, kv_rows = int64_t{shape_.kv_heads} * shape_.head_dim;
  const int64_t hidden = shape_.hidden, inner = shape_.inner;
  const auto weight = [&](Matrix& matrix, int64_t rows, Matrix::Placement placement = {}) {
    matrix.set_weight(values, rows, placement, threads_);
  };
  switch (tensor) {
    case STOKER_EMBEDDING: embedding_ = copy_of(values, shape_.vocab * hidden); return;
    case STOKER_HEAD: return weight(head_, shape_.vocab);
    case STOKER_FINAL_NORM: final_norm_ = copy_of(values, hidden); return;
    default: break;
  }
  Layer& layer = layers_.at(index);
  switch (tensor) {
    case STOKER_ATTENTION_NORM: layer.attention_norm = copy_of(values, hidden); return;
    case STOKER_MLP_NORM: layer.mlp_norm = copy_of(values, hidden); return;
    case STOKER_Q: return weight(layer.qkv, q_rows);
    case STOKER_K: return weight(layer.qkv, kv_rows, {q_rows});
    case STOKER_V: return weight(layer.qkv, kv_rows, {q_rows + kv_rows});
    case STOKER_OUT: return weight(layer.out, hidden);
    case STOKER_GATE: return weight(layer.gate_up, inner, {0, 0});
    case STOKER_UP: return weight(layer.gate_up, inner, {0, 1});
    case STOKER_DOWN: return weight(layer.down, hidden);
    case STOKER_Q_BIAS: return layer.qkv.set_bias(values, q_rows, {});
    case STOKER_K_BIAS: return layer.qkv.set_bias(values, kv_rows, {q_rows});
    case STOKER_V_BIAS: return layer.qkv.set_bias(values, kv_rows, {q_rows + kv_rows});
    case STOKER_OUT_BIAS: return layer.out.set_bias(values, hidden, {});
    case STOKER_GATE_BIAS: return layer.gate_up.set_bias(values, inner, {0, 0});
    case STOKER_UP_BIAS: return layer.gate_up.set_bias(values, inner, {0, 1});
    case STOKER_DOWN_BIAS: return layer.down.set_bias(values, hidden, {});
    default: return;
  }
}

void Decoder::allocate_kv(int64_t blocks, int64_t block_size) {
  caches_.clear();
  for (int layer = 0; layer < shape_.layers; ++layer) caches_.emplace_back(heads_, blocks, block_size);
  threads_.run(shape_.layers, [&](int layer, int) { caches_[layer].touch(); });
}

void Decoder::run(const StokerStep& step, float* logits) {
  reserve(step.tokens);
  embed(step);
  const Sequences sequences{step.sequences, step.query_starts, step.context_lens, step.block_tables, step.table_width};
  const auto pieces = divide(sequences, heads_, threads_.threads());
  for (size_t index = 0; index < layers_.size(); ++index) run_layer(layers_[index], caches_[index], step, pieces);
  normalise(final_norm_, residual_.data(), step.logits_rows, step.logits);
  multiply(head_, normed_.data(), hidden_stride_, step.logits, logits, logits_stride(), Epilogue::STORE, threads_);
}

void Decoder::reserve(int64_t tokens) {
  if (tokens <= capacity_) return;
  residual_.at_least(tokens * hidden_stride_);
  normed_.at_least(tokens * hidden_stride_);
  qkv_.at_least(tokens * qkv_stride_);
  attended_.at_least(tokens * attended_stride_);
  inner_.at_least(tokens * inner_stride_);
  capacity_ = tokens;
}

void Decoder::embed(const StokerStep& step) {
  threads_.run(static_cast<int>(step.tokens), [&](int token, int) {
    float* row = residual_.data() + token * hidden_stride_;
    const int64_t id = step.token_ids[token];
    if (embedding_.size()) {
      std::copy_n(embedding_.data() + id * shape_.hidden, shape_.hidden, row);
    } else {
      head_.copy_output(id, row);
    }
  });
}

void Decoder::run_layer(Layer& layer, LayerCache& cache, const StokerStep& step,
                        const std::vector<AttentionPiece>& pieces) {
  const int64_t tokens = step.tokens;
  float* residual = residual_.data();
  normalise(layer.attention_norm, residual, nullptr, tokens);
  multiply(layer.qkv, normed_.data(), hidden_stride_, tokens, qkv_.data(), qkv_stride_, Epilogue::STORE, threads_);
  threads_.run(static_cast<int>(tokens), [&](int token, int) { rotate_and_store(step, token, cache); });
  threads_.run(static_cast<int>(pieces.size()), [&](int index, int thread) {
    attend(pieces[index], heads_, cache, qkv_.data(), qkv_stride_, attended_.data(), attended_stride_, scratch_[thread]);
  });
  multiply(layer.out, attended_.data(), attended_stride_, tokens, residual, hidden_stride_, Epilogue::ADD, threads_);
  normalise(layer.mlp_norm, residual, nullptr, tokens);
  multiply(layer.gate_up, normed_.data(), hidden_stride_, tokens, inner_.data(), inner_stride_, Epilogue::SWIGLU,
           threads_);
  multiply(layer.down, inner_.data(), inner_stride_, tokens, residual, hidden_stride_, Epilogue::ADD, threads_);
}

void Decoder::rotate_and_store(const StokerStep& step, int64_t token, LayerCache& cache) {
  float* row = qkv_.data() + token * qkv_stride_;
  const int64_t half = shape_.rope_dim / 2, dim = shape_.head_dim;
  const float* cos = step.cos + token * half;
  const float* sin = step.sin + token * half;
  for (int head = 0; head < shape_.heads + shape_.kv_heads; ++head) rotate(row + head * dim, cos, sin, half);
  const float* keys = row + shape_.heads * dim;
  const float* values = keys + shape_.kv_heads * dim;
  for (int head = 0; head < shape_.kv_heads; ++head)
    cache.write(step.slots[token], head, keys + head * dim, values + head * dim);
}

// normed_ = the norm of `count` rows of `from`: those that `rows` names, or the first ones.
void Decoder::normalise(const FloatArray& weight, const float* from, const int32_t* rows, int64_t count) {
  threads_.run(static_cast<int>(count), [&](int index, int) {
    const int64_t row = rows ? rows[index] : index;
    rms_norm(from + row * hidden_stride_, weight.data(), shape_.hidden, shape_.norm_eps,
             normed_.data() + index * hidden_stride_);
  });
}

}  // namespace stoker
