// The gradients of the weights and the bias of a convolution; see sweeps.cuh.

#include "packs.cuh"
#include "sweeps.cuh"
#include "tiles.cuh"

// P's gradient = patches^T gZ, and as its last row, where the patches would have a 1, the sum of gZ: b's gradient. The
// long sum over pixels is divided among the blocks blockIdx.y, ``chunk`` targets each, whose sums go to
// parts[blockIdx.y].
// Tile: M rows (place, channel) x N channels of Z, numbered by blockIdx.x, of which there can be the most;
// blockIdx.z is the phase.
template <class Product, int V>
INLINE void weights(const REAL *X, const REAL *gZ, REAL *parts, int size, int chunk, const Sweep &s) {
    enum { M = Product::M, N = Product::N, RUN = Product::RUN };
    __align__(16) __shared__ REAL A[2][INNER][M + 8], B[2][INNER][N + 8];
    Phase phase(s, blockIdx.z, 1);
    int wide = (s.out + N - 1) / N, k0 = blockIdx.x / wide * M, n0 = blockIdx.x % wide * N;
    if (k0 > phase.K) return;
    int from = min((int)blockIdx.y * chunk, phase.targets), to = min(from + chunk, phase.targets);

    enum { ACROSS = M / V, DOWN = THREADS / ACROSS, LOADS = (INNER + DOWN - 1) / DOWN };
    enum { B_ACROSS = N / V, B_DOWN = THREADS / B_ACROSS, B_LOADS = (INNER + B_DOWN - 1) / B_DOWN };
    static_assert(LOADS * DOWN == INNER && B_LOADS * B_DOWN == INNER, "each thread loads as often");
    int m = threadIdx.x % ACROSS * V, d = threadIdx.x / ACROSS;
    int n = threadIdx.x % B_ACROSS * V, d_b = threadIdx.x / B_ACROSS;
    int k = k0 + m, o = n0 + n, now = from + d, now_b = from + d_b;  // the targets that are loaded next
    REAL held[LOADS][V], held_b[B_LOADS][V];
    Inner place(s, phase, k);
    int down = place.down(s), across = place.across(s);
    Target t(phase, now), t_b(phase, now_b);

    auto fetch = [&]() {
#pragma unroll
        for (int l = 0; l < LOADS; ++l, now += DOWN) {
            for (int e = 0; e < V; ++e) held[l][e] = e == 0 && k == phase.K && now < to;  // the row of ones
            int i = t.row(s, phase) + down, j = t.column(s, phase) + across;
            if (k < phase.K && now < to && inside(s, i, j))
                load<V>(held[l], X + ((t.n * s.rows.sources + i) * s.columns.sources + j) * s.in + place.channel);
            t.advance(phase, DOWN);
        }
#pragma unroll
        for (int l = 0; l < B_LOADS; ++l, now_b += B_DOWN) {
            for (int e = 0; e < V; ++e) held_b[l][e] = 0;
            if (now_b < to && o < s.out) load<V>(held_b[l], gZ + t_b.index(s, phase) * s.out + o);
            t_b.advance(phase, B_DOWN);
        }
    };
    auto keep = [&](int half) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            for (int e = 0; e < V; ++e) held[l][e] = Product::ready(held[l][e]);
            store<V>(&A[half][d + l * DOWN][m], held[l]);
        }
#pragma unroll
        for (int l = 0; l < B_LOADS; ++l) {
            for (int e = 0; e < V; ++e) held_b[l][e] = Product::ready(held_b[l][e]);
            store<V>(&B[half][d_b + l * B_DOWN][n], held_b[l]);
        }
    };

    Product product = {};
    fetch();
    keep(0);
    __syncthreads();
    for (int done = from, half = 0; done < to; done += INNER, half ^= 1) {
        bool more = done + INNER < to;
        if (more) fetch();
        product.step(A[half], B[half]);
        if (more) keep(half ^ 1);
        __syncthreads();
    }

    REAL *part = parts + (long long)blockIdx.y * size + (long long)phase.start * s.out;
#pragma unroll
    for (int i = 0; i < Product::ROWS; ++i)
        for (int j = 0; j < Product::RUNS; ++j)
            for (int e = 0; e < RUN; ++e) {
                int row = k0 + Product::row(i), column = n0 + Product::column(j) + e;
                if (row <= phase.K && column < s.out) part[row * s.out + column] = product.sum[i][j][e];
            }
}

#define WEIGHT_ARGUMENTS const REAL *X, const REAL *gZ, REAL *parts, long long size, long long chunk, Sweep s

extern "C" __global__ void weights_64x32(WEIGHT_ARGUMENTS) {
    weights<Fma<64, 32, 4, 4, true>, PACK>(X, gZ, parts, size, chunk, s);
}
extern "C" __global__ void weights_64x32_any(WEIGHT_ARGUMENTS) {
    weights<Fma<64, 32, 4, 4, true>, 1>(X, gZ, parts, size, chunk, s);
}
extern "C" __global__ void weights_16x32_any(WEIGHT_ARGUMENTS) {
    weights<Fma<16, 32, 2, 2, true>, 1>(X, gZ, parts, size, chunk, s);
}
extern "C" __global__ void weights_64x32_tf32(WEIGHT_ARGUMENTS) {
    weights<Tf32<64, 32, 4, true>, PACK>(X, gZ, parts, size, chunk, s);
}

// The same for up to NARROW channels of Z: each thread has a row. Tile: THREADS rows, numbered by blockIdx.x.
extern "C" __global__ void weights_narrow(WEIGHT_ARGUMENTS) {
    Phase phase(s, blockIdx.z, 1);
    int k = blockIdx.x * THREADS + threadIdx.x;
    if (k > phase.K) return;
    int from = min((int)(blockIdx.y * chunk), phase.targets), to = min(from + (int)chunk, phase.targets);
    Inner place(s, phase, k);
    int down = place.down(s), across = place.across(s);
    Target t(phase, from);
    REAL sum[NARROW] = {};
    for (int now = from; now < to; ++now, t.advance(phase, 1)) {
        int i = t.row(s, phase) + down, j = t.column(s, phase) + across;
        REAL x = k == phase.K;
        if (k < phase.K && inside(s, i, j))
            x = X[((t.n * s.rows.sources + i) * s.columns.sources + j) * s.in + place.channel];
        const REAL *g = gZ + t.index(s, phase) * s.out;
        for (int o = 0; o < NARROW; ++o)
            if (o < s.out) sum[o] += x * g[o];
    }
    REAL *part = parts + (long long)blockIdx.y * size + ((long long)phase.start + k) * s.out;
    for (int o = 0; o < NARROW; ++o)
        if (o < s.out) part[o] = sum[o];
}

// gW[u, v, c, o] = the sum over all phases and parts of the gradient of the place to which tap (u, v) was added; after
// gW come the sums of the last rows, gb. Tile: 32 numbers, whose parts are divided among 8 groups of threads.
#define GROUPS 8
INLINE int place_of(const Axis &axis, int a, int tap) {
    int beyond = tap - axis.tap_first[a], p = beyond / axis.tap_step;
    return beyond >= 0 && p < axis.count[a] && beyond % axis.tap_step < axis.span ? p : -1;
}
#define ADD const REAL *parts, REAL *gW, REAL *gb, long long size, long long count, Sweep s
extern "C" __global__ void add_weights(ADD) {
    __shared__ REAL sums[GROUPS][WARP];
    int lane = threadIdx.x % WARP, group = threadIdx.x / WARP, weights = s.rows.taps * s.columns.taps * s.in * s.out;
    int number = blockIdx.x * WARP + lane, o = number % s.out, c = number / s.out % s.in, tap = number / s.out / s.in;
    REAL sum = 0;
    for (int z = 0; z < s.rows.phases * s.columns.phases && number < weights + s.out; ++z) {
        Phase phase(s, z, 1);
        int k = phase.K;
        if (number < weights) {
            int p = place_of(s.rows, phase.a, tap / s.columns.taps);
            int q = place_of(s.columns, phase.b, tap % s.columns.taps);
            if (p < 0 || q < 0) continue;
            k = (p * phase.across + q) * s.in + c;
        }
        const REAL *part = parts + ((long long)phase.start + k) * s.out + o;
        for (long long l = group; l < count; l += GROUPS) sum += part[l * size];
    }
    sums[group][lane] = sum;
    __syncthreads();
    if (group) return;
    for (int g = 1; g < GROUPS; ++g) sum += sums[g][lane];
    if (number < weights) gW[number] = sum;
    else if (number < weights + s.out) gb[number - weights] = sum;
}
