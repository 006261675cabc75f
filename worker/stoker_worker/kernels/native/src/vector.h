// Vectors of floats as wide as the machine's registers, and the functions of them that a decoder needs.
//
// Written with the compiler's vector extension: the same source becomes AVX2, AVX-512 or NEON, as the compiler is told.
#pragma once

#include <cstdint>
#include <cstring>

namespace stoker {

#if defined(__AVX512F__)
constexpr int VECTOR = 16;
constexpr int TILE_ROWS = 12;
#elif defined(__AVX__)
constexpr int VECTOR = 8;
constexpr int TILE_ROWS = 6;
#else
constexpr int VECTOR = 4;
constexpr int TILE_ROWS = 6;
#endif

typedef float Vector __attribute__((vector_size(VECTOR * sizeof(float))));
typedef int32_t IntVector __attribute__((vector_size(VECTOR * sizeof(int32_t))));

inline Vector load(const float* from) {
  Vector value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

inline void store(float* to, Vector value) { std::memcpy(to, &value, sizeof value); }

inline Vector broadcast(float value) { return value - Vector{}; }

inline Vector select(IntVector condition, Vector yes, Vector no) {
  return reinterpret_cast<Vector>((condition & reinterpret_cast<IntVector>(yes)) |
                                  (~condition & reinterpret_cast<IntVector>(no)));
}

inline Vector greater(Vector a, Vector b) { return select(a > b, a, b); }

inline float sum(Vector value) {
  float total = 0;
  for (int lane = 0; lane < VECTOR; ++lane) total += value[lane];
  return total;
}

inline float maximum(Vector value) {
  float best = value[0];
  for (int lane = 1; lane < VECTOR; ++lane) best = value[lane] > best ? value[lane] : best;
  return best;
}

// eˣ within 2 units of the last place; 0 below -87, where floats would be denormal; a NaN stays one.
// x = n·ln 2 + r with |r| ≤ ln 2 / 2, and eʳ by its Taylor series.
inline Vector exponential(Vector x) {
  constexpr float LOWEST = -87.0f, HIGHEST = 88.0f;
  constexpr float ROUNDING = 12582912.0f;                              // 1.5 · 2²³: adding it rounds to whole numbers
  constexpr float LN2_HIGH = 0.693359375f, LN2_LOW = -2.12194440e-4f;  // their sum is ln 2 to 37 bits
  const IntVector vanishes = x < LOWEST;
  x = select(x > HIGHEST, broadcast(HIGHEST), x);
  x = select(vanishes, broadcast(LOWEST), x);
  const Vector n = (x * 1.44269504f + ROUNDING) - ROUNDING;
  const Vector r = (x - n * LN2_HIGH) - n * LN2_LOW;
  Vector series = broadcast(1.0f / 5040);
  series = series * r + 1.0f / 720;
  series = series * r + 1.0f / 120;
  series = series * r + 1.0f / 24;
  series = series * r + 1.0f / 6;
  series = series * r + 0.5f;
  series = series * r + 1.0f;
  series = series * r + 1.0f;
  const IntVector power = (__builtin_convertvector(n, IntVector) + 127) << 23;
  return select(vanishes, Vector{}, series * reinterpret_cast<Vector>(power));
}

// x · sigmoid(x).
inline Vector silu(Vector x) { return x / (exponential(-x) + 1.0f); }

}  // namespace stoker
