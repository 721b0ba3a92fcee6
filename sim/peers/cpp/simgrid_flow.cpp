// The FLOW work on SimGrid: a closed loop of N flows between 90 hosts in 5 regions, max-min fair, without latency.
//
// The same sample path as tests/flow/mod.rs: SplitMix64 with seed 42, and for each flow, in this order, its source
// (draw mod 90), its destination (draw mod 89, one more from the source on) and its size (exponential, mean 1e8, plus 1,
// cut to whole bytes). SimGrid is told to leave out all that is not sharing: model CM02 without TCP's window, without
// cross traffic, with factors of one.
//
//   simgrid_flow flow 1000 3000 1000      flows, completions to time, completions to warm up
//
// Prints `SimGrid,flow,FLOWS,COMPLETIONS,cpu_seconds,simulated seconds they took`.

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include <simgrid/s4u.hpp>

namespace sg4 = simgrid::s4u;

namespace {

constexpr int kHosts = 90;
constexpr int kRegions = 5;
constexpr int kHostsPerRegion = kHosts / kRegions;

struct SplitMix {
  std::uint64_t state;

  std::uint64_t draw()
  {
    state += 0x9E3779B97F4A7C15ULL;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

  double exponential() { return -std::log(static_cast<double>((draw() >> 11) + 1) / 9007199254740992.0); }
};

double processor_seconds()
{
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

std::vector<sg4::Host*> make_platform()
{
  auto* zone = sg4::create_full_zone("world");
  std::vector<sg4::Host*> hosts;
  std::vector<sg4::Link*> access;
  for (int i = 0; i < kHosts; i++) {
    const std::string number = std::to_string(i);
    hosts.push_back(zone->create_host("host" + number, 1e9));
    auto* link = zone->create_link("access" + number, 1.25e8 * (1 + i % 4));
    access.push_back(link->set_sharing_policy(sg4::Link::SharingPolicy::SHARED)->set_latency(0)->seal());
  }
  std::vector<std::vector<sg4::Link*>> between(kRegions, std::vector<sg4::Link*>(kRegions, nullptr));
  int number = 0;
  for (int a = 0; a < kRegions; a++) {
    for (int b = a + 1; b < kRegions; b++, number++) {
      auto* link = zone->create_link("between" + std::to_string(number), 5e8 * (1 + number % 3));
      link->set_sharing_policy(sg4::Link::SharingPolicy::SHARED)->set_latency(0)->seal();
      between[a][b] = between[b][a] = link;
    }
  }
  for (int i = 0; i < kHosts; i++) {
    for (int j = i + 1; j < kHosts; j++) {
      std::vector<sg4::LinkInRoute> route;
      route.emplace_back(access[i]);
      if (auto* link = between[i / kHostsPerRegion][j / kHostsPerRegion])
        route.emplace_back(link);
      route.emplace_back(access[j]);
      zone->add_route(hosts[i]->get_netpoint(), hosts[j]->get_netpoint(), nullptr, nullptr, route, true);
    }
  }
  zone->seal();
  return hosts;
}

} // namespace

int main(int argc, char** argv)
{
  sg4::Engine engine(&argc, argv);
  sg4::Engine::set_config("network/model:CM02");
  sg4::Engine::set_config("network/TCP-gamma:0");
  sg4::Engine::set_config("network/crosstraffic:0");
  sg4::Engine::set_config("network/bandwidth-factor:1");
  sg4::Engine::set_config("network/latency-factor:1");
  sg4::Engine::set_config("network/weight-S:0");
  // Ten thousand actors' stacks with guard pages would be more mappings than Linux allows.
  sg4::Engine::set_config("contexts/guard-size:0");
  sg4::Engine::set_config("contexts/stack-size:64");
  if (argc != 5) {
    std::fprintf(stderr, "usage: %s flow FLOWS TIMED WARM_UP\n", argv[0]);
    return 2;
  }
  const int flows = std::atoi(argv[2]);
  const long timed = std::atol(argv[3]);
  const long warm_up = std::atol(argv[4]);

  const std::vector<sg4::Host*> hosts = make_platform();
  SplitMix random{42};
  long completed = 0;
  double simulated = 0;
  double processor = 0;
  // Each of the N places in the loop is an actor: they begin in the order in which they are made.
  for (int place = 0; place < flows; place++) {
    sg4::Actor::create("place", hosts[0], [&] {
      while (true) {
        const int from = static_cast<int>(random.draw() % kHosts);
        int to = static_cast<int>(random.draw() % (kHosts - 1));
        if (to >= from)
          to++;
        const double size = random.exponential() * 1e8 + 1;
        sg4::Comm::sendto(hosts[from], hosts[to], static_cast<std::uint64_t>(size));
        completed++;
        if (completed == warm_up) {
          simulated = sg4::Engine::get_clock();
          processor = processor_seconds();
        } else if (completed == warm_up + timed) {
          const double took = processor_seconds() - processor;
          std::printf("SimGrid,flow,%d,%ld,%.6f,%.6f\n", flows, timed, took, sg4::Engine::get_clock() - simulated);
          std::fflush(stdout);
          std::_Exit(0);
        }
      }
    });
  }
  engine.run();
  return 1;
}
