// The C++ standard library's priority queue as an event list, ties by time only: `priority_queue hold N K WARMUP`.

#include <queue>
#include <string>
#include <vector>

#include "work.hpp"

namespace {

struct Event {
  double time;
  std::uint32_t id;
  bool operator<(const Event& other) const { return time > other.time; }
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5 || std::string(argv[1]) != "hold") return 2;
  const std::uint64_t n = std::stoull(argv[2]), events = std::stoull(argv[3]), warmup = std::stoull(argv[4]);
  Draws draws{42};
  std::priority_queue<Event> queue;
  for (std::uint32_t id = 0; id < n; ++id) queue.push({draws.exponential(), id});
  double last = 0;
  auto run = [&](std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const Event event = queue.top();
      queue.pop();
      last = event.time;
      queue.push({event.time + draws.exponential(), event.id});
    }
  };
  run(warmup);
  const double begin = cpu_seconds();
  run(events);
  report("C++ priority_queue", "hold", n, events, cpu_seconds() - begin, last);
}
