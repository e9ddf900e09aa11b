#include "async.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <thread>

namespace sffn {
namespace {

struct Job {
  Napi::Promise::Deferred deferred;
  std::function<void()> work;
  std::optional<Error> error;
};

}  // namespace

class JobQueue {
 public:
  explicit JobQueue(Napi::Env env) : callback_(Callback::New(env, "structured-ffn jobs", 0, 1, this)) {
    callback_.Unref(env);
    try {
      thread_ = std::thread([this] { loop(); });
    } catch (const std::system_error& error) {
      callback_.Release();
      throw Error("ERR_THREAD", std::string("the thread of asynchronous calls did not start: ") + error.what());
    }
  }

  // Waits for the running job and drops the jobs behind it.
  ~JobQueue() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  Napi::Promise push(Napi::Env env, std::function<void()> work) {
    auto job = std::make_unique<Job>(Job{Napi::Promise::Deferred::New(env), std::move(work), std::nullopt});
    const Napi::Promise promise = job->deferred.Promise();
    std::lock_guard lock(mutex_);
    if (pending_++ == 0) callback_.Ref(env);  // a process with a job under way does not exit
    queue_.push_back(std::move(job));
    wake_.notify_one();
    return promise;
  }

 private:
  // Back on the JavaScript thread. env is null when the environment is shutting down: then nothing waits for the
  // promise.
  static void settle(Napi::Env env, Napi::Function, JobQueue* queue, Job* job) {
    std::unique_ptr<Job> owned(job);
    if (static_cast<napi_env>(env) == nullptr) return;
    Napi::HandleScope scope(env);
    {
      std::lock_guard lock(queue->mutex_);
      if (--queue->pending_ == 0) queue->callback_.Unref(env);
    }
    job->work = nullptr;
    if (job->error)
      job->deferred.Reject(to_js(env, *job->error).Value());
    else
      job->deferred.Resolve(env.Undefined());
  }
  using Callback = Napi::TypedThreadSafeFunction<JobQueue, Job, settle>;

  void loop() {
    for (;;) {
      std::unique_ptr<Job> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
        if (stopping_) break;
        job = std::move(queue_.front());
        queue_.pop_front();
      }
      try {
        job->work();
      } catch (...) {
        job->error = caught_error();
      }
      Job* raw = job.release();
      if (callback_.NonBlockingCall(raw) != napi_ok) delete raw;
    }
    callback_.Release();
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::unique_ptr<Job>> queue_;
  int64_t pending_ = 0;
  bool stopping_ = false;
  Callback callback_;
  std::thread thread_;
};

Environment::Environment(Napi::Env env) : buffers(env) {}
Environment::~Environment() = default;

Napi::Promise enqueue(Napi::Env env, std::function<void()> work) {
  Environment& environment = Environment::of(env);
  if (!environment.jobs) {
    environment.jobs = std::make_unique<JobQueue>(env);
    // Hooks run in reverse order: the thread ends before its callback goes, because it needs the callback's lock to
    // end. The destructor of the environment would be too late: Node 24 would wait for ever.
    env.AddCleanupHook(
        [](Environment* going) {
          going->recording.reset();  // the running job may be waiting for its end
          going->jobs.reset();
        },
        &environment);
  }
  return environment.jobs->push(env, std::move(work));
}

}  // namespace sffn
