// A recurrent layer's two loops over time with the products with its weights, a part of cpu.cpp.
//
// The examples of a network do not hear each other, and no network hears another one: a job is some examples of one
// network. All of them take a time step before any takes the next, so that memory is read in order, and the weights and
// the neurons' state stay in the caches. There a row fills whole lines; nothing of what is beyond its end gets out.

namespace {

constexpr int64_t AHEAD = 3;  // examples whose rows are fetched before they are needed: a processor may not see to it

// The arrays are [T, B, M, N]: B examples of M networks of N neurons. The examples of a network make `shares` jobs.
struct Layer { int64_t T, B, M, N, shares, threads; };

// One call. What there was before the first step is [B, M, N], and may be null: zeros.
struct RecurrentForward {
  const Real *current, *weights;               // weights: [M, N, N], transposed
  Real *psc, *potential;
  const Real *remaining, *decayed, *product;   // product: of the psc before the first step with the weights
  const Settings *settings;
  int64_t current_step, potential_step;        // from one row to the next; 0 where one serves at every time
  Layer layer;
};

// One call. Gradients that do not arrive are null, and so may be results that nobody asked for.
struct RecurrentBackward {
  const Real *potential, *grad_psc, *grad_spikes, *grad_last, *grad_alpha;
  const Real *weights;                         // [M, N, N]; null: no error goes back through them
  Real *grad_current;                          // with a step of 0 the sum over time, zeros at first
  Real *grad_weights;                          // [shares, M, N, N], transposed
  Real *carried, *later, *heard;               // [B, M, N], of the psc before the first step; heard: see `backward_job`
  const Settings *settings;
  int64_t psc_step, spikes_step, current_step;
  Layer layer;
};

struct Job {
  int64_t network, share, first, last;   // and the examples from first up to last
  int64_t N, M, lines;                   // lines in a row
  Job(const Layer &l, int64_t number)
      : network(number / l.shares), share(number % l.shares), first(share * l.B / l.shares),
        last((share + 1) * l.B / l.shares), N(l.N), M(l.M), lines((N + count - 1) / count) {}
  int64_t examples() const { return last - first; }
  int64_t row(int64_t b) const { return ((first + b) * M + network) * N; }
};

// Rows of whole lines, zeros at first.
struct Rows {
  const int64_t lines;
  Vector *const all;
  Rows(int64_t rows, int64_t lines) : lines(lines), all(new Vector[rows * lines]()) {}
  Rows(const Rows &) = delete;
  ~Rows() { delete[] all; }
  Vector *operator[](int64_t row) const { return all + row * lines; }
  Real *numbers(int64_t row) const { return (Real *)(all + row * lines); }
};

template <auto VALUE> struct Constant { static constexpr auto value = VALUE; };

// f(the kind of line, its number, its neurons) for each line of a row of N neurons.
template <typename F> inline void for_lines(int64_t N, F f) {
  for (int64_t i = 0; i < N / count; i++) f(Constant<KEPT>(), i, count);
  if (N % count) f(Constant<PART>(), N / count, N % count);
}

// f(how many, the first) for groups of MOST, and for what is left over in groups of fewer.
template <int MOST, typename F> inline void in_groups(int64_t from, int64_t to, F f) {
  for (; from + MOST <= to; from += MOST) f(Constant<MOST>(), from);
  if constexpr (MOST > 1) in_groups<MOST / 2>(from, to, f);
}

// A matrix of N rows. The columns are cut into panels of so many lines, and what is left over into narrower ones; a
// panel's rows follow each other in memory, so that one of 128 rows stays in the innermost cache.
constexpr int PANEL = WIDTH == 64 ? 4 : 8;

struct Panels {
  const int64_t N, lines;
  Vector *const all;
  Panels(int64_t N, int64_t lines) : N(N), lines(lines), all(new Vector[N * lines]()) {}
  Panels(const Panels &) = delete;
  ~Panels() { delete[] all; }
  // f(how many lines wide, the first of them, the panel).
  template <typename F> void each(F f) const {
    in_groups<PANEL>(0, lines, [&](auto wide, int64_t column) { f(wide, column, all + column * N); });
  }
};

inline void read(Vector *to, const Real *row, int64_t N) {
  if (row) for_lines(N, [&](auto kind, int64_t i, int64_t size) { to[i] = load<kind.value>(row + i * count, size); });
}

inline void write(Real *row, const Vector *from, int64_t N) {
  for_lines(N, [&](auto kind, int64_t i, int64_t size) { store<kind.value>(row + i * count, from[i], size); });
}

inline void read(const Panels &to, const Real *matrix, int64_t N) {
  const Rows row(1, to.lines);
  for (int64_t k = 0; k < N; k++, matrix += N) {
    read(row[0], matrix, N);
    to.each([&](auto wide, int64_t column, Vector *panel) {
      for (int x = 0; x < wide.value; x++) panel[k * wide.value + x] = row[0][column + x];
    });
  }
}

// --- products --------------------------------------------------------------------------------------------------------

// out = row @ weights for several rows. A tile of the result stays in registers.
__attribute__((noinline)) void multiply(const Rows &rows, const Panels &weights, const Rows &out, int64_t number) {
#if defined(__AVX512F__) || defined(__aarch64__)
  constexpr int WIDE = 4, HIGH = 6;  // 24 of 32 registers
#else
  constexpr int WIDE = 2, HIGH = 6;
#endif
  weights.each([&](auto width, int64_t column, const Vector *panel) {
    in_groups<WIDE>(0, width.value, [&](auto wide, int64_t first) {
      in_groups<HIGH>(0, number, [&](auto high, int64_t row) {
        Vector sums[high.value][wide.value] = {};
        const Vector *from = panel + first;
        const Real *factors = rows.numbers(row);
        for (int64_t k = 0; k < weights.N; k++, from += width.value, factors++) {
#pragma GCC unroll 8
          for (int y = 0; y < high.value; y++) {
            const Real factor = at<Real>(factors + y * rows.lines * count);
#pragma GCC unroll 8
            for (int x = 0; x < wide.value; x++) sums[y][x] += factor * from[x];
          }
        }
#pragma GCC unroll 8
        for (int y = 0; y < high.value; y++) {
#pragma GCC unroll 8
          for (int x = 0; x < wide.value; x++) out[row + y][column + first + x] = sums[y][x];
        }
      });
    });
  });
}

// The neurons of each example that fire in one time step.
struct Firers {
  const int64_t lines;
  int32_t *const numbers;  // [examples, lines * count], and 7 more
  int64_t *const sizes;
  uint64_t *const words;   // a bit for each neuron of an example
  Firers(int64_t examples, int64_t lines)
      : lines(lines), numbers(new int32_t[examples * lines * count + 7]), sizes(new int64_t[examples]),
        words(new uint64_t[lines]()) {}
  Firers(const Firers &) = delete;
  ~Firers() { delete[] numbers; delete[] sizes; delete[] words; }
  const int32_t *of(int64_t b) const { return numbers + b * lines * count; }

  void line(int64_t i, int64_t width, Integers firing) {
    const uint64_t found = bits(firing) & (~uint64_t(0) >> (64 - width));
    words[i * count / 64] |= found << (i * count % 64);
  }
  // All lines of the example were seen. Eight numbers are written at once, some in vain: a loop that ends at the last
  // one makes a processor guess wrongly where. They may run into the next example's, which therefore come later.
  void example(int64_t b) {
    int32_t *to = numbers + b * lines * count;
    for (int64_t word = 0; word * 64 < lines * count; word++) {
      uint64_t left = words[word];
      const int found = __builtin_popcountll(left);
      for (int i = 0; i < found; i += 8) {
#pragma GCC unroll 8
        for (int j = 0; j < 8; j++, left &= left - 1) to[i + j] = word * 64 + __builtin_ctzll(left | uint64_t(1) << 63);
      }
      to += found;
      words[word] = 0;
    }
    sizes[b] = to - of(b);
  }
};

// sums = leak * sums + gain * the weights of those that fired.
inline void add_weights(const Firers &fired, const Panels &weights, const Rows &sums, int64_t examples, Real leak,
                        Real gain) {
  weights.each([&](auto wide, int64_t column, const Vector *panel) {
    for (int64_t b = 0; b < examples; b++) {
      Vector found[wide.value] = {};
      const int32_t *number = fired.of(b), *const end = number + fired.sizes[b];
      for (; number + 2 <= end; number += 2) {
        const Vector *one = panel + number[0] * wide.value, *other = panel + number[1] * wide.value;
#pragma GCC unroll 8
        for (int x = 0; x < wide.value; x++) found[x] += one[x] + other[x];
      }
      if (number < end) {
        for (int x = 0; x < wide.value; x++) found[x] += panel[*number * wide.value + x];
      }
      Vector *to = sums[b] + column;
#pragma GCC unroll 8
      for (int x = 0; x < wide.value; x++) to[x] = leak * to[x] + gain * found[x];
    }
  });
}

// Add each example's row to the gradients of the weights of those that fired.
inline void add_to_weights(const Firers &fired, const Panels &weights, const Rows &rows, int64_t examples) {
  weights.each([&](auto wide, int64_t column, Vector *panel) {
    for (int64_t b = 0; b < examples; b++) {
      Vector added[wide.value];
#pragma GCC unroll 8
      for (int x = 0; x < wide.value; x++) added[x] = rows[b][column + x];
      for (int64_t i = 0; i < fired.sizes[b]; i++) {
        Vector *to = panel + fired.of(b)[i] * wide.value;
#pragma GCC unroll 8
        for (int x = 0; x < wide.value; x++) to[x] += added[x];
      }
    }
  });
}

// --- the loops -------------------------------------------------------------------------------------------------------

// The products of psc and weights obey the recursion of the psc: what is left of them, and the weights of the neurons
// that have just fired.
void forward_job(const RecurrentForward &call, const Job &job) {
  const Layer &layer = call.layer;
  const int64_t N = job.N, lines = job.lines, examples = job.examples(), ahead = AHEAD * job.M * N;
  const Firing neurons(*call.settings);
  const Real gain = call.settings->gain_s;
  const Rows remaining(examples, lines), decayed(examples, lines), products(examples, lines);
  const Panels weights(N, lines);
  Firers fired(examples, lines);
  read(weights, call.weights + job.network * N * N, N);
  for (int64_t b = 0; b < examples; b++) {
    read(remaining[b], call.remaining ? call.remaining + job.row(b) : nullptr, N);
    read(decayed[b], call.decayed ? call.decayed + job.row(b) : nullptr, N);
    read(products[b], call.product ? call.product + job.row(b) : nullptr, N);
  }
  for (int64_t t = 0; t < layer.T; t++) {
    const int64_t start = t * layer.B * layer.M * N;
    for (int64_t b = 0; b < examples; b++) {
      const Real *current = call.current + t * call.current_step + job.row(b);
      Real *psc = call.psc + start + job.row(b), *potential = call.potential + t * call.potential_step + job.row(b);
      for_lines(N, [&](auto kind, int64_t i, int64_t size) {
        __builtin_prefetch(current + ahead + i * count);
        __builtin_prefetch(psc + ahead + i * count, 1);
        __builtin_prefetch(potential + ahead + i * count, 1);
        const Vector u = remaining[b][i] + load<kind.value>(current + i * count, size) + products[b][i];
        store<kind.value>(potential + i * count, u, size);
        store<kind.value>(psc + i * count, neurons.psc(u, remaining[b][i], decayed[b][i]), size);
        fired.line(i, size, u > neurons.threshold);
      });
      fired.example(b);
    }
    if (t + 1 < layer.T) add_weights(fired, weights, products, examples, neurons.leak_s, gain);
  }
}

// What arrives at a psc through the weights is a product of matrices. The gradient of the weights of a neuron that fires
// is what its psc is multiplied with from then on, `heard`: delta through the filter of the psc, backwards in time.
template <Temporal TEMPORAL> void backward_job(const RecurrentBackward &call, const Job &job) {
  const Layer &layer = call.layer;
  const int64_t N = job.N, lines = job.lines, examples = job.examples(), ahead = AHEAD * job.M * N;
  const Adjoint<TEMPORAL> neurons(*call.settings);
  const Rows carried(examples, lines), alphas(examples, lines), deltas(examples, lines), arriving(examples, lines);
  const Rows heard(examples, lines);
  const Panels weights(call.weights ? N : 0, lines), found(call.grad_weights ? N : 0, lines);
  Firers fired(examples, lines);
  if (call.weights) read(weights, call.weights + job.network * N * N, N);
  for (int64_t b = 0; b < examples; b++) read(alphas[b], call.grad_alpha ? call.grad_alpha + job.row(b) : nullptr, N);
  for (int64_t t = layer.T - 1; t >= 0; t--) {
    const bool last = t == layer.T - 1;
    if (call.weights && !last) multiply(deltas, weights, arriving, examples);
    for (int64_t b = 0; b < examples; b++) {
      const int64_t row = job.row(b);
      const Real *potential = call.potential + t * layer.B * layer.M * N + row;
      const Real *grad_psc = call.grad_psc ? call.grad_psc + t * call.psc_step + row : nullptr;
      const Real *grad_spikes = call.grad_spikes ? call.grad_spikes + t * call.spikes_step + row : nullptr;
      const Real *grad_last = call.grad_last && last ? call.grad_last + row : nullptr;
      Real *grad_current = call.grad_current + t * call.current_step + row;
      for_lines(N, [&](auto kind, int64_t i, int64_t size) {
        constexpr Lines LINES = kind.value;
        const int64_t n = i * count;
        __builtin_prefetch(potential + ahead + n);
        if (grad_psc) __builtin_prefetch(grad_psc + ahead + n);
        __builtin_prefetch(grad_current + ahead + n, 1);
        const Vector nothing = {}, u = load<LINES>(potential + n, size);
        heard[b][i] = neurons.leak_s * heard[b][i] + deltas[b][i];
        fired.line(i, size, u > neurons.threshold);
        const Vector alpha = (grad_psc ? load<LINES>(grad_psc + n, size) : nothing) + (arriving[b][i] + alphas[b][i]);
        const Vector at_spikes = grad_spikes ? load<LINES>(grad_spikes + n, size) : nothing;
        Vector delta = neurons.delta(u, alpha, at_spikes, carried[b][i]);
        if (grad_last) delta += load<LINES>(grad_last + n, size);
        if (TEMPORAL != SPATIAL) carried[b][i] = neurons.leak_m * delta;
        alphas[b][i] = neurons.leak_s * alpha;
        deltas[b][i] = delta;
        if (!call.current_step) delta += load<LINES>(grad_current + n, size);
        store<LINES>(grad_current + n, delta, size);
      });
      fired.example(b);
    }
    if (call.grad_weights && !last) add_to_weights(fired, found, heard, examples);
  }
  if (call.weights && call.later) multiply(deltas, weights, arriving, examples);
  for (int64_t b = 0; b < examples; b++) {
    for (int64_t i = 0; i < lines; i++) {
      alphas[b][i] += arriving[b][i];
      heard[b][i] = neurons.leak_s * heard[b][i] + deltas[b][i];
    }
    if (call.carried && TEMPORAL != SPATIAL) write(call.carried + job.row(b), carried[b], N);
    if (call.later) write(call.later + job.row(b), alphas[b], N);
    if (call.heard) write(call.heard + job.row(b), heard[b], N);
  }
  if (!call.grad_weights) return;
  Real *to = call.grad_weights + (job.share * layer.M + job.network) * N * N;
  const Rows row(1, lines);
  for (int64_t k = 0; k < N; k++, to += N) {
    found.each([&](auto wide, int64_t column, const Vector *panel) {
      for (int x = 0; x < wide.value; x++) row[0][column + x] = neurons.gain_s * panel[k * wide.value + x];
    });
    write(to, row[0], N);
  }
}

template <typename Call, typename F> void in_jobs(const Call &call, F loop) {
  const int64_t jobs = call.layer.M * call.layer.shares, threads = call.layer.threads;
#pragma omp parallel for schedule(dynamic) num_threads(threads < jobs ? threads : jobs)
  for (int64_t number = 0; number < jobs; number++) loop(call, Job(call.layer, number));
}

}  // namespace

extern "C" void tsbp_recurrent_forward(const RecurrentForward *call) {
  in_jobs(*call, [](const RecurrentForward &call, const Job &job) { forward_job(call, job); });
}

extern "C" void tsbp_recurrent_backward(const RecurrentBackward *call) {
  const Settings &s = *call->settings;
  in_jobs(*call, !s.temporal ? backward_job<SPATIAL> : s.weight == 0 ? backward_job<LEAK> : backward_job<RESET>);
}
