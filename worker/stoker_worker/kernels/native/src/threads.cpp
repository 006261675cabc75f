#include "threads.h"

#include <sched.h>

namespace stoker {

namespace {

// Some 50 µs: longer than a step's serial pieces, far shorter than what lies between two steps.
constexpr int SPINS_BEFORE_SLEEP = 2000;
constexpr int SPINS_BEFORE_YIELD = 2000;

constexpr uint32_t untaken(uint64_t ticket) { return static_cast<uint32_t>(ticket); }

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int thread = 1; thread < threads; ++thread) helpers_.emplace_back([this, thread] { help(thread); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  round_begun_.notify_all();
  for (auto& helper : helpers_) helper.join();
}

void ThreadPool::run_round(int count) {
  count_ = count;
  unfinished_.store(count, std::memory_order_relaxed);
  const uint64_t round = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
  ticket_.store(round << 32 | static_cast<uint32_t>(count));  // sequentially consistent: `sleepers_` is read after it
  if (sleepers_.load()) {
    std::lock_guard lock(mutex_);
    round_begun_.notify_all();
  }
  while (take_one(0)) {
  }
  for (int spins = 0; unfinished_.load(std::memory_order_acquire); ++spins) {
    spins < SPINS_BEFORE_YIELD ? pause() : static_cast<void>(sched_yield());
  }
}

bool ThreadPool::take_one(int thread) {
  uint64_t ticket = ticket_.load(std::memory_order_acquire);
  do {
    if (!untaken(ticket)) return false;
  } while (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel));
  call_(context_, count_ - static_cast<int>(untaken(ticket)), thread);
  unfinished_.fetch_sub(1, std::memory_order_release);
  return true;
}

void ThreadPool::help(int thread) {
  for (int spins = 0; !stopping_.load(std::memory_order_relaxed); ++spins) {
    if (take_one(thread)) {
      spins = 0;
    } else if (spins < SPINS_BEFORE_SLEEP) {
      pause();
    } else {
      wait_for_round(ticket_.load());
      spins = 0;
    }
  }
}

void ThreadPool::wait_for_round(uint64_t seen) {
  if (untaken(seen)) return;
  std::unique_lock lock(mutex_);
  ++sleepers_;
  round_begun_.wait(lock, [&] { return stopping_.load() || ticket_.load() != seen; });
  --sleepers_;
}

}  // namespace stoker
