// Attention over paged keys and values.
#pragma once

#include <cstdint>
#include <vector>

#include "memory.h"
#include "threads.h"

namespace stoker {

struct HeadShape {
  int32_t heads;
  int32_t kv_heads;
  int32_t head_dim;
  int32_t window;  // tokens that a query sees, itself included; 0: all

  int32_t group() const { return heads / kv_heads; }
};

// Keys and values of one layer.
//
// Each KV head of a block holds its keys as [head_dim, block_size] and its values as [block_size, head_dim]: so scores of a block
// and sums of its values are both products with a matrix whose rows lie one after the other.
class LayerCache {
 public:
  LayerCache(const HeadShape& shape, int64_t blocks, int64_t block_size);

  int64_t block_size() const { return block_size_; }
  const float* keys(int64_t block, int64_t head) const { return data_.data() + offset(block, head); }
  // Up to 15 floats past a value may be read where head_dim is no multiple of 16.
  const float* values(int64_t block, int64_t head) const { return keys(block, head) + head_dim_ * block_size_; }

  void touch() { data_.touch(); }

  // Store one token's key and value of a head, [head_dim] each.
  void write(int64_t slot, int64_t head, const float* key, const float* value);

 private:
  int64_t offset(int64_t block, int64_t head) const { return (block * kv_heads_ + head) * 2 * head_dim_ * block_size_; }

  int64_t kv_heads_, head_dim_, block_size_;
  FloatArray data_;
};

// Queries of one sequence that follow each other, and the query heads of one KV head that attend together.
struct AttentionPiece {
  const int32_t* block_table;
  int64_t first_token;  // in the step
  int64_t queries;
  int64_t first_position;  // in the sequence
  int32_t first_head;
  int32_t heads;
};

// The sequences of a step, as the scheduler lays them out.
struct Sequences {
  int64_t count;
  const int32_t* query_starts;  // [count + 1]
  const int32_t* context_lens;  // [count]
  const int32_t* block_tables;  // [count, table_width]
  int64_t table_width;
};

// Cut a step into pieces of like size: enough for all threads, none whose scores leave the second-level cache.
std::vector<AttentionPiece> divide(const Sequences& sequences, const HeadShape& shape, int threads);

// What a thread needs to attend.
struct AttentionScratch {
  FloatArray queries, scores, sums, values;
};

// out [token, head · head_dim] = softmax(q · kᵀ / √head_dim) · v for the piece's queries and heads, each up to its own position.
// Like `multiply`, a query's result does not depend on what is computed beside it.
void attend(const AttentionPiece& piece, const HeadShape& shape, const LayerCache& cache, const float* q,
            int64_t q_stride, float* out, int64_t out_stride, AttentionScratch& scratch);

}  // namespace stoker
