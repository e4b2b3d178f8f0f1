// The neuron's two loops over time for the CPU, for N neurons in one row, [T, N]. library.py compiles this file once
// for every type of numbers, surrogate and reset that is asked for: they come as the macros below.
//
// A block of neurons goes through all time steps before the next block starts: its state then stays in the innermost
// cache, and memory sees every number once. The names are those of cuda.py.

#include <cstdint>
#include <initializer_list>

namespace {

// bfloat16 is the upper half of a float.
struct bfloat16 { uint16_t bits; };

enum Surrogate { SIGMOID, FAST_SIGMOID, ARCTAN, TRIANGLE, RECTANGLE, GAUSSIAN };

typedef REAL Real;                            // float or double: the potential, and all arithmetic
typedef STORED Stored;                        // the currents and their gradients
constexpr Surrogate surrogate = SURROGATE;
constexpr bool subtract = SUBTRACT;           // a spike takes the threshold from the potential, not all of it

constexpr int64_t BLOCK = 512;                // neurons
constexpr int64_t LARGE = 2048;               // neurons of a block in memory, of which a processor fetches whole pages
constexpr int64_t CACHE = 4 << 20;            // bytes: what is larger than this is written past the caches
constexpr double LN2 = 0.69314718055994531, PI = 3.14159265358979324, SQRT2PI = 2.50662827463100050;

// One register of neurons, a line below.
#if defined(__AVX512F__)
constexpr int WIDTH = 64;  // bytes
#elif defined(__AVX__)
constexpr int WIDTH = 32;
#else
constexpr int WIDTH = 16;
#endif
template <typename Number> struct Lanes;
template <> struct Lanes<float> {
  typedef float Vector __attribute__((vector_size(WIDTH)));
  typedef int32_t Integers __attribute__((vector_size(WIDTH)));
  static constexpr int mantissa = 23, lowest_exponent = -125, degree = 6;
  static constexpr int32_t all_but_sign = INT32_MAX;
};
template <> struct Lanes<double> {
  typedef double Vector __attribute__((vector_size(WIDTH)));
  typedef int64_t Integers __attribute__((vector_size(WIDTH)));
  static constexpr int mantissa = 52, lowest_exponent = -1021, degree = 13;
  static constexpr int64_t all_but_sign = INT64_MAX;
};
typedef Lanes<Real> L;
typedef L::Vector Vector;
typedef L::Integers Integers;
typedef uint16_t Halves __attribute__((vector_size(WIDTH / 2)));
typedef uint32_t Words __attribute__((vector_size(WIDTH)));
constexpr int count = WIDTH / sizeof(Real);   // neurons in a line
constexpr int64_t MOST = LARGE / count + 1;   // lines in a block

// --- lines in memory -------------------------------------------------------------------------------------------------

// Written through the caches or past them; or shorter than a line, `width` neurons.
enum Lines { KEPT, PAST, PART };

// What lies at an address, aligned or not.
template <typename To> inline To at(const void *from) {
  To x;
  __builtin_memcpy(&x, from, sizeof x);
  return x;
}

inline Vector whole(const Real *from) { return at<Vector>(from); }

inline Vector whole(const bfloat16 *from) {
  return (Vector)(__builtin_convertvector(at<Halves>(from), Words) << 16);
}

template <Lines LINES, typename Number> inline Vector load(const Number *from, int64_t width) {
  if (LINES != PART) return whole(from);
  Number padded[count] = {};
  __builtin_memcpy(padded, from, width * sizeof(Number));
  return whole(padded);
}

// Written past the caches, a line is not read from memory first, and leaves the caches to numbers still needed. The
// header that has these instructions under their usual names takes longer to compile than this file. A sanitiser of GCC
// does not watch them.
template <typename Bits> inline void stream(void *to, Bits x) {
#if defined(__clang__)
  __builtin_nontemporal_store(x, (Bits *)to);
#elif defined(__SANITIZE_ADDRESS__)
  __builtin_memcpy(to, &x, sizeof x);
#else
#ifdef __AVX512F__
  typedef long long Eight __attribute__((vector_size(64)));
  if (sizeof x == 64) return __builtin_ia32_movntdq512((Eight *)to, at<Eight>(&x));
#endif
#ifdef __AVX__
  typedef long long Four __attribute__((vector_size(32)));
  if (sizeof x == 32) return __builtin_ia32_movntdq256((Four *)to, at<Four>(&x));
#endif
#ifdef __SSE2__
  typedef long long Two __attribute__((vector_size(16)));
  if (sizeof x == 16) return __builtin_ia32_movntdq((Two *)to, at<Two>(&x));
#endif
  __builtin_memcpy(to, &x, sizeof x);
#endif
}

// Other threads must find what was written past the caches.
template <Lines LINES> inline void finish() {
#if defined(__x86_64__) || defined(__i386__)
  if (LINES == PAST) __builtin_ia32_sfence();
#else
  if (LINES == PAST) __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

template <Lines LINES, typename Bits> inline void store_bits(void *to, Bits x, int64_t bytes) {
  if (LINES == PAST) stream(to, x);
  else if (LINES == PART) __builtin_memcpy(to, &x, bytes);
  else __builtin_memcpy(to, &x, sizeof x);
}

template <Lines LINES, typename V> inline void store(Real *to, V x, int64_t width) {
  store_bits<LINES>(to, x, width * sizeof(Real));
}

template <Lines LINES, typename V> inline void store(bfloat16 *to, V x, int64_t width) {
  Words bits = (Words)x, rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;  // to the nearest, ties to even
  rounded = x == x ? rounded : (bits >> 16) | 64;                                // NaN stays NaN
  store_bits<LINES>(to, __builtin_convertvector(rounded, Halves), width * sizeof(bfloat16));
}

// --- the surrogate ---------------------------------------------------------------------------------------------------

// 2 to the power of -|x|: a polynomial for the fraction, the exponent's own bits for the rest.
inline Vector half_to_the(Vector x) {
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

inline Vector magnitude(Vector x) {
  return (Vector)((Integers)x & L::all_but_sign);
}

struct Settings { double leak_m, leak_s, gain_s, threshold, inverse, height, weight; int64_t temporal; };

// The constants of the kernel k, as one factor of U - threshold and one of k.
inline double scale(const Settings &s) {
  constexpr double gaussian = 0.84932180028801905;  // 1 / sqrt(2 log 2)
  return surrogate == SIGMOID ? s.inverse / LN2 : surrogate == GAUSSIAN ? s.inverse * gaussian : s.inverse;
}

inline double height(const Settings &s) {
  switch (surrogate) {
    case FAST_SIGMOID: case RECTANGLE: return s.height / 2;
    case ARCTAN: return s.height / PI;
    case GAUSSIAN: return s.height / SQRT2PI;
    default: return s.height;
  }
}

// h at x = scale * (U - threshold).
inline Vector derivative(Vector x, Real height) {
  const Vector nothing = {};
  if (surrogate == SIGMOID) {
    const Vector e = half_to_the(x);
    return height * e / ((1 + e) * (1 + e));  // eq. 10
  }
  if (surrogate == GAUSSIAN) return height * half_to_the(x * x);
  if (surrogate == ARCTAN) return height / (1 + x * x);
  const Vector distance = magnitude(x);
  if (surrogate == FAST_SIGMOID) return height / ((1 + distance) * (1 + distance));
  if (surrogate == TRIANGLE) return distance > 1 ? nothing : height * (1 - distance);  // NaN stays NaN
  return distance < 1 ? nothing + height : nothing;
}

// --- one step of one line of neurons ---------------------------------------------------------------------------------

// Equations 3-5. `remaining` and `decayed` are what U and a leave to the next step.
struct Firing {
  const Real leak_m, leak_s, threshold;
  const Vector spike, taken;
  explicit Firing(const Settings &s)
      : leak_m(s.leak_m), leak_s(s.leak_s), threshold(s.threshold), spike(Vector{} + Real(s.gain_s)),
        taken(Vector{} + threshold) {}

  Vector psc(Vector u, Vector &remaining, Vector &decayed) const {
    const Vector silent = {}, all = silent + 1;
    const Vector a = decayed + (u > threshold ? spike : silent);
    remaining = leak_m * (subtract ? u - (u > threshold ? taken : silent) : u * (u > threshold ? silent : all));
    decayed = leak_s * a;
    return a;
  }
};

// What the gradient has of eq. 8: nothing, the leak, or the leak and the reset term. Each does no more than it needs.
enum Temporal { SPATIAL, LEAK, RESET };

// Equations 7 and 8. `carried` is what delta leaves to the step before.
template <Temporal TEMPORAL> struct Adjoint {
  const Real leak_m, leak_s, gain_s, threshold, inside, outside, weight;
  explicit Adjoint(const Settings &s)
      : leak_m(s.leak_m), leak_s(s.leak_s), gain_s(s.gain_s), threshold(s.threshold), inside(scale(s)),
        outside(height(s)), weight(subtract ? s.weight * s.threshold : s.weight) {}

  // Of the potential, with the gradients that arrive at psc and spikes.
  Vector delta(Vector u, Vector alpha, Vector grad_spikes, Vector carried) const {
    const Vector nothing = {}, all = nothing + 1, overdrive = u - threshold;
    const Vector h = derivative(overdrive * inside, outside);
    Vector grad_s = gain_s * alpha + grad_spikes;
    if (TEMPORAL == RESET) grad_s -= subtract ? weight * carried : weight * u * carried;
    if (TEMPORAL == SPATIAL) return grad_s * h;
    return grad_s * h + (subtract ? carried : carried * (overdrive > 0 ? nothing : all));
  }
};

// --- the loops -------------------------------------------------------------------------------------------------------

// Which neurons a block has: the last one takes a rest that fills no line, so that no two blocks share a neuron.
struct Block {
  int64_t start, size, lines;
  Block(int64_t number, int64_t N, int64_t whole) : start(number * whole) {
    size = number + 1 < number_for(N, whole) ? whole : N - start;
    lines = (size + count - 1) / count;
  }
  static int64_t number_for(int64_t N, int64_t whole) { return N < whole + count ? 1 : (N - count) / whole + 1; }
  // The last line may overlap the one before it: what it computes twice comes out the same.
  int64_t position(int64_t line) const {
    const int64_t first = line * count, last = size < count ? 0 : size - count;
    return first < last ? first : last;
  }
};

// A block's part of a row of state. A row that is not there holds zeros, and keeps nothing.
inline void read(Vector *lines, const Real *row, const Block &block) {
  if (row) row += block.start;
  for (int64_t i = 0; i < block.lines; i++) {
    if (!row) lines[i] = Vector{};
    else if (block.size < count) lines[i] = load<PART>(row, block.size);
    else lines[i] = load<KEPT>(row + block.position(i), count);
  }
}

template <Lines LINES = KEPT, typename Number>
inline void write(Number *row, const Vector *lines, const Block &block) {
  if (!row) return;
  row += block.start;
  for (int64_t i = 0; i < block.lines; i++) {
    if (block.size < count) store<PART>(row, lines[i], block.size);
    else store<LINES == PART ? KEPT : LINES>(row + block.position(i), lines[i], count);
  }
}

inline bool aligned(const void *address) { return (uintptr_t)address % 64 == 0; }

inline Lines lines_for(int64_t T, int64_t N, std::initializer_list<const void *> outputs) {
  const int64_t row = N * int64_t(sizeof(Stored));
  bool past = T * row > CACHE && row % 64 == 0;
  for (const void *output : outputs) past = past && aligned(output);
  return N < count ? PART : past ? PAST : KEPT;
}

// f(the block) for each block of N neurons.
template <typename F> inline void in_blocks(int64_t N, Lines lines, int64_t threads, F f) {
  const bool large = lines == PAST && N >= 4 * threads * LARGE;  // enough blocks for every thread
  const int64_t whole = large ? LARGE : BLOCK, blocks = Block::number_for(N, whole);
#pragma omp parallel for num_threads(threads < blocks ? threads : blocks)
  for (int64_t number = 0; number < blocks; number++) f(Block(number, N, whole));
}

// One call, as cpu.py packs it. `..._step` is from one row to the next: N, or 0 where one row serves at every time. The
// rows of state may be null. So may the potential: nobody wants a gradient then, and potential and psc of the last step
// go to the last two.
struct Forward {
  const Stored *current;
  Stored *psc;
  Real *potential;
  const Real *remaining, *decayed;
  Real *last_potential, *last_psc;
  const Settings *settings;
  int64_t current_step, T, N, threads;
};

// All time steps of one block.
template <Lines LINES, bool KEEP>
void forward(const Forward &call, const Block block, Vector *remaining, Vector *decayed) {
  Vector potentials[MOST], pscs[MOST];  // of the last step
  const Firing neurons(*call.settings);
  const int64_t T = call.T, N = call.N, step = call.current_step;
  const Stored *current = call.current + block.start;
  Stored *psc = call.psc + block.start;
  Real *potential = KEEP ? call.potential + block.start : nullptr;
  for (int64_t t = 0; t < T; t++, current += step, psc += N, potential += KEEP ? N : 0) {
    for (int64_t i = 0; i < block.lines; i++) {
      const int64_t n = block.position(i);
      if (LINES != PART) __builtin_prefetch(current + step + n);
      const Vector u = remaining[i] + load<LINES>(current + n, block.size);
      const Vector a = neurons.psc(u, remaining[i], decayed[i]);
      if (KEEP) store<LINES>(potential + n, u, block.size);
      else if (t == T - 1) potentials[i] = u, pscs[i] = a;
      store<LINES>(psc + n, a, block.size);
    }
  }
  if (!KEEP) {
    write<LINES>(call.last_potential, potentials, block);
    write<LINES>(call.last_psc, pscs, block);
  }
  finish<LINES>();
}

// One call. Gradients that do not arrive are null. With a current_step of 0 the gradient is summed over time.
struct Backward {
  const Real *potential;
  const Stored *grad_psc, *grad_spikes;
  const Real *grad_last;
  Stored *grad_current;
  const Real *alphas;
  Real *carried_after, *alphas_after;
  const Settings *settings;
  int64_t psc_step, spikes_step, current_step, T, N, threads;
};

const Stored ZEROS[LARGE + count] = {};

// One block from t = end - 1 down to begin. `carried` and `alphas` are what delta and alpha leave to the step before.
// Only PART knows of a gradient that arrives at the last potential, and adds it to delta.
template <Temporal TEMPORAL, Lines LINES>
void backward(const Backward &call, const Block block, int64_t begin, int64_t end, Vector *carried, Vector *alphas,
              Vector *sums) {
  const Adjoint<TEMPORAL> neurons(*call.settings);
  const int64_t N = call.N, psc_step = call.grad_psc ? call.psc_step : 0, step = call.current_step;
  const int64_t width = block.size < count ? block.size : count;
  const Stored *all_psc = call.grad_psc ? call.grad_psc + block.start : ZEROS;
  for (int64_t t = end - 1; t >= begin; t--) {
    const Real *potential = call.potential + block.start + t * N;
    const Stored *grad_psc = all_psc + t * psc_step, *grad_spikes = call.grad_spikes;
    if (grad_spikes) grad_spikes += block.start + t * call.spikes_step;
    const Real *grad_last = LINES == PART && t == call.T - 1 ? call.grad_last : nullptr;
    Stored *grad_current = call.grad_current + block.start + t * step;
    for (int64_t i = 0; i < block.lines; i++) {
      const int64_t n = block.position(i);
      if (LINES != PART) __builtin_prefetch(potential - N + n);
      if (LINES != PART) __builtin_prefetch(grad_psc - psc_step + n);
      const Vector alpha = load<LINES>(grad_psc + n, width) + alphas[i];
      const Vector at_spikes = grad_spikes ? load<LINES>(grad_spikes + n, width) : Vector{};
      Vector delta = neurons.delta(load<LINES>(potential + n, width), alpha, at_spikes, carried[i]);
      if (grad_last) delta += load<LINES>(grad_last + block.start + n, width);
      if (TEMPORAL != SPATIAL) carried[i] = neurons.leak_m * delta;
      alphas[i] = neurons.leak_s * alpha;
      if (step) store<LINES>(grad_current + n, delta, width);
      else sums[i] += delta;
    }
  }
  finish<LINES>();
}

template <bool KEEP> auto forward_for(Lines lines) {
  return lines == PART ? forward<PART, KEEP> : lines == PAST ? forward<PAST, KEEP> : forward<KEPT, KEEP>;
}

template <Lines LINES> auto backward_for(const Settings &s) {
  if (!s.temporal) return backward<SPATIAL, LINES>;
  return s.weight == 0 ? backward<LEAK, LINES> : backward<RESET, LINES>;
}

}  // namespace

extern "C" void tsbp_forward(const Forward *arguments) {
  const Forward &call = *arguments;
  const Lines lines = lines_for(call.T, call.N, {call.psc, call.potential, call.last_potential, call.last_psc});
  auto *loop = call.potential ? forward_for<true>(lines) : forward_for<false>(lines);
  in_blocks(call.N, lines, call.threads, [&](const Block &block) {
    Vector remaining[MOST], decayed[MOST];
    read(remaining, call.remaining, block);
    read(decayed, call.decayed, block);
    loop(call, block, remaining, decayed);
  });
}

extern "C" void tsbp_backward(const Backward *arguments) {
  const Backward &call = *arguments;
  const Settings &s = *call.settings;
  const Lines lines = lines_for(call.T, call.N, {call.grad_current});
  auto *loop = lines == PART ? backward_for<PART>(s) : lines == PAST ? backward_for<PAST>(s) : backward_for<KEPT>(s);
  const int64_t apart = call.grad_last != nullptr;  // steps for which PART must do
  in_blocks(call.N, lines, call.threads, [&](const Block &block) {
    Vector carried[MOST], alphas[MOST], sums[MOST];
    read(carried, nullptr, block);
    read(sums, nullptr, block);
    read(alphas, call.alphas, block);
    if (apart) backward_for<PART>(s)(call, block, call.T - 1, call.T, carried, alphas, sums);
    loop(call, block, 0, call.T - apart, carried, alphas, sums);
    if (!call.current_step) write(call.grad_current, sums, block);
    if (s.temporal) write(call.carried_after, carried, block);
    write(call.alphas_after, alphas, block);
  });
}

// --- products with events --------------------------------------------------------------------------------------------

// Of the neurons that a layer hears few fire in a step: their weights are added one by one, the others not looked at.
// A spike is filtered in time, and so is what the spikes add up to. The weights come as [M, K, N] for M networks, the
// other arrays have time first, with the steps below from one entry to the next.
struct Events {
  const Real *potential;           // [T, B, M, K]; a neuron fires above the threshold
  const Real *weights;             // null in the backward pass
  Real *output;                    // [T, B, M, N]; in the backward pass what arrives there
  Real *gradient;                  // of the weights, zeros at first
  double threshold, leak, gain;
  int64_t T, B, M, K, N, threads;
  int64_t input_time, input_example, input_network, output_time, output_example, output_network;
};

// A bit for each lane that is not zero.
inline uint64_t bits(Integers lanes) {
#if defined(__AVX__) && !defined(__AVX512F__)
  typedef float Floats __attribute__((vector_size(32)));
  typedef double Doubles __attribute__((vector_size(32)));
  if (sizeof(Real) == 4) return __builtin_ia32_movmskps256((Floats)lanes);
  return __builtin_ia32_movmskpd256((Doubles)lanes);
#elif defined(__AVX512DQ__)
  typedef int Ints __attribute__((vector_size(64)));
  typedef long long Longs __attribute__((vector_size(64)));
  if (sizeof(Real) == 4) return (uint16_t)__builtin_ia32_cvtd2mask512((Ints)lanes);
  return (uint8_t)__builtin_ia32_cvtq2mask512((Longs)lanes);
#else
  uint64_t found = 0;
  for (int i = 0; i < count; i++) found |= uint64_t(lanes[i] != 0) << i;
  return found;
#endif
}

// Adds `gain` times the weights of each neuron that fires to the sums, or the sums to the gradient of its weights.
template <bool BACKWARD> inline void meet(const Events &call, const Real *potential, Real *weights, Real *sums) {
  const int64_t K = call.K, N = call.N;
  const Real threshold = call.threshold, gain = BACKWARD ? 1 : call.gain;
  for (int64_t first = 0; first < K; first += count) {
    const int64_t width = K - first < count ? K - first : count;
    const Vector u = width < count ? load<PART>(potential + first, width) : load<KEPT>(potential + first, width);
    uint64_t firing = bits(u > threshold);
    if (width < count) firing &= (uint64_t(1) << width) - 1;  // the rest is zeros, which may be above the threshold
    for (; firing; firing &= firing - 1) {
      const int64_t k = first + __builtin_ctzll(firing);
      Real *__restrict__ to = BACKWARD ? weights + k * N : sums;
      const Real *__restrict__ from = BACKWARD ? sums : weights + k * N;
      for (int64_t n = 0; n < N; n++) to[n] += gain * from[n];
    }
  }
}

// A thread has a share of the networks, and meets their rows in the order in which they lie in memory.
template <bool BACKWARD> void through_time(const Events &call, int64_t first, int64_t last, Real *sums) {
  const int64_t N = call.N;
  const Real leak = call.leak, gain = call.gain;
  for (int64_t step = 0; step < call.T; step++) {
    const int64_t t = BACKWARD ? call.T - 1 - step : step;
    for (int64_t b = 0; b < call.B; b++) {
      for (int64_t m = first; m < last; m++) {
        const Real *potential = call.potential + t * call.input_time + b * call.input_example + m * call.input_network;
        Real *output = call.output + t * call.output_time + b * call.output_example + m * call.output_network;
        if (BACKWARD) {
          Real *own = sums + (b * (last - first) + m - first) * N;
          for (int64_t n = 0; n < N; n++) own[n] = leak * own[n] + gain * output[n];
          meet<true>(call, potential, call.gradient + m * call.K * N, own);
        } else {
          for (int64_t n = 0; n < N; n++) output[n] = t ? leak * output[n - call.output_time] : 0;
          meet<false>(call, potential, const_cast<Real *>(call.weights) + m * call.K * N, output);
        }
      }
    }
  }
}

template <bool BACKWARD> void in_parts(const Events &call) {
  const int64_t parts = call.threads < call.M ? call.threads : call.M;
#pragma omp parallel for num_threads(parts)
  for (int64_t part = 0; part < parts; part++) {
    const int64_t first = part * call.M / parts, last = (part + 1) * call.M / parts;
    Real *sums = BACKWARD ? new Real[call.B * (last - first) * call.N]() : nullptr;
    through_time<BACKWARD>(call, first, last, sums);
    delete[] sums;
  }
}

extern "C" void tsbp_events_forward(const Events *arguments) { in_parts<false>(*arguments); }

extern "C" void tsbp_events_backward(const Events *arguments) { in_parts<true>(*arguments); }

#include "recurrent.h"
