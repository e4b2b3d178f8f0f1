// The two loops over time of neuron.py, for neurons that lie in one row, [T, N]; fused.py compiles and calls them.
//
// A block of neurons goes through all time steps before the next block starts: its state then stays in the innermost
// cache, and memory sees every number once. The names are those of neuron.py.

#include <cstdint>
#include <cstring>
#ifdef __AVX__
#include <immintrin.h>
#endif

namespace {

constexpr int64_t BLOCK = 512;          // neurons
constexpr int64_t CACHE = 4 << 20;      // bytes: what is larger than this is written past the caches
constexpr int64_t STREAMS = 16;         // time steps whose rows a processor fetches ahead of need without being told
constexpr double LN2 = 0.69314718055994531;

// One cache line of neurons; a machine with narrower registers handles it in parts.
template <typename Real> struct Lanes;
template <> struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(64)));
  typedef int32_t Integers __attribute__((vector_size(64)));
  static constexpr int count = 16, mantissa = 23, lowest_exponent = -125, degree = 6;
};
template <> struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(64)));
  typedef int64_t Integers __attribute__((vector_size(64)));
  static constexpr int count = 8, mantissa = 52, lowest_exponent = -1021, degree = 13;
};

// bfloat16 is the upper half of a float.
struct bfloat16 { uint16_t bits; };
typedef uint16_t Halves __attribute__((vector_size(32)));
typedef uint32_t Words __attribute__((vector_size(64)));

// What lies at an address, aligned or not.
template <typename To> inline To at(const void *from) {
  To x;
  memcpy(&x, from, sizeof x);
  return x;
}

template <typename Vector, typename Real> inline Vector load(const Real *from) { return at<Vector>(from); }

template <typename Vector> inline Vector load(const bfloat16 *from) {
  return (Vector)(__builtin_convertvector(at<Halves>(from), Words) << 16);
}

// Written past the caches, a line is not read from memory first, and leaves the caches to numbers still needed.
template <bool PAST, typename Bits> inline void store_bits(void *to, Bits x) {
#ifdef __AVX512F__
  if (PAST && sizeof x == 64) return _mm512_stream_si512((__m512i *)to, at<__m512i>(&x));
#elif defined(__AVX__)
  if (PAST && sizeof x == 64) {
    _mm256_stream_si256((__m256i *)to, at<__m256i>(&x));
    return _mm256_stream_si256((__m256i *)to + 1, at<__m256i>((char *)&x + 32));
  }
#endif
#ifdef __AVX__
  if (PAST && sizeof x == 32) return _mm256_stream_si256((__m256i *)to, at<__m256i>(&x));
#endif
  memcpy(to, &x, sizeof x);
}

// Other threads must find what was written past the caches.
template <bool PAST> inline void finish() {
#ifdef __AVX__
  if (PAST) _mm_sfence();
#endif
}

template <bool PAST, typename Real, typename Vector> inline void store(Real *to, Vector x) { store_bits<PAST>(to, x); }

template <bool PAST, typename Vector> inline void store(bfloat16 *to, Vector x) {
  Words bits = (Words)x, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to the nearest, ties to even
  rounded = x == x ? rounded : (bits >> 16) | 64;                                // NaN stays NaN
  store_bits<PAST>(to, __builtin_convertvector(rounded, Halves));
}

// 2 to the power of -|x|: a polynomial for the fraction, the exponent's own bits for the rest.
template <typename Real, typename Vector> inline Vector half_to_the(Vector x) {
  typedef Lanes<Real> L;
  typedef typename L::Integers Integers;
  constexpr Real round = Real(3) * (int64_t(1) << (L::mantissa - 1));  // adding it leaves no room for a fraction
  x = x > 0 ? -x : x;
  x = x < L::lowest_exponent ? Vector{} + L::lowest_exponent : x;
  Vector rounded = x + round, fraction = x - (rounded - round);
  Real coefficients[L::degree + 1] = {1};  // of the exponential series
  for (int i = 1; i <= L::degree; i++) coefficients[i] = coefficients[i - 1] * Real(LN2) / i;
  Vector power = Vector{} + coefficients[L::degree];
  for (int i = L::degree - 1; i >= 0; i--) power = power * fraction + coefficients[i];
  return (Vector)((Integers)power + ((Integers)rounded << L::mantissa));
}

struct Settings { double leak_m, leak_s, gain_s, threshold, temperature, reset_gradient, temporal_gradient; };

// The last line of a row may overlap the one before it: what it computes twice comes out the same.
inline int64_t position(int64_t start, int64_t line, int count, int64_t n) {
  const int64_t first = start + line * count;
  return first < n - count ? first : n - count;
}

// Equations 3-5. `step` is N, or 0 where the current is the same at every time.
template <bool PAST, typename Real, typename Stored>
void forward(const Stored *current, int64_t step, Stored *psc, Real *potential, int64_t T, int64_t N, const Settings &s,
             int threads) {
  typedef typename Lanes<Real>::Vector Vector;
  constexpr int count = Lanes<Real>::count;
  const Real leak_m = s.leak_m, leak_s = s.leak_s, threshold = s.threshold;
  const int64_t ahead = T > STREAMS ? step : 0;
  const Vector silent = {}, spike = silent + Real(s.gain_s);
#pragma omp parallel for num_threads(threads)
  for (int64_t start = 0; start < N; start += BLOCK) {
    const int64_t lines = ((N - start < BLOCK ? N - start : BLOCK) + count - 1) / count;
    Vector remaining[BLOCK / count] = {}, decayed[BLOCK / count] = {};  // of U and a, at the next step
    for (int64_t t = 0; t < T; t++) {
      for (int64_t i = 0; i < lines; i++) {
        const int64_t n = position(start, i, count, N);
        __builtin_prefetch(current + t * step + ahead + n);
        const Vector u = remaining[i] + load<Vector>(current + t * step + n);
        const Vector a = decayed[i] + (u > threshold ? spike : silent);
        remaining[i] = leak_m * (u > threshold ? silent : u);
        decayed[i] = leak_s * a;
        store<PAST>(potential + t * N + n, u);
        store<PAST>(psc + t * N + n, a);
      }
    }
    finish<PAST>();
  }
}

// What the gradient has of eq. 8: nothing, the leak, or the leak and the reset term. Each does no more work than it needs.
enum Temporal { SPATIAL, LEAK, FULL };

// Equations 7 and 8. With `step` 0 the gradient of the current is summed over time. grad_spikes may be null.
template <Temporal TEMPORAL, bool PAST, typename Real, typename Stored>
void backward(const Real *potential, const Stored *grad_psc, const Stored *grad_spikes, Stored *grad_current,
              int64_t step, int64_t T, int64_t N, const Settings &s, int threads) {
  typedef typename Lanes<Real>::Vector Vector;
  constexpr int count = Lanes<Real>::count;
  const Real leak_m = s.leak_m, leak_s = s.leak_s, gain_s = s.gain_s, threshold = s.threshold;
  const Real scale = 1 / (s.temperature * LN2), inverse = 1 / s.temperature, reset = s.reset_gradient;
  const int64_t ahead = T > STREAMS ? N : 0;
  const Vector nothing = {};
#pragma omp parallel for num_threads(threads)
  for (int64_t start = 0; start < N; start += BLOCK) {
    const int64_t lines = ((N - start < BLOCK ? N - start : BLOCK) + count - 1) / count;
    Vector alphas[BLOCK / count] = {}, carried[BLOCK / count] = {}, sums[BLOCK / count] = {};
    for (int64_t t = T - 1; t >= 0; t--) {
      for (int64_t i = 0; i < lines; i++) {
        const int64_t now = t * N + position(start, i, count, N);
        __builtin_prefetch(potential + now - ahead);
        __builtin_prefetch(grad_psc + now - ahead);
        const Vector u = load<Vector>(potential + now), overdrive = u - threshold;
        const Vector e = half_to_the<Real>(overdrive * scale);  // exp(-|U - threshold| / temperature)
        const Vector h = inverse * e / ((1 + e) * (1 + e));     // eq. 10
        const Vector alpha = load<Vector>(grad_psc + now) + alphas[i];
        Vector grad_s = gain_s * alpha;
        if (grad_spikes) grad_s += load<Vector>(grad_spikes + now);
        if (TEMPORAL == FULL) grad_s -= reset * u * carried[i];
        Vector delta = grad_s * h;
        if (TEMPORAL != SPATIAL) {
          delta += overdrive > 0 ? nothing : carried[i];
          carried[i] = leak_m * delta;
        }
        alphas[i] = leak_s * alpha;
        if (step) store<PAST>(grad_current + now, delta);
        else sums[i] += delta;
      }
    }
    finish<PAST>();
    for (int64_t i = 0; i < lines && !step; i++) store<false>(grad_current + position(start, i, count, N), sums[i]);
  }
}

template <typename Stored> bool goes_past(int64_t T, int64_t N) {
  return T * N * int64_t(sizeof(Stored)) > CACHE && N * int64_t(sizeof(Stored)) % 64 == 0;
}

template <typename Real, typename Stored> auto backward_for(const Settings &s, bool past) {
  if (s.temporal_gradient == 0)
    return past ? backward<SPATIAL, true, Real, Stored> : backward<SPATIAL, false, Real, Stored>;
  if (s.reset_gradient == 0) return past ? backward<LEAK, true, Real, Stored> : backward<LEAK, false, Real, Stored>;
  return past ? backward<FULL, true, Real, Stored> : backward<FULL, false, Real, Stored>;
}

}  // namespace

#define EXPORT(NAME, REAL, STORED)                                                                                     \
  extern "C" void forward_##NAME(const STORED *current, int64_t step, STORED *psc, REAL *potential, int64_t T,         \
                                 int64_t N, const Settings *settings, int threads) {                                   \
    (goes_past<STORED>(T, N) ? forward<true, REAL, STORED> : forward<false, REAL, STORED>)(                            \
        current, step, psc, potential, T, N, *settings, threads);                                                      \
  }                                                                                                                    \
  extern "C" void backward_##NAME(const REAL *potential, const STORED *grad_psc, const STORED *grad_spikes,            \
                                  STORED *grad_current, int64_t step, int64_t T, int64_t N, const Settings *settings,  \
                                  int threads) {                                                                       \
    backward_for<REAL, STORED>(*settings, goes_past<STORED>(T, N))(potential, grad_psc, grad_spikes, grad_current,     \
                                                                   step, T, N, *settings, threads);                    \
  }

EXPORT(float32, float, float)
EXPORT(float64, double, double)
EXPORT(bfloat16, float, bfloat16)
