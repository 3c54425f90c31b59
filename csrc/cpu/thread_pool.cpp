#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "g2vlm/parallel.h"

#ifndef _WIN32
#include <pthread.h>
#endif

namespace g2vlm {
namespace {

// One job at a time; workers take pieces from a shared counter until none is left.
class ThreadPool {
 public:
  // False when another caller holds the pool.
  bool try_run(int64_t pieces, int threads, const std::function<void(int64_t)>& piece) {
    if (busy_.test_and_set(std::memory_order_acquire)) return false;
    struct Release {
      std::atomic_flag& flag;
      ~Release() { flag.clear(std::memory_order_release); }
    } release{busy_};
    const int helpers = static_cast<int>(std::min<int64_t>(threads, pieces)) - 1;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      while (static_cast<int>(workers_.size()) < helpers) {
        const int index = static_cast<int>(workers_.size());
        workers_.emplace_back([this, index, seen = generation_] { work(index, seen); });
      }
      piece_ = &piece;
      pieces_ = pieces;
      next_.store(0, std::memory_order_relaxed);
      helpers_ = helpers;
      active_ = helpers;
      error_ = nullptr;
      ++generation_;
    }
    start_.notify_all();
    drain(piece, pieces);
    std::unique_lock<std::mutex> lock(mutex_);
    done_.wait(lock, [this] { return active_ == 0; });
    if (error_) std::rethrow_exception(error_);
    return true;
  }

 private:
  void work(int index, uint64_t seen) {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      start_.wait(lock, [&] { return generation_ != seen; });
      seen = generation_;
      if (index >= helpers_) continue;
      const auto* piece = piece_;
      const int64_t pieces = pieces_;
      lock.unlock();
      drain(*piece, pieces);
      lock.lock();
      if (--active_ == 0) done_.notify_one();
    }
  }

  void drain(const std::function<void(int64_t)>& piece, int64_t pieces) {
    for (int64_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      try {
        piece(i);
      } catch (...) {
        std::lock_guard<std::mutex> lock(mutex_);
        if (!error_) error_ = std::current_exception();
        next_.store(pieces, std::memory_order_relaxed);
      }
    }
  }

  std::atomic_flag busy_ = ATOMIC_FLAG_INIT;
  std::mutex mutex_;
  std::condition_variable start_, done_;
  std::vector<std::thread> workers_;
  const std::function<void(int64_t)>* piece_ = nullptr;
  int64_t pieces_ = 0;
  std::atomic<int64_t> next_{0};
  int helpers_ = 0;
  int active_ = 0;
  uint64_t generation_ = 0;
  std::exception_ptr error_;
};

std::atomic<ThreadPool*> pool{nullptr};

// The pool is never destroyed: its threads may outlive static destructors, and after fork() the
// child has no threads to join.
ThreadPool& current_pool() {
#ifndef _WIN32
  static const int registered = pthread_atfork(nullptr, nullptr, [] { pool.store(nullptr); });
  (void)registered;
#endif
  ThreadPool* existing = pool.load();
  if (existing == nullptr) {
    auto* created = new ThreadPool;
    if (pool.compare_exchange_strong(existing, created)) return *created;
    delete created;
  }
  return *existing;
}

}  // namespace

void parallel_for(int64_t count, int64_t grain, int threads,
                  const std::function<void(int64_t, int64_t)>& body) {
  if (count <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  const int64_t pieces = (count + grain - 1) / grain;
  const auto piece = [&](int64_t i) { body(i * grain, std::min(count, (i + 1) * grain)); };
  if (threads > 1 && pieces > 1 && current_pool().try_run(pieces, threads, piece)) return;
  for (int64_t i = 0; i < pieces; ++i) piece(i);
}

}  // namespace g2vlm
