#include "stoker_native.h"

#include <new>

#include "decoder.h"

struct StokerDecoder : stoker::Decoder {
  using Decoder::Decoder;
};

namespace {

// Whether `work` ran; the only failure is a lack of memory.
template <class Work>
int attempt(const Work& work) {
  try {
    work();
    return 0;
  } catch (const std::bad_alloc&) {
    return 1;
  }
}

}  // namespace

extern "C" {

StokerDecoder* stoker_create(const StokerShape* shape, int32_t threads) {
  StokerDecoder* decoder = nullptr;
  attempt([&] { decoder = new StokerDecoder(*shape, threads); });
  return decoder;
}

int stoker_set_tensor(StokerDecoder* decoder, int32_t tensor, int32_t layer, const float* values) {
  return attempt([&] { decoder->set_tensor(static_cast<StokerTensor>(tensor), layer, values); });
}

int stoker_allocate_kv(StokerDecoder* decoder, int64_t blocks, int64_t block_size) {
  return attempt([&] { decoder->allocate_kv(blocks, block_size); });
}

int stoker_run(StokerDecoder* decoder, const StokerStep* step, float* logits) {
  return attempt([&] { decoder->run(*step, logits); });
}

void stoker_destroy(StokerDecoder* decoder) { delete decoder; }

int64_t stoker_logits_stride(const StokerDecoder* decoder) { return decoder->logits_stride(); }

}  // extern "C"
