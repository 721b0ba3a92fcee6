// What the C++ engines share: the draws, the processor clock, and the line that reports a run.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <ctime>

struct Draws {
  std::uint64_t state;

  // SplitMix64, and an exponential by inversion.
  double exponential() {
    state += 0x9E3779B97F4A7C15ull;
    std::uint64_t z = state;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
    z ^= z >> 31;
    return -std::log(static_cast<double>((z >> 11) + 1) / 9007199254740992.0);
  }
};

// Time this process has spent on a processor [s].
inline double cpu_seconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

inline void report(const char* engine, const char* work, std::uint64_t n, std::uint64_t operations, double seconds,
                   double check) {
  std::printf("%s,%s,%llu,%llu,%.6f,%.6f\n", engine, work, static_cast<unsigned long long>(n),
              static_cast<unsigned long long>(operations), seconds, check);
}
