/* What Python sees of the native step: a plain C interface, so that one library serves every version of Python. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A decoder of the Llama family. Weights are fp32, matrices [outputs, inputs]. */
typedef struct {
  int32_t vocab, hidden, inner, layers;
  int32_t heads, kv_heads, head_dim, rope_dim;
  int32_t window; /* tokens that a query sees, itself included; 0: all */
  float norm_eps;
} StokerShape;

typedef enum {
  STOKER_EMBEDDING, /* [vocab, hidden]; where it is missing, the head's serves */
  STOKER_HEAD,      /* [vocab, hidden] */
  STOKER_FINAL_NORM,
  STOKER_ATTENTION_NORM,
  STOKER_MLP_NORM,
  STOKER_Q,
  STOKER_K,
  STOKER_V,
  STOKER_OUT,
  STOKER_GATE,
  STOKER_UP,
  STOKER_DOWN,
  STOKER_Q_BIAS,
  STOKER_K_BIAS,
  STOKER_V_BIAS,
  STOKER_OUT_BIAS,
  STOKER_GATE_BIAS,
  STOKER_UP_BIAS,
  STOKER_DOWN_BIAS,
} StokerTensor;

/* One step: T tokens of R sequences laid end to end, prefill and decode alike. Nothing is kept of it. */
typedef struct {
  int64_t tokens, sequences, logits;
  const int32_t *token_ids;    /* [T] */
  const int64_t *slots;        /* [T] where keys and values go: block * block_size + place */
  const float *cos, *sin;      /* [T, rope_dim / 2] */
  const int32_t *query_starts; /* [R + 1] */
  const int32_t *context_lens; /* [R] */
  const int32_t *block_tables; /* [R, table_width] */
  int64_t table_width;
  const int32_t *logits_rows; /* [L] indices into T */
} StokerStep;

typedef struct StokerDecoder StokerDecoder;

/* NULL, or nonzero, if memory is short. */
StokerDecoder *stoker_create(const StokerShape *shape, int32_t threads);
int stoker_set_tensor(StokerDecoder *decoder, int32_t tensor, int32_t layer, const float *values);
int stoker_allocate_kv(StokerDecoder *decoder, int64_t blocks, int64_t block_size);
int stoker_run(StokerDecoder *decoder, const StokerStep *step, float *logits);
void stoker_destroy(StokerDecoder *decoder);

int64_t stoker_logits_stride(const StokerDecoder *decoder); /* floats between rows of logits */

#ifdef __cplusplus
}
#endif
