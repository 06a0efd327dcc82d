// Convolutions of images (N, H, W, C), their gradients and their transposes, as products of matrices whose left one
// is never written: its rows, the patches, are read from the image tile by tile.
//
// One loop nest does all of them. A **sweep** computes each target pixel from the source pixels at some **places**,
//
//     Y[n, t_r, t_c, o] = f( b[o] + sum over places (p, q) and channels c of  X[n, s_r(p), s_c(q), c]  P[p, q, c, o] )
//
// Along one axis, a target pixel t = phases i + a of phase a sees the sources s(p) = step i + first[a] + apart p for
// p < count[a]; what lies outside of the image counts as zero. P is the weights, or sums of them:
//
//     sweep                           phases   step     apart     taps of W at place p of phase a
//     convolution                     1        stride   dilation  p
//     nearest upsampling by u first   u        1        1         those of which floor((a - before + tap) / u) meets s(p)
//     gradient of a convolution       stride   1        < 0       every stride-th: only those which met this pixel
//     gradient after upsampling       1        u        1         up to u: each met the pixel in one copy
//     transposed convolution          as the gradient of a convolution; its gradient is a convolution
//
// So nothing is multiplied by the zeros that a stride would put between pixels, and after upsampling by 2 a kernel of
// 3x3 costs 4 products for 9 (kernels/conv_blocks.py shows why). The gradient of the weights is the other product of the
// same patches, P's gradient = patches^T gZ, whose terms are then added up for each weight. kernels/gpu_images.py
// fills in the numbers. They are ints: a 64-bit division or product costs a GPU several instructions; arrays of 2^31 numbers
// and more are refused there.
//
// Not written: pooling within the convolution's own epilogue (a second kernel pools), and cp.async.

#define THREADS 128                       // of each block in this file
#define PACK ((int)(16 / sizeof(REAL)))   // numbers that are loaded at once: 16 bytes
#define INNER ((int)(64 / sizeof(REAL)))  // depth of a tile: so much of the sum is in shared memory at a time
#define PHASES 8                          // at most, along an axis
#define OUTSIDE (-(1 << 30))              // a coordinate that stays outside of every image

struct Axis {
    int sources, targets;                 // pixels
    int phases, step, apart;              // see above
    int taps, tap_step, span;             // place p of phase a has the taps tap_first[a] + tap_step p and span - 1 more
    int first[PHASES], count[PHASES], before[PHASES], tap_first[PHASES];  // before: places of the phases before
};
struct Sweep {
    int images, in, out;                  // channels of source and target
    Axis rows, columns;
};

struct __align__(16) Pack {
    REAL at[PACK];
};
template <int V> __device__ __forceinline__ void load(REAL (&x)[V], const REAL *from) {
    if (V == PACK) {
        Pack pack = *(const Pack *)from;
        for (int e = 0; e < V; ++e) x[e] = pack.at[e];
    } else {
        for (int e = 0; e < V; ++e) x[e] = from[e];
    }
}
template <int V> __device__ __forceinline__ void store(REAL *to, const REAL (&x)[V]) {
    if (V == PACK) {
        Pack pack;
        for (int e = 0; e < V; ++e) pack.at[e] = x[e];
        *(Pack *)to = pack;
    } else {
        for (int e = 0; e < V; ++e) to[e] = x[e];
    }
}

// A phase of both axes: how many targets and places it has, and where its matrix begins among those of all phases, in
// rows of ``out`` numbers. With ``ones`` each has a row more, see ``weights``.
struct Phase {
    int a, b, rows, columns, targets, down, across, K, start;
    __device__ __forceinline__ Phase(const Sweep &s, int number, int ones) {
        a = number / s.columns.phases, b = number % s.columns.phases;
        rows = (s.rows.targets - a + s.rows.phases - 1) / s.rows.phases;
        columns = (s.columns.targets - b + s.columns.phases - 1) / s.columns.phases;
        targets = s.images * rows * columns;
        down = s.rows.count[a], across = s.columns.count[b];
        K = down * across * s.in;
        int last = s.columns.phases - 1, all_across = s.columns.before[last] + s.columns.count[last];
        start = (s.rows.before[a] * all_across + down * s.columns.before[b]) * s.in + number * ones;
    }
};

// A target pixel of a phase: image n, row phases i + a, column phases j + b.
struct Target {
    int n, i, j;
    __device__ __forceinline__ Target(const Phase &phase, int number) {
        j = number % phase.columns;
        i = number / phase.columns % phase.rows;
        n = number / phase.columns / phase.rows;
    }
    __device__ __forceinline__ void advance(const Phase &phase, int by) {
        j += by;
        while (j >= phase.columns) {
            j -= phase.columns;
            if (++i == phase.rows) i = 0, ++n;
        }
    }
    __device__ __forceinline__ int index(const Sweep &s, const Phase &phase) const {
        return (n * s.rows.targets + s.rows.phases * i + phase.a) * s.columns.targets + s.columns.phases * j + phase.b;
    }
    __device__ __forceinline__ int row(const Sweep &s, const Phase &phase) const {
        return s.rows.step * i + s.rows.first[phase.a];
    }
    __device__ __forceinline__ int column(const Sweep &s, const Phase &phase) const {
        return s.columns.step * j + s.columns.first[phase.b];
    }
};

// An inner index: place (p, q) and channel.
struct Inner {
    int p, q, channel;
    __device__ __forceinline__ Inner(const Sweep &s, const Phase &phase, int k) {
        channel = k % s.in;
        q = phase.across ? k / s.in % phase.across : 0;
        p = phase.across ? k / s.in / phase.across : 0;
    }
    __device__ __forceinline__ void advance(const Sweep &s, const Phase &phase, int by) {
        channel += by;
        while (channel >= s.in) {
            channel -= s.in;
            if (++q == phase.across) q = 0, ++p;
        }
    }
};

// ---------------------------------------------------------------- products of tiles in shared memory
//
// sum += A B, for A of M rows and B of N columns, both INNER deep. A is kept row by row (``TURNED`` false: A[m][k]) or turned
// (A[k][m]), as it was loaded. A thread has ROWS x RUNS runs of RUN neighbouring columns of the result; ``row`` and
// ``column`` say which.

// Each thread multiplies a block of TM x TN. Rows of a warp's threads are neighbours where A is not turned, so that the
// rows' padding keeps their loads in different banks.
template <int M_, int N_, int TM, int TN, bool TURNED> struct Fma {
    enum { M = M_, N = N_, ROWS = TM, RUN = TN < PACK ? TN : PACK, RUNS = TN / RUN, ALONG = N / TN };
    static_assert(M / TM * ALONG == THREADS, "a thread for each block of the result");
    REAL sum[ROWS][RUNS][RUN];
    __device__ __forceinline__ static int row(int i) {
        int y = threadIdx.x / ALONG;
        return TURNED ? y * TM + i : y + i * (M / TM);
    }
    __device__ __forceinline__ static int column(int j) { return threadIdx.x % ALONG * TN + j * RUN; }
    __device__ __forceinline__ static REAL ready(REAL x) { return x; }
    __device__ __forceinline__ void multiply(const REAL (&a)[TM], const REAL *B) {
        REAL b[RUNS][RUN];
        for (int j = 0; j < RUNS; ++j) load<RUN>(b[j], B + column(j));
        for (int i = 0; i < TM; ++i)
            for (int j = 0; j < RUNS; ++j)
                for (int e = 0; e < RUN; ++e) sum[i][j][e] += a[i] * b[j][e];
    }
    __device__ __forceinline__ void step(const REAL (&A)[M][INNER + PACK], const REAL (&B)[INNER][N + 8]) {
#pragma unroll
        for (int k = 0; k < INNER; k += PACK) {
            REAL packs[TM][PACK], a[TM];
            for (int i = 0; i < TM; ++i) load<PACK>(packs[i], &A[row(i)][k]);
            for (int e = 0; e < PACK; ++e) {
                for (int i = 0; i < TM; ++i) a[i] = packs[i][e];
                multiply(a, B[k + e]);
            }
        }
    }
    __device__ __forceinline__ void step(const REAL (&A)[INNER][M + 8], const REAL (&B)[INNER][N + 8]) {
        enum { AT_ONCE = TM < PACK ? TM : PACK };
#pragma unroll
        for (int k = 0; k < INNER; ++k) {
            REAL a[TM];
            for (int i = 0; i < TM; i += AT_ONCE) load<AT_ONCE>((REAL(&)[AT_ONCE])a[i], &A[k][row(i)]);
            multiply(a, B[k]);
        }
    }
};

#if defined(EMULATED) || __CUDA_ARCH__ >= 800

// x with 10 bits after the point, rounded to the nearest, ties away from zero.
__device__ __forceinline__ float to_tf32(float x) {
    unsigned int bits;
#ifdef EMULATED
    memcpy(&bits, &x, 4);
    if ((bits & 0x7f800000u) != 0x7f800000u) bits = (bits + 0x1000u) & ~0x1fffu;  // infinity and NaN as they are
    memcpy(&x, &bits, 4);
    return x;
#else
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
#endif
}

// c += a b by one warp: a is 16 x 8, b 8 x 8. Of thread 4 g + t these are a's elements (g, t), (g + 8, t), (g, t + 4) and
// (g + 8, t + 4), b's (t, g) and (t + 4, g), and c's (g, 2 t) and (g, 2 t + 1) in ``high``, row g + 8 in ``low``.
__device__ __forceinline__ void mma(float (&high)[2], float (&low)[2], const float (&a)[4], const float (&b)[2]) {
#ifdef EMULATED
    __shared__ float all[THREADS][6];
    int lane = threadIdx.x % WARP, first = threadIdx.x - lane, g = lane / 4, t = lane % 4;
    for (int e = 0; e < 4; ++e) all[threadIdx.x][e] = a[e];
    for (int e = 0; e < 2; ++e) all[threadIdx.x][4 + e] = b[e];
    __syncwarp();
    for (int k = 0; k < 8; ++k)
        for (int e = 0; e < 2; ++e) {
            float right = all[first + 4 * (2 * t + e) + k % 4][4 + k / 4];
            high[e] += all[first + 4 * g + k % 4][2 * (k / 4)] * right;
            low[e] += all[first + 4 * g + k % 4][2 * (k / 4) + 1] * right;
        }
    __syncwarp();
#else
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(high[0]), "+f"(high[1]), "+f"(low[0]), "+f"(low[1])
        : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])), "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
          "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
#endif
}

// Tensor cores: each of the four warps has M / DOWN x N DOWN / 4 of the result, in pieces of 16 x 8.
template <int M_, int N_, int DOWN, bool TURNED> struct Tf32 {
    enum { M = M_, N = N_, WARPS = THREADS / WARP, HIGH = M / DOWN, WIDE = N * DOWN / WARPS };
    enum { PIECES = HIGH / 16, ROWS = 2 * PIECES, RUNS = WIDE / 8, RUN = 2 };
    float sum[ROWS][RUNS][RUN];
    __device__ __forceinline__ static int row(int i) {
        return threadIdx.x / WARP % DOWN * HIGH + 8 * i + threadIdx.x % WARP / 4;
    }
    __device__ __forceinline__ static int column(int j) {
        return threadIdx.x / WARP / DOWN * WIDE + 8 * j + threadIdx.x % 4 * 2;
    }
    __device__ __forceinline__ static REAL ready(REAL x) { return to_tf32(x); }
    template <class Tile> __device__ __forceinline__ void step(const Tile &A, const REAL (&B)[INNER][N + 8]) {
        int t = threadIdx.x % 4, g = threadIdx.x % WARP / 4;
#pragma unroll
        for (int k = t; k < INNER; k += 8) {
            float a[PIECES][4], b[RUNS][2];
            for (int i = 0; i < PIECES; ++i)
                for (int e = 0; e < 4; ++e) {
                    int m = row(2 * i + e % 2), at = k + e / 2 * 4;
                    a[i][e] = TURNED ? A[at][m] : A[m][at];
                }
            for (int j = 0; j < RUNS; ++j)
                for (int e = 0; e < 2; ++e) b[j][e] = B[k + 4 * e][column(j) - 2 * t + g];
            for (int i = 0; i < PIECES; ++i)
                for (int j = 0; j < RUNS; ++j) mma(sum[2 * i][j], sum[2 * i + 1][j], a[i], b[j]);
        }
    }
};

#else  // before Ampere there is no TF32
template <int M, int N, int DOWN, bool TURNED> struct Tf32 : Fma<M, N, M * N / THREADS / 4, 4, TURNED> {};
#endif

// ---------------------------------------------------------------- forward: the targets of a sweep

// What a row of a tile must know of its target pixel.
struct __align__(16) Row {
    int row, column, image, target;  // of the first place; of the image's first pixel; of the target, -1 if there is none
};

// Y = f(patches P + b), as above. Tile: M targets x N channels of Y; a block has one, blockIdx.x along the targets,
// .y along the channels, .z for the phase. Each thread loads V neighbouring channels at a time. While a slice of INNER is
// multiplied, the next one is on its way through registers into the other half of the shared memory.
template <class Product, int V>
__device__ __forceinline__ void convolve(const REAL *X, const REAL *P, const REAL *b, REAL *Y, int code, const Sweep &s) {
    enum { M = Product::M, N = Product::N, RUN = Product::RUN };
    __shared__ __align__(16) REAL A[2][M][INNER + PACK], B[2][INNER][N + 8];
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
    enum { B_ACROSS = N / V, B_DOWN = THREADS / B_ACROSS, B_LOADS = (INNER + B_DOWN - 1) / B_DOWN };  // of B
    int k = threadIdx.x % ACROSS * V, m = threadIdx.x / ACROSS, n = threadIdx.x % B_ACROSS * V, kb = threadIdx.x / B_ACROSS;
    REAL held[LOADS][V], held_b[B_LOADS][V];
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
            for (int e = 0; e < V; ++e) held_b[l][e] = 0;
            if (inner < INNER && k0 + inner < phase.K && n0 + n < s.out) load<V>(held_b[l], matrix + (k0 + inner) * s.out);
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
            for (int e = 0; e < V; ++e) held_b[l][e] = Product::ready(held_b[l][e]);
            if (INNER % B_DOWN == 0 || kb + l * B_DOWN < INNER) store<V>(&B[half][kb + l * B_DOWN][n], held_b[l]);
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
            if (V == PACK && o < s.out) store<RUN>(to, y);  // then s.out is a multiple of PACK
            if (V != PACK)
                for (int e = 0; e < RUN; ++e)
                    if (o + e < s.out) to[e] = y[e];
        }
    }
}

#define ARGUMENTS const REAL *X, const REAL *P, const REAL *b, REAL *Y, long long activation, Sweep s

extern "C" __global__ void convolve_128x32(ARGUMENTS) {
    convolve<Fma<128, 32, 8, 4, false>, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_128x16(ARGUMENTS) {
    convolve<Fma<128, 16, 4, 4, false>, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_64x64(ARGUMENTS) {
    convolve<Fma<64, 64, 8, 4, false>, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_32x32(ARGUMENTS) {
    convolve<Fma<32, 32, 4, 2, false>, PACK>(X, P, b, Y, activation, s);
}
// For channels that are no multiple of PACK, and arrays that do not begin with one.
extern "C" __global__ void convolve_128x32_any(ARGUMENTS) {
    convolve<Fma<128, 32, 8, 4, false>, 1>(X, P, b, Y, activation, s);
}
// float32 alone: factors rounded to TF32, sums in float32.
extern "C" __global__ void convolve_128x32_tf32(ARGUMENTS) {
    convolve<Tf32<128, 32, 4, false>, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_64x64_tf32(ARGUMENTS) {
    convolve<Tf32<64, 64, 2, false>, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_32x32_tf32(ARGUMENTS) {
    convolve<Tf32<32, 32, 2, false>, PACK>(X, P, b, Y, activation, s);
}

// The same for up to NARROW channels of Y, where a tile would be mostly empty. Tile: SIDE targets for each group of
// ``lanes`` threads (a power of 2), which share the channels of X, V at a time, and add up their sums at the end.
#define NARROW 4
#define SIDE 4
template <int V>
__device__ __forceinline__ void narrow(const REAL *X, const REAL *P, const REAL *b, REAL *Y, int code, int lanes, const Sweep &s) {
    Phase phase(s, blockIdx.z, 0);
    int lane = threadIdx.x % lanes, from = (blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes) * SIDE;
    int row[SIDE], column[SIDE], image[SIDE], target[SIDE];
    REAL sum[SIDE][NARROW] = {};
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
                for (int l = 0; l < SIDE; ++l) {
                    int i = row[l] + s.rows.apart * p, j = column[l] + s.columns.apart * q;
                    if ((unsigned)i >= (unsigned)s.rows.sources || (unsigned)j >= (unsigned)s.columns.sources) continue;
                    load<V>(x, X + (image[l] + i * s.columns.sources + j) * s.in + channel);
                    for (int o = 0; o < NARROW; ++o)
                        for (int e = 0; e < V; ++e) sum[l][o] += x[e] * w[o][e];
                }
            }
    for (int l = 0; l < SIDE; ++l)
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

// ---------------------------------------------------------------- the gradients of weights and bias

// P's gradient = patches^T gZ, and as its last row, where the patches would have a 1, the sum of gZ: b's gradient. The long
// sum over pixels is divided among the blocks blockIdx.x, ``chunk`` targets each, whose sums go to parts[blockIdx.x].
// Tile: M rows (place, channel) x N channels of Z, numbered by blockIdx.y; blockIdx.z is the phase.
template <class Product, int V>
__device__ __forceinline__ void weights(const REAL *X, const REAL *gZ, REAL *parts, int size, int chunk, const Sweep &s) {
    enum { M = Product::M, N = Product::N, RUN = Product::RUN };
    __shared__ __align__(16) REAL A[2][INNER][M + 8], B[2][INNER][N + 8];
    Phase phase(s, blockIdx.z, 1);
    int wide = (s.out + N - 1) / N, k0 = blockIdx.y / wide * M, n0 = blockIdx.y % wide * N;
    if (k0 > phase.K) return;
    int from = min((int)blockIdx.x * chunk, phase.targets), to = min(from + chunk, phase.targets);

    enum { ACROSS = M / V, DOWN = THREADS / ACROSS, LOADS = (INNER + DOWN - 1) / DOWN };
    enum { B_ACROSS = N / V, B_DOWN = THREADS / B_ACROSS, B_LOADS = (INNER + B_DOWN - 1) / B_DOWN };
    static_assert(LOADS * DOWN == INNER && B_LOADS * B_DOWN == INNER, "each thread loads as often");
    int m = threadIdx.x % ACROSS * V, d = threadIdx.x / ACROSS, n = threadIdx.x % B_ACROSS * V, d_b = threadIdx.x / B_ACROSS;
    int k = k0 + m, o = n0 + n, now = from + d, now_b = from + d_b;  // the targets that are loaded next
    REAL held[LOADS][V], held_b[B_LOADS][V];
    Inner place(s, phase, k);
    int down = s.rows.apart * place.p + s.rows.first[phase.a], across = s.columns.apart * place.q + s.columns.first[phase.b];
    Target t(phase, now), t_b(phase, now_b);

    auto fetch = [&]() {
#pragma unroll
        for (int l = 0; l < LOADS; ++l, now += DOWN) {
            for (int e = 0; e < V; ++e) held[l][e] = e == 0 && k == phase.K && now < to;  // the row of ones
            int i = s.rows.step * t.i + down, j = s.columns.step * t.j + across;
            if (k < phase.K && now < to && (unsigned)i < (unsigned)s.rows.sources && (unsigned)j < (unsigned)s.columns.sources)
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

    REAL *part = parts + (long long)blockIdx.x * size + (long long)phase.start * s.out;
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

// The same for up to NARROW channels of Z: each thread has a row. Tile: THREADS rows, numbered by blockIdx.y.
extern "C" __global__ void weights_narrow(WEIGHT_ARGUMENTS) {
    Phase phase(s, blockIdx.z, 1);
    int k = blockIdx.y * THREADS + threadIdx.x;
    if (k > phase.K) return;
    int from = min((int)(blockIdx.x * chunk), phase.targets), to = min(from + (int)chunk, phase.targets);
    Inner place(s, phase, k);
    int down = s.rows.apart * place.p + s.rows.first[phase.a], across = s.columns.apart * place.q + s.columns.first[phase.b];
    Target t(phase, from);
    REAL sum[NARROW] = {};
    for (int now = from; now < to; ++now, t.advance(phase, 1)) {
        int i = s.rows.step * t.i + down, j = s.columns.step * t.j + across;
        REAL x = k == phase.K;
        if (k < phase.K && (unsigned)i < (unsigned)s.rows.sources && (unsigned)j < (unsigned)s.columns.sources)
            x = X[((t.n * s.rows.sources + i) * s.columns.sources + j) * s.in + place.channel];
        const REAL *g = gZ + t.index(s, phase) * s.out;
        for (int o = 0; o < NARROW; ++o)
            if (o < s.out) sum[o] += x * g[o];
    }
    REAL *part = parts + (long long)blockIdx.x * size + ((long long)phase.start + k) * s.out;
    for (int o = 0; o < NARROW; ++o)
        if (o < s.out) part[o] = sum[o];
}

// gW[u, v, c, o] = the sum over all phases and parts of the gradient of the place to which tap (u, v) was added; after gW
// come the sums of the last rows, gb. Tile: 32 numbers, whose parts are divided among 8 groups of threads.
#define GROUPS 8
__device__ __forceinline__ int place_of(const Axis &axis, int a, int tap) {
    int beyond = tap - axis.tap_first[a], p = beyond / axis.tap_step;
    return beyond >= 0 && p < axis.count[a] && beyond % axis.tap_step < axis.span ? p : -1;
}
extern "C" __global__ void add_weights(const REAL *parts, REAL *gW, REAL *gb, long long size, long long number_of_parts, Sweep s) {
    __shared__ REAL sums[GROUPS][WARP];
    int lane = threadIdx.x % WARP, group = threadIdx.x / WARP, weights = s.rows.taps * s.columns.taps * s.in * s.out;
    int number = blockIdx.x * WARP + lane, o = number % s.out, c = number / s.out % s.in, tap = number / s.out / s.in;
    REAL sum = 0;
    for (int z = 0; z < s.rows.phases * s.columns.phases && number < weights + s.out; ++z) {
        Phase phase(s, z, 1);
        int k = phase.K;
        if (number < weights) {
            int p = place_of(s.rows, phase.a, tap / s.columns.taps), q = place_of(s.columns, phase.b, tap % s.columns.taps);
            if (p < 0 || q < 0) continue;
            k = (p * phase.across + q) * s.in + c;
        }
        const REAL *part = parts + ((long long)phase.start + k) * s.out + o;
        for (long long l = group; l < number_of_parts; l += GROUPS) sum += part[l * size];
    }
    sums[group][lane] = sum;
    __syncthreads();
    if (group) return;
    for (int g = 1; g < GROUPS; ++g) sum += sums[g][lane];
    if (number < weights) gW[number] = sum;
    else if (number < weights + s.out) gb[number - weights] = sum;
}
