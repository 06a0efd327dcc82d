// Forward: the targets of a sweep, one tile after the other.

// What a row of a tile must know of its target pixel.
struct __align__(16) Row {
    int row, column;    // of the source pixel at place (0, 0)
    int image, target;  // number of the image's first pixel; of the target, -1 if there is none
};

// Y = f(patches P + b), as above. Tile: M targets x N channels of Y; a block has one, blockIdx.x along the targets,
// .y along the channels, .z for the phase. Each thread loads V neighbouring channels of X at a time, and U of P; it stores
// U of Y. While a slice of INNER is multiplied, the next one is on its way through registers into the other half of the
// shared memory.
template <class Product, int V, int U>
INLINE void convolve(const REAL *X, const REAL *P, const REAL *b, REAL *Y, int code, const Sweep &s) {
    enum { M = Product::M, N = Product::N, RUN = Product::RUN };
    __align__(16) __shared__ REAL A[2][M][INNER + PACK], B[2][INNER][N + 8];
    __shared__ Row rows[M];
    Phase phase(s, blockIdx.z, 0);
    int from = blockIdx.x * M, n0 = blockIdx.y * N;
    if (from >= phase.targets) return;
    for (int m = threadIdx.x; m < M; m += THREADS) {
        Target t(phase, from + m);
        rows[m] = {t.row(s, phase), t.column(s, phase), t.image(s), t.index(s, phase)};
        if (from + m >= phase.targets) rows[m] = {OUTSIDE, 0, 0, -1};
    }
    __syncthreads();

    enum { ACROSS = INNER / V, DOWN = THREADS / ACROSS, LOADS = (M + DOWN - 1) / DOWN };              // of A
    enum { B_ACROSS = N / U, B_DOWN = THREADS / B_ACROSS, B_LOADS = (INNER + B_DOWN - 1) / B_DOWN };  // of B
    int k = threadIdx.x % ACROSS * V, m = threadIdx.x / ACROSS;
    int n = threadIdx.x % B_ACROSS * U, kb = threadIdx.x / B_ACROSS;
    REAL held[LOADS][V], held_b[B_LOADS][U];
    Inner place(s, phase, k);
    const REAL *matrix = P + (long long)phase.start * s.out + n0 + n;

    auto fetch = [&](int k0) {
        int down = place.down(s), across = place.across(s);
#pragma unroll
        for (int l = 0; l < LOADS; ++l) {
            for (int e = 0; e < V; ++e) held[l][e] = 0;
            if (M % DOWN && m + l * DOWN >= M) continue;
            Row r = rows[m + l * DOWN];
            int i = r.row + down, j = r.column + across;
            if (k0 + k < phase.K && inside(s, i, j))
                load<V>(held[l], X + (r.image + i * s.columns.sources + j) * s.in + place.channel);
        }
#pragma unroll
        for (int l = 0; l < B_LOADS; ++l) {
            int inner = kb + l * B_DOWN;
            for (int e = 0; e < U; ++e) held_b[l][e] = 0;
            bool there = inner < INNER && k0 + inner < phase.K && n0 + n < s.out;
            if (there) load<U>(held_b[l], matrix + (k0 + inner) * s.out);
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
    for (int k0 = -INNER, half = 1; k0 < phase.K; k0 += INNER, half ^= 1) {  // the first round only loads
        bool more = k0 + INNER < phase.K;
        if (more) fetch(k0 + INNER);
        if (k0 >= 0) product.step(A[half], B[half]);
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
            REAL y[RUN], *to = Y + target * s.out + o;
            for (int e = 0; e < RUN; ++e) {
                y[e] = (REAL)product.sum[i][j][e] + (b && o + e < s.out ? b[o + e] : (REAL)0);
                if (code == RELU) y[e] = activate(y[e], RELU);
            }
            if (U == PACK && o < s.out) store<RUN>(to, y);  // then s.out is a multiple of PACK
            if (U != PACK)
                for (int e = 0; e < RUN; ++e)
                    if (o + e < s.out) to[e] = y[e];
        }
    }
    if (code == NONE || code == RELU) return;
    // exp and tanh are long: in the loops above, which are written out, they would take longer to compile than all
    // else. So each thread takes up its numbers again.
#pragma unroll 1
    for (int number = 0; number < Product::ROWS * Product::RUNS * RUN; ++number) {
        int target = rows[Product::row(number / (Product::RUNS * RUN))].target;
        int o = n0 + Product::column(number / RUN % Product::RUNS) + number % RUN;
        if (target >= 0 && o < s.out) Y[target * s.out + o] = activate(Y[target * s.out + o], code);
    }
}

#define ARGUMENTS const REAL *X, const REAL *P, const REAL *b, REAL *Y, long long activation, Sweep s
