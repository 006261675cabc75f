// A decoder of the Llama family: weights, keys and values, and the step over them.
#pragma once

#include <cstdint>
#include <vector>

#include "attention.h"
#include "matrix.h"
#include "memory.h"
#include "stoker_native.h"
#include "threads.h"

namespace stoker {

struct Layer {
  FloatArray attention_norm, mlp_norm;
  Matrix qkv, out, gate_up, down;
};

// One owner, one caller at a time.
class Decoder {
 public:
  Decoder(const StokerShape& shape, int threads);

  void set_tensor(StokerTensor tensor, int layer, const float* values);
  void allocate_kv(int64_t blocks, int64_t block_size);

  // Logits of the step's `logits_rows`: [L, padded vocabulary].
  void run(const StokerStep& step, float* logits);

  int64_t logits_stride() const { return padded(shape_.vocab); }

 private:
  void reserve(int64_t tokens);
  void embed(const StokerStep& step);
  void run_layer(Layer& layer, LayerCache& cache, const StokerStep& step,
                 const std::vector<AttentionPiece>& pieces);
  void rotate_and_store(const StokerStep& step, int64_t token, LayerCache& cache);
  void normalise(const FloatArray& weight, const float* from, const int32_t* rows, int64_t count);

  const StokerShape shape_;
  const HeadShape heads_;
  ThreadPool threads_;
  std::vector<AttentionScratch> scratch_;

  FloatArray embedding_;  // empty where the head's weights serve
  FloatArray final_norm_;
  Matrix head_;
  std::vector<Layer> layers_;
  std::vector<LayerCache> caches_;

  // Activations of a step, a row per token; rows have room for padded panels.
  const int64_t hidden_stride_, qkv_stride_, attended_stride_, inner_stride_;
  int64_t capacity_ = 0;
  FloatArray residual_, normed_, qkv_, attended_, inner_;
};

}  // namespace stoker
