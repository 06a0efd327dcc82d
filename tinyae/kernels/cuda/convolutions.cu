// Sweeps of convolutions: every target pixel from its source pixels; see sweeps.cuh.
//
// Not written: pooling in the convolution's own epilogue (a second kernel pools), and loads by cp.async.

#include "packs.cuh"
#include "sweeps.cuh"
#include "tiles.cuh"
#include "convolve.cuh"

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
// The same for up to NARROW channels of Y, where a tile would be mostly empty. Tile: SIDE targets for each group of
// ``lanes`` threads (a power of 2), which share the channels of X, V at a time, and add up their sums at the end.
#define SIDE 4
template <int V>
INLINE void narrow(const REAL *X, const REAL *P, const REAL *b, REAL *Y, int code, int lanes, const Sweep &s) {
    Phase phase(s, blockIdx.z, 0);
    int lane = threadIdx.x % lanes, from = (blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes) * SIDE;
    int row[SIDE], column[SIDE], image[SIDE], target[SIDE];
    REAL sum[SIDE][NARROW] = {};
#pragma unroll
    for (int l = 0; l < SIDE; ++l) {
        Target t(phase, from + l);
        bool there = from + l < phase.targets;
        row[l] = there ? t.row(s, phase) : OUTSIDE, column[l] = t.column(s, phase);
        image[l] = t.image(s), target[l] = there ? t.index(s, phase) : -1;
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
                    if (!inside(s, i, j)) continue;
                    load<V>(x, X + (image[l] + i * s.columns.sources + j) * s.in + channel);
                    for (int o = 0; o < NARROW; ++o)
                        for (int e = 0; e < V; ++e) sum[l][o] += x[e] * w[o][e];
                }
            }
#pragma unroll
    for (int l = 0; l < SIDE; ++l)
#pragma unroll
        for (int o = 0; o < NARROW; ++o)
            for (int apart = lanes / 2; apart; apart /= 2)
                sum[l][o] += __shfl_xor_sync(0xffffffffu, sum[l][o], apart);
#pragma unroll 1
    for (int number = lane; number < SIDE * NARROW; number += lanes) {  // each thread of the group writes some
        int o = number % NARROW, to = -1;
        REAL z = 0;
#pragma unroll
        for (int e = 0; e < SIDE * NARROW; ++e)
            if (e == number) z = sum[e / NARROW][e % NARROW], to = target[e / NARROW];
        if (to >= 0 && o < s.out) Y[to * s.out + o] = activate(z + (b ? b[o] : (REAL)0), code);
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
        int u0 = s.rows.tap_first[a] + s.rows.tap_step * place.p;
        int v0 = s.columns.tap_first[b] + s.columns.tap_step * place.q;
        REAL sum = 0;
        for (int u = max(u0, 0); u < min(u0 + s.rows.span, s.rows.taps); ++u)
            for (int v = max(v0, 0); v < min(v0 + s.columns.span, s.columns.taps); ++v) {
                int tap = u * s.columns.taps + v;
                sum += turned ? W[(tap * s.out + o) * s.in + c] : W[(tap * s.in + c) * s.out + o];
            }
        P[(long long)phase.start * s.out + number] = sum;
    }
}
