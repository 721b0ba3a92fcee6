// SimGrid: `simgrid timers|actors hold N K WARMUP` or `simgrid actors mm1 CUSTOMERS`.
//
// Timers are those of the kernel; actors sleep. In mm1 a source puts customers into a queue and releases a semaphore
// on which a server waits, so its path is not that of the other engines.

#include <simgrid/kernel/Timer.hpp>
#include <simgrid/s4u.hpp>

#include <deque>
#include <string>

#include "work.hpp"

namespace s4u = simgrid::s4u;

namespace {

Draws draws{0};
std::uint64_t fired = 0, warmup = 0, events = 0;
double begin_seconds = 0, end_seconds = 0, last = 0;

// False when the work is done.
bool fire() {
  if (fired == warmup) begin_seconds = cpu_seconds();
  if (fired == warmup + events) {
    end_seconds = cpu_seconds();
    return false;
  }
  ++fired;
  last = s4u::Engine::get_clock();
  return true;
}

void finish_hold(const char* engine, std::uint64_t n) {
  report(engine, "hold", n, events, end_seconds - begin_seconds, last);
  std::fflush(stdout);
  // The rest of the simulation is of no interest.
  std::_Exit(0);
}

void set_timer(std::uint64_t n) {
  simgrid::kernel::timer::Timer::set(s4u::Engine::get_clock() + draws.exponential(), [n] {
    if (!fire()) finish_hold("SimGrid timers", n);
    set_timer(n);
  });
}

}  // namespace

int main(int argc, char** argv) {
  s4u::Engine engine(&argc, argv);
  if (argc < 4) return 2;
  const std::string style = argv[1], work = argv[2];
  const std::uint64_t n = std::stoull(argv[3]);
  auto* zone = s4u::create_full_zone("world");
  auto* host = zone->create_host("host", 1e9);
  zone->seal();
  if (work == "hold" && argc == 6) {
    draws.state = 42;
    events = std::stoull(argv[4]);
    warmup = std::stoull(argv[5]);
    if (style == "timers") {
      // An actor that sleeps for ever keeps the engine running.
      s4u::Actor::create("keeper", host, [] { s4u::this_actor::sleep_for(1e12); });
      for (std::uint64_t id = 0; id < n; ++id) set_timer(n);
    } else {
      for (std::uint64_t id = 0; id < n; ++id) {
        s4u::Actor::create("sleeper", host, [n] {
          while (true) {
            s4u::this_actor::sleep_for(draws.exponential());
            if (!fire()) finish_hold("SimGrid actors", n);
          }
        });
      }
    }
    engine.run();
  } else if (work == "mm1") {
    const double begin = cpu_seconds();
    draws.state = 7;
    std::deque<double> waiting;
    double waited = 0;
    auto customers = s4u::Semaphore::create(0);
    s4u::Actor::create("source", host, [&] {
      for (std::uint64_t i = 0; i < n; ++i) {
        s4u::this_actor::sleep_for(draws.exponential() / 0.8);
        waiting.push_back(s4u::Engine::get_clock());
        customers->release();
      }
    });
    s4u::Actor::create("server", host, [&] {
      for (std::uint64_t i = 0; i < n; ++i) {
        customers->acquire();
        waited += s4u::Engine::get_clock() - waiting.front();
        waiting.pop_front();
        s4u::this_actor::sleep_for(draws.exponential());
      }
    });
    engine.run();
    report("SimGrid actors", "mm1", 1, n, cpu_seconds() - begin, waited / static_cast<double>(n));
  } else {
    return 2;
  }
}
