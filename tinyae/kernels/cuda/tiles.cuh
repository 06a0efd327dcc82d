// Products of tiles in shared memory: sum += A B, for A of M rows and B of N columns, both INNER deep. A is kept row by
// row (``TURNED`` false: A[m][k]) or turned (A[k][m]), as it was loaded. A thread has ROWS x RUNS runs of RUN
// neighbouring columns of the result; ``row`` and ``column`` say which.

// Each thread multiplies a block of TM x TN. Rows of a warp's threads are neighbours where A is not turned, so that the
// rows' padding keeps their loads in different banks.
template <int M_, int N_, int TM, int TN, bool TURNED> struct Fma {
    enum { M = M_, N = N_, ROWS = TM, RUN = TN < PACK ? TN : PACK, RUNS = TN / RUN, ALONG = N / TN };
    static_assert(M / TM * ALONG == THREADS, "a thread for each block of the result");
    REAL sum[ROWS][RUNS][RUN];
    INLINE static int row(int i) {
        int y = threadIdx.x / ALONG;
        return TURNED ? y * TM + i : y + i * (M / TM);
    }
    INLINE static int column(int j) { return threadIdx.x % ALONG * TN + j * RUN; }
    INLINE static REAL ready(REAL x) { return x; }
    INLINE void multiply(const REAL (&a)[TM], const REAL *B) {
        REAL b[RUNS][RUN];
        for (int j = 0; j < RUNS; ++j) load<RUN>(b[j], B + column(j));
        for (int i = 0; i < TM; ++i)
            for (int j = 0; j < RUNS; ++j)
                for (int e = 0; e < RUN; ++e) sum[i][j][e] += a[i] * b[j][e];
    }
    INLINE void step(const REAL (&A)[M][INNER + PACK], const REAL (&B)[INNER][N + 8]) {
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
    INLINE void step(const REAL (&A)[INNER][M + 8], const REAL (&B)[INNER][N + 8]) {
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
INLINE float to_tf32(float x) {
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

// c += a b by one warp: a is 16 x 8, b 8 x 8. Of thread 4 g + t these are a's elements (g, t), (g + 8, t), (g, t + 4)
// and (g + 8, t + 4), b's (t, g) and (t + 4, g), and c's (g, 2 t) and (g, 2 t + 1) in ``high``, row g + 8 in ``low``. All threads of the warp must
// come here together: volatile keeps the compiler from moving this to where only some of them need it.
INLINE void mma(float (&high)[2], float (&low)[2], const float (&a)[4], const float (&b)[2]) {
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
    unsigned int a0 = __float_as_uint(a[0]), a1 = __float_as_uint(a[1]), a2 = __float_as_uint(a[2]);
    unsigned int a3 = __float_as_uint(a[3]), b0 = __float_as_uint(b[0]), b1 = __float_as_uint(b[1]);
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(high[0]), "+f"(high[1]), "+f"(low[0]), "+f"(low[1])
                 : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
#endif
}

// Tensor cores: each of the four warps has M / DOWN x N DOWN / 4 of the result, in pieces of 16 x 8.
template <int M_, int N_, int DOWN, bool TURNED> struct Tf32 {
    enum { M = M_, N = N_, WARPS = THREADS / WARP, HIGH = M / DOWN, WIDE = N * DOWN / WARPS };
    enum { PIECES = HIGH / 16, ROWS = 2 * PIECES, RUNS = WIDE / 8, RUN = 2 };
    float sum[ROWS][RUNS][RUN];
    INLINE static int row(int i) {
        return threadIdx.x / WARP % DOWN * HIGH + 8 * i + threadIdx.x % WARP / 4;
    }
    INLINE static int column(int j) {
        return threadIdx.x / WARP / DOWN * WIDE + 8 * j + threadIdx.x % 4 * 2;
    }
    INLINE static REAL ready(REAL x) { return to_tf32(x); }
    template <class Tile> INLINE void step(const Tile &A, const REAL (&B)[INNER][N + 8]) {
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
