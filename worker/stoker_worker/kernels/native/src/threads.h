// The threads that share a step's work.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace stoker {

// Runs numbered tasks on its threads and the caller's. One caller at a time.
//
// Threads take tasks one by one, so whoever has a core does the work, and a round ends when its tasks are done: a thread that the
// system keeps off its core delays nobody unless it holds a task. Between rounds they spin briefly, then sleep, lest they take
// the cores that the gateway needs.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Call task(index, thread) for each index below `count`; `thread` tells whose scratch memory may be used.
  template <class Task>
  void run(int count, const Task& task) {
    if (count <= 0) return;
    if (count == 1 || helpers_.empty()) {
      for (int index = 0; index < count; ++index) task(index, 0);
      return;
    }
    call_ = [](const void* context, int index, int thread) { (*static_cast<const Task*>(context))(index, thread); };
    context_ = &task;
    run_round(count);
  }

 private:
  void run_round(int count);
  void help(int thread);
  bool take_one(int thread);
  void wait_for_round(uint64_t seen);

  // The current round: its number in the upper half, how many tasks nobody has taken in the lower. A task is taken by counting
  // that down, which fails if a new round has begun; so the fields below are stable for whoever holds a task.
  std::atomic<uint64_t> ticket_{0};
  void (*call_)(const void*, int, int) = nullptr;
  const void* context_ = nullptr;
  int count_ = 0;
  alignas(64) std::atomic<int> unfinished_{0};

  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::condition_variable round_begun_;
  std::vector<std::thread> helpers_;
};

}  // namespace stoker
