// What labels.cu takes from CUDA, for a C++ compiler: one thread at a time, on the host.
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#define __global__
#define __device__

struct Triple {
  unsigned x, y, z;
};

inline thread_local Triple blockIdx, blockDim, threadIdx;

using std::min;
using std::size_t;

inline float __fmul_rn(float a, float b) { return a * b; }  // built with -ffp-contract=off
inline float __fadd_rn(float a, float b) { return a + b; }

inline float widen_half(unsigned short bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  double value = std::ldexp(fraction, -24);
  if (exponent == 31) value = fraction ? NAN : INFINITY;
  if (exponent > 0 && exponent < 31) value = std::ldexp(fraction + 1024, exponent - 25);
  return static_cast<float>(bits >> 15 ? -value : value);
}
