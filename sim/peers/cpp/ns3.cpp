// ns-3: `ns3 SCHEDULER hold N K WARMUP` or `ns3 SCHEDULER mm1 CUSTOMERS`, the scheduler by its name without
// "Scheduler": Map (the default of ns-3), PriorityQueue, Heap, Calendar.
//
// Time is in nanoseconds; delays are rounded down and one is added.

#include <ns3/core-module.h>

#include <deque>
#include <string>

#include "work.hpp"

using namespace ns3;

namespace {

Draws draws{0};

Time delay(double seconds) { return NanoSeconds(static_cast<int64_t>(seconds * 1e9) + 1); }

std::uint64_t fired = 0, warmup = 0, events = 0;
double begin_seconds = 0, end_seconds = 0, last = 0;

void fire(std::uint32_t id) {
  if (fired == warmup) begin_seconds = cpu_seconds();
  if (fired == warmup + events) {
    end_seconds = cpu_seconds();
    Simulator::Stop();
    return;
  }
  ++fired;
  last = Simulator::Now().GetSeconds();
  Simulator::Schedule(delay(draws.exponential()), &fire, id);
}

std::uint64_t customers = 0, arrived = 0, served = 0;
bool busy = false;
std::deque<Time> waiting;
Time waited;

void depart() {
  if (++served == customers) {
    Simulator::Stop();
  }
  if (waiting.empty()) {
    busy = false;
    return;
  }
  waited += Simulator::Now() - waiting.front();
  waiting.pop_front();
  Simulator::Schedule(delay(draws.exponential()), &depart);
}

void arrive() {
  if (++arrived < customers) Simulator::Schedule(delay(draws.exponential() / 0.8), &arrive);
  if (busy) {
    waiting.push_back(Simulator::Now());
  } else {
    busy = true;
    Simulator::Schedule(delay(draws.exponential()), &depart);
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const std::string scheduler = argv[1], work = argv[2];
  const std::uint64_t n = std::stoull(argv[3]);
  ObjectFactory factory;
  factory.SetTypeId("ns3::" + scheduler + "Scheduler");
  const std::string engine = "ns-3 " + scheduler;
  if (work == "hold" && argc == 6) {
    Simulator::SetScheduler(factory);
    draws.state = 42;
    events = std::stoull(argv[4]);
    warmup = std::stoull(argv[5]);
    for (std::uint32_t id = 0; id < n; ++id) Simulator::Schedule(delay(draws.exponential()), &fire, id);
    Simulator::Run();
    report(engine.c_str(), "hold", n, events, end_seconds - begin_seconds, last);
  } else if (work == "mm1") {
    const double begin = cpu_seconds();
    Simulator::SetScheduler(factory);
    draws.state = 7;
    customers = n;
    Simulator::Schedule(delay(draws.exponential() / 0.8), &arrive);
    Simulator::Run();
    const double seconds = cpu_seconds() - begin;
    report(engine.c_str(), "mm1", 1, customers, seconds, waited.GetSeconds() / static_cast<double>(customers));
  } else {
    return 2;
  }
}
