// Sweeps of convolutions: every target pixel from its source pixels; see sweeps.cuh.
//
// Not written: pooling in the convolution's own epilogue (a second kernel pools), and loads by cp.async.

#include "packs.cuh"
#include "sweeps.cuh"
#include "tiles.cuh"

// ---------------------------------------------------------------- forward: the targets of a sweep

// What a row of a tile must know of its target pixel.
struct __align__(16) Row {
    int row, column, image, target;  // of the first place; of the image's first pixel; of the target, -1 if there is none
};

// Y = f(patches P + b), as above. Tile: M targets x N channels of Y; a block has one, blockIdx.x along the targets,
// .y along the channels, .z for the phase. Each thread loads V neighbouring channels
// of X at a time, and U of P; it stores U of Y. While a slice of INNER is
// multiplied, the next one is on its way through registers into the other half of the shared memory.
template <class Product, int V, int U>
__device__ __forceinline__ void convolve(const REAL *X, const REAL *P, const REAL *b, REAL *Y, int code, const Sweep &s) {
    enum { M = Product::M, N = Product::N, RUN = Product::RUN };
    __align__(16) __shared__ REAL A[2][M][INNER + PACK], B[2][INNER][N + 8];
    __shared__ Row rows[M];
    Phase phase(s, blockIdx.z, 0);
    int from = blockIdx.x * M, n0 = blockIdx.y * N;
    if (from >= phase.targets) return;
    for (int m = threadIdx.x; m < M; m += THREADS) {
        Target t(phase, from + m);
        if (from + m < phase.targets)
            rows[m] = {t.row(s, phase), t.column(s, phase), t.n * s.rows.sources * s.columns.sources, t.index(s, phase)};
        else
            rows[m] = {OUTSIDE, 0, 0, -1};
    }
    __syncthreads();

    enum { ACROSS = INNER / V, DOWN = THREADS / ACROSS, LOADS = (M + DOWN - 1) / DOWN };              // of A
    enum { B_ACROSS = N / U, B_DOWN = THREADS / B_ACROSS, B_LOADS = (INNER + B_DOWN - 1) / B_DOWN };  // of B
    int k = threadIdx.x % ACROSS * V, m = threadIdx.x / ACROSS, n = threadIdx.x % B_ACROSS * U, kb = threadIdx.x / B_ACROSS;
    REAL held[LOADS][V], held_b[B_LOADS][U];
    Inner place(s, phase, k);
    const REAL *matrix = P + (long long)phase.start * s.out + n0 + n;

    auto fetch = [&](int k0) {
        int down = s.rows.apart * place.p, across = s.columns.apart * place.q;
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            for (int e = 0; e < V; ++e) held[l][e] = 0;
            if (M % DOWN && m + l * DOWN >= M) continue;
            Row r = rows[m + l * DOWN];
            int i = r.row + down, j = r.column + across;
            if (k0 + k < phase.K && (unsigned)i < (unsigned)s.rows.sources && (unsigned)j < (unsigned)s.columns.sources)
                load<V>(held[l], X + (r.image + i * s.columns.sources + j) * s.in + place.channel);
        }
#pragma unroll
        for (int l = 0; l < B_LOADS; ++l) {
            int inner = kb + l * B_DOWN;
            for (int e = 0; e < U; ++e) held_b[l][e] = 0;
            if (inner < INNER && k0 + inner < phase.K && n0 + n < s.out) load<U>(held_b[l], matrix + (k0 + inner) * s.out);
        }
        place.advance(s, phase, INNER);
    };
    auto keep = [&](int half) {
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            for (int e = 0; e < V; ++e) held[l][e] = Product::ready(held[l][e]);
            if (M % DOWN == 0 || m + l * DOWN < M) store<V>(&A[half][m + l * DOWN][k], held[l]);
        }
#pragma unroll
        for (int l = 0; l < B_LOADS; ++l) {
            for (int e = 0; e < U; ++e) held_b[l][e] = Product::ready(held_b[l][e]);
            if (INNER % B_DOWN == 0 || kb + l * B_DOWN < INNER) store<U>(&B[half][kb + l * B_DOWN][n], held_b[l]);
        }
    };

    Product product = {};
    fetch(0);
    keep(0);
    __syncthreads();
    for (int k0 = 0, half = 0; k0 < phase.K; k0 += INNER, half ^= 1) {
        bool more = k0 + INNER < phase.K;
        if (more) fetch(k0 + INNER);
        product.step(A[half], B[half]);
        if (more) keep(half ^ 1);
        __syncthreads();
    }

#pragma unroll
    for (int i = 0; i < Product::ROWS; ++i) {
        int target = rows[Product::row(i)].target;
        if (target < 0) continue;
#pragma unroll
        for (int j = 0; j < Product::RUNS; ++j) {
            int o = n0 + Product::column(j);
            REAL y[RUN];
            for (int e = 0; e < RUN; ++e)
                y[e] = activate((REAL)product.sum[i][j][e] + (b && o + e < s.out ? b[o + e] : (REAL)0), code);
            REAL *to = Y + target * s.out + o;
            if (U == PACK && o < s.out) store<RUN>(to, y);  // then s.out is a multiple of PACK
            if (U != PACK)
                for (int e = 0; e < RUN; ++e)
                    if (o + e < s.out) to[e] = y[e];
        }
    }
}

#define ARGUMENTS const REAL *X, const REAL *P, const REAL *b, REAL *Y, long long activation, Sweep s

extern "C" __global__ void convolve_128x32(ARGUMENTS) {
    convolve<Fma<128, 32, 8, 4, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_128x16(ARGUMENTS) {
    convolve<Fma<128, 16, 4, 4, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_64x64(ARGUMENTS) {
    convolve<Fma<64, 64, 8, 4, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_32x32(ARGUMENTS) {
    convolve<Fma<32, 32, 4, 2, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
// For images of 1 or 3 channels.
extern "C" __global__ void convolve_128x32_from_any(ARGUMENTS) {
    convolve<Fma<128, 32, 8, 4, false>, 1, PACK>(X, P, b, Y, activation, s);
}
// Where no channels are a multiple of PACK, or arrays do not begin with one.
extern "C" __global__ void convolve_128x32_any(ARGUMENTS) {
    convolve<Fma<128, 32, 8, 4, false>, 1, 1>(X, P, b, Y, activation, s);
}
// float32 alone: factors rounded to TF32, sums in float32.
extern "C" __global__ void convolve_128x32_tf32(ARGUMENTS) {
    convolve<Tf32<128, 32, 4, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_64x64_tf32(ARGUMENTS) {
    convolve<Tf32<64, 64, 2, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_32x32_tf32(ARGUMENTS) {
    convolve<Tf32<32, 32, 2, false>, PACK, PACK>(X, P, b, Y, activation, s);
}

// The same for up to NARROW channels of Y, where a tile would be mostly empty. Tile: SIDE targets for each group of
// ``lanes`` threads (a power of 2), which share the channels of X, V at a time, and add up their sums at the end.
#define SIDE 4
template <int V>
__device__ __forceinline__ void narrow(const REAL *X, const REAL *P, const REAL *b, REAL *Y, int code, int lanes, const Sweep &s) {
    Phase phase(s, blockIdx.z, 0);
    int lane = threadIdx.x % lanes, from = (blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes) * SIDE;
    int row[SIDE], column[SIDE], image[SIDE], target[SIDE];
    REAL sum[SIDE][NARROW] = {};
#pragma unroll
    for (int l = 0; l < SIDE; ++l) {
        Target t(phase, from + l);
        bool there = from + l < phase.targets;
        row[l] = there ? t.row(s, phase) : OUTSIDE, column[l] = t.column(s, phase);
        image[l] = t.n * s.rows.sources * s.columns.sources, target[l] = there ? t.index(s, phase) : -1;
    }
    for (int p = 0; p < phase.down; ++p)
        for (int q = 0; q < phase.across; ++q)
            for (int channel = lane * V; channel < s.in; channel += lanes * V) {
                const REAL *matrix = P + (phase.start + (p * phase.across + q) * s.in + channel) * s.out;
                REAL w[NARROW][V], x[V];
                for (int o = 0; o < NARROW; ++o)
                    for (int e = 0; e < V; ++e) w[o][e] = o < s.out ? matrix[e * s.out + o] : (REAL)0;
#pragma unroll
                for (int l = 0; l < SIDE; ++l) {
                    int i = row[l] + s.rows.apart * p, j = column[l] + s.columns.apart * q;
                    if ((unsigned)i >= (unsigned)s.rows.sources || (unsigned)j >= (unsigned)s.columns.sources) continue;
                    load<V>(x, X + (image[l] + i * s.columns.sources + j) * s.in + channel);
                    for (int o = 0; o < NARROW; ++o)
                        for (int e = 0; e < V; ++e) sum[l][o] += x[e] * w[o][e];
                }
            }
#pragma unroll
    for (int l = 0; l < SIDE; ++l)
#pragma unroll
        for (int o = 0; o < NARROW; ++o) {
            REAL z = sum[l][o];
            for (int apart = lanes / 2; apart; apart /= 2) z += __shfl_xor_sync(0xffffffffu, z, apart);
            if (lane == 0 && target[l] >= 0 && o < s.out)
                Y[target[l] * s.out + o] = activate(z + (b ? b[o] : (REAL)0), code);
        }
}
extern "C" __global__ void convolve_narrow(ARGUMENTS, long long lanes) {
    narrow<PACK>(X, P, b, Y, activation, lanes, s);
}
extern "C" __global__ void convolve_narrow_any(ARGUMENTS, long long lanes) {
    narrow<1>(X, P, b, Y, activation, lanes, s);
}

// ---------------------------------------------------------------- the matrices P of a sweep

// P[phase][place][c][o] = sum of W[tap][c][o] over the place's taps; ``turned``: of W[tap][o][c], for a gradient.
// One thread for each number; blockIdx.y is the phase.
extern "C" __global__ void place_weights(const REAL *W, REAL *P, long long turned, Sweep s) {
    Phase phase(s, blockIdx.y, 0);
    int a = phase.a, b = phase.b;
    EACH(number, (long long)phase.K * s.out) {
        int o = number % s.out, k = number / s.out, c = k % s.in;
        Inner place(s, phase, k);
        int u0 = s.rows.tap_first[a] + s.rows.tap_step * place.p, v0 = s.columns.tap_first[b] + s.columns.tap_step * place.q;
        REAL sum = 0;
        for (int u = max(u0, 0); u < min(u0 + s.rows.span, s.rows.taps); ++u)
            for (int v = max(v0, 0); v < min(v0 + s.columns.span, s.columns.taps); ++v) {
                int tap = u * s.columns.taps + v;
                sum += turned ? W[(tap * s.out + o) * s.in + c] : W[(tap * s.in + c) * s.out + o];
            }
        P[(long long)phase.start * s.out + number] = sum;
    }
}
