// Dense layers: Y = f(X W + b), and the way back. The definition is ops/linear.py.
// X (N, I), W (I, O), b (O,), Y (N, O).
//
// A layer with little to compute is one launch forward and one back, by the products of this file: what it costs is
// the launches. A large one is products of the library and a kernel for the rest; kernels/gpu_dense.py chooses.

// ---------------------------------------------------------------- beside the library's products

// A block of these two is as wide as a warp, or as the columns where they are fewer; its other threads are below each
// other. threadIdx.x counts columns, threadIdx.y rows; gridDim.y blocks share the rows of a column.
#define COLUMN (blockIdx.x * (long long)blockDim.x + threadIdx.x)
#define EACH_ROW_OF_COLUMN(n, N)                                                           \
    for (long long n = blockIdx.y * (long long)blockDim.y + threadIdx.y; COLUMN < O && n < (N); \
         n += (long long)gridDim.y * blockDim.y)

// Y <- f(Y + b), in place. Y (N, O), b (O,).
extern "C" __global__ void bias_activation(
    REAL *__restrict__ Y, const REAL *__restrict__ b, long long N, long long O, long long code) {
    REAL bias = b && COLUMN < O ? b[COLUMN] : (REAL)0;
    EACH_ROW_OF_COLUMN(n, N) Y[n * O + COLUMN] = activate(Y[n * O + COLUMN] + bias, code);
}

// gZ <- f'(Z) gY, where gZ is not null; gb <- sum_n gZ, where gb is not null. gY, Y and gZ (N, O), gb (O,).
// A thread adds up its rows, a block its threads; if rows are shared by blocks, their sums are put into `partial`
// (gridDim.y, O), and the block that comes last adds them up in order. Up to 1024 threads, a power of two.
extern "C" __global__ void __launch_bounds__(1024) through_and_sums(
    const REAL *__restrict__ gY, const REAL *__restrict__ Y, REAL *__restrict__ gZ,
    REAL *__restrict__ gb, REAL *partial, unsigned int *ticket, long long N, long long O, long long code) {
    __shared__ REAL sums[1024];
    REAL sum = 0;
    EACH_ROW_OF_COLUMN(n, N) {
        long long i = n * O + COLUMN;
        REAL gz = code == NONE ? gY[i] : through_activation(gY[i], Y[i], code);
        if (gZ) gZ[i] = gz;
        sum += gz;
    }
    if (!gb) return;
    int thread = threadIdx.y * blockDim.x + threadIdx.x;
    sums[thread] = sum;
    for (int half = blockDim.x * blockDim.y / 2; half >= blockDim.x; half /= 2) {  // the lower half onto the upper
        __syncthreads();
        if (thread < half) sums[thread] += sums[thread + half];
    }
    bool shared_rows = gridDim.y > 1;
    if (threadIdx.y == 0 && COLUMN < O) (shared_rows ? partial + blockIdx.y * O : gb)[COLUMN] = sums[thread];
    if (!shared_rows || !is_last_block(ticket)) return;
    const volatile REAL *parts = partial;  // volatile: from memory, where the other blocks have put theirs
    for (long long o = thread; o < O; o += blockDim.x * blockDim.y) {
        sum = 0;
        for (unsigned int part = 0; part < gridDim.y; part++) sum += parts[part * O + o];
        gb[o] = sum;
    }
}

// ---------------------------------------------------------------- products by tiles
//
// C[m, n] = sum_k A[m, k] B[k, n]. A block computes a tile of C, TILE by TILE. In small layers there are few tiles
// and long sums, so the sum is what is divided: each of the block's 8 warps adds up its own slice of k for the whole
// tile, and at the end the warps' tiles are added up in order. Until then warps need not wait for each other. A warp
// brings STEP columns of A and rows of B at a time from memory, first into registers, while it computes with those
// before, then into its part of shared memory; there both lie with k as the first axis. Each lane has a tile of its
// own in registers.
//
// These matrices are small: every index is an int.

#define WARPS 8

template <int TILE> struct Sizes {
    static constexpr int ROWS = TILE / 8, COLUMNS = TILE / 4;     // of a lane's tile; lanes are 8 by 4
    static constexpr int STEP = 2048 / TILE / (int)sizeof(REAL);  // what 40 kB have room for
    static constexpr int WIDE = TILE + 4;                         // apart, so that few lanes meet in a bank
    static constexpr int HELD = TILE * STEP / WARP;               // numbers that a lane brings at a time
    static constexpr int ROOM = WARPS * 2 * STEP * WIDE;          // numbers in shared memory
};

// A or B: the array, and how long its other axis is (m or n). With a code it is f'(Z) gY, from gY `at` and Y = f(Z).
struct Operand {
    const REAL *at, *Y;
    int lines, width;  // width: how far apart in memory the rows of the array are
    long long code;
};

// Which line and which k is the j-th number that this lane brings: such that a warp reads whole sectors of memory and
// writes to different banks. ALONG_K: is it k that lies side by side in memory?
template <int TILE, bool ALONG_K> __device__ __forceinline__ int line_of(int j, int lane) {
    return ALONG_K ? lane / 8 + j / (Sizes<TILE>::STEP / 8) * 4 : (lane + j * WARP) % TILE;
}
template <int TILE, bool ALONG_K> __device__ __forceinline__ int k_of(int j, int lane) {
    return ALONG_K ? lane % 8 + j % (Sizes<TILE>::STEP / 8) * 8 : (lane + j * WARP) / TILE;
}

// What a lane has brought and not put down yet.
template <int TILE, bool ALONG_K> struct Held {
    REAL x[Sizes<TILE>::HELD], y[Sizes<TILE>::HELD];

    // Bring the lines from `first` on, for k from `start` to `end`; what is not there is 0.
    __device__ __forceinline__ void bring(const Operand &from, int first, int start, int end, int lane) {
#pragma unroll
        for (int j = 0; j < Sizes<TILE>::HELD; j++) {
            int line = first + line_of<TILE, ALONG_K>(j, lane), k = start + k_of<TILE, ALONG_K>(j, lane);
            int i = ALONG_K ? line * from.width + k : k * from.width + line;
            bool there = line < from.lines && k < end;
            x[j] = there ? from.at[i] : (REAL)0;
            y[j] = there && from.code ? from.Y[i] : (REAL)0;
        }
    }

    // Put it into shared memory.
    __device__ __forceinline__ void put(const Operand &from, REAL *to, int lane) {
#pragma unroll
        for (int j = 0; j < Sizes<TILE>::HELD; j++) {
            int line = line_of<TILE, ALONG_K>(j, lane), k = k_of<TILE, ALONG_K>(j, lane);
            to[k * Sizes<TILE>::WIDE + line] = from.code ? through_activation(x[j], y[j], from.code) : x[j];
        }
    }
};

// COUNT numbers side by side, moved at once.
template <int COUNT> struct alignas(COUNT * sizeof(REAL) < 16 ? COUNT * sizeof(REAL) : 16) Few {
    REAL x[COUNT];
};

// One tile of C, from row m0 and column n0 on. `finish(m, n, c)` is called for every element of C in it, by thread t
// for those of column n0 + t % TILE. column_sums, where not null, <- sum_k B[k, n] for the tile's columns. `room` is
// shared memory, Sizes<TILE>::ROOM numbers.
template <int TILE, bool A_ALONG_K, bool B_ALONG_K, class Finish>
__device__ __forceinline__ void tile_of_product(const Operand &A, const Operand &B, int K, int m0, int n0, REAL *room,
                                                REAL *column_sums, Finish finish) {
    using S = Sizes<TILE>;
    __shared__ REAL sums_of_columns[WARPS * WARP];
    int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    int row = lane / 4 * S::ROWS, column = lane % 4 * S::COLUMNS;  // of the lane's tile
    int slice = ((K + WARPS - 1) / WARPS + 7) / 8 * 8;             // whole sectors of memory
    int start = warp * slice, end = min(K, start + slice);
    REAL *a = room + warp * 2 * S::STEP * S::WIDE, *b = a + S::STEP * S::WIDE;
    REAL c[S::ROWS][S::COLUMNS] = {}, column_sum = 0;

    Held<TILE, A_ALONG_K> held_a;
    Held<TILE, B_ALONG_K> held_b;
    held_a.bring(A, m0, start, end, lane);
    held_b.bring(B, n0, start, end, lane);
    for (int k = start; k < end; k += S::STEP) {
        held_a.put(A, a, lane);
        held_b.put(B, b, lane);
        __syncwarp();
        if (k + S::STEP < end) {
            held_a.bring(A, m0, k + S::STEP, end, lane);
            held_b.bring(B, n0, k + S::STEP, end, lane);
        }
        int count = min(S::STEP, end - k);
        for (int eight = 0; eight < count; eight += 8) {  // beyond the end all are 0
#pragma unroll
            for (int i = eight; i < eight + 8; i++) {
                auto x = *(const Few<S::ROWS> *)(a + i * S::WIDE + row);
                auto y = *(const Few<S::COLUMNS> *)(b + i * S::WIDE + column);
#pragma unroll
                for (int r = 0; r < S::ROWS; r++)
#pragma unroll
                    for (int s = 0; s < S::COLUMNS; s++) c[r][s] += x.x[r] * y.x[s];
            }
        }
        if (column_sums)
            for (int i = lane / TILE; i < count; i += WARP / TILE) column_sum += b[i * S::WIDE + lane % TILE];
        __syncwarp();
    }

    // The warps' tiles onto one heap, PASSES parts one after the other where there is no room for all
    constexpr int PASSES = WARPS * TILE * TILE > S::ROOM ? 2 : 1, PART = S::ROWS / PASSES, HEAP = TILE * TILE / PASSES;
    sums_of_columns[threadIdx.x] = column_sum;
#pragma unroll
    for (int pass = 0; pass < PASSES; pass++) {
        __syncthreads();
#pragma unroll
        for (int r = 0; r < PART; r++)
#pragma unroll
            for (int s = 0; s < S::COLUMNS; s++)
                room[warp * HEAP + (lane / 4 * PART + r) * TILE + column + s] = c[pass * PART + r][s];
        __syncthreads();
        for (int i = threadIdx.x; i < HEAP; i += WARPS * WARP) {
            REAL whole = 0;
#pragma unroll
            for (int w = 0; w < WARPS; w++) whole += room[w * HEAP + i];
            int m = m0 + i / TILE / PART * S::ROWS + pass * PART + i / TILE % PART, n = n0 + i % TILE;
            if (m < A.lines && n < B.lines) finish(m, n, whole);
        }
    }
    if (column_sums && threadIdx.x < TILE && n0 + (int)threadIdx.x < B.lines) {
        REAL whole = 0;
        for (int i = threadIdx.x; i < WARPS * WARP; i += TILE) whole += sums_of_columns[i];
        column_sums[n0 + threadIdx.x] = whole;
    }
}

// Y <- f(X W + b); b may be null. Block number t computes tile t of Y, row after row of tiles.
template <int TILE>
__device__ __forceinline__ void product_bias_activation(const REAL *X, const REAL *W, const REAL *b, REAL *Y, int N,
                                                        int I, int O, long long code) {
    alignas(16) __shared__ REAL room[Sizes<TILE>::ROOM];
    int across = (O + TILE - 1) / TILE, m0 = blockIdx.x / across * TILE, n0 = blockIdx.x % across * TILE;
    int own = n0 + threadIdx.x % TILE;  // the column in which this thread finishes; its bias is asked for early
    REAL bias = b && own < O ? b[own] : (REAL)0;
    tile_of_product<TILE, true, false>({X, nullptr, N, I, NONE}, {W, nullptr, O, O, NONE}, I, m0, n0, room, nullptr,
                                       [=](int m, int n, REAL z) { Y[m * O + n] = activate(z + bias, code); });
}

// All that is asked for of one layer's way back, with gZ = f'(Z) gY from Y = f(Z), computed as it is read:
//     gW <- X^T gZ and gb <- sum_n gZ, by the first blocks;     gX <- g'(X) (gZ W^T), by the others.
// X is the layer before's output, and g' its activation's derivative, found from X: then gX is that layer's gZ. gW
// and gX may be null, and then have no blocks; gb too may be null. Block number t computes tile t of gW, then of gX.
template <int TILE>
__device__ __forceinline__ void product_backward(const REAL *gY, const REAL *Y, const REAL *X, const REAL *W, REAL *gW,
                                                 REAL *gb, REAL *gX, int N, int I, int O, long long code,
                                                 long long code_before) {
    alignas(16) __shared__ REAL room[Sizes<TILE>::ROOM];
    int t = blockIdx.x, across = (O + TILE - 1) / TILE, tiles = gW ? (I + TILE - 1) / TILE * across : 0;
    if (t < tiles) {
        int m0 = t / across * TILE, n0 = t % across * TILE;
        tile_of_product<TILE, false, false>({X, nullptr, I, I, NONE}, {gY, Y, O, O, code}, N, m0, n0, room,
                                            m0 == 0 ? gb : nullptr, [=](int m, int n, REAL g) { gW[m * O + n] = g; });
    } else {
        across = (I + TILE - 1) / TILE, t -= tiles;
        int m0 = t / across * TILE, n0 = t % across * TILE;
        tile_of_product<TILE, true, true>(
            {gY, Y, N, O, code}, {W, nullptr, I, O, NONE}, O, m0, n0, room, nullptr, [=](int m, int n, REAL g) {
                int i = m * I + n;
                gX[i] = code_before ? through_activation(g, X[i], code_before) : g;
            });
    }
}

// Two blocks of small tiles fit into a processor at a time; a block of large ones may have all its registers.
#define FOR_TILE(TILE, BLOCKS)                                                                                       \
    extern "C" __global__ void __launch_bounds__(WARPS *WARP, BLOCKS) product_bias_activation_##TILE(                \
        const REAL *X, const REAL *W, const REAL *b, REAL *Y, long long N, long long I, long long O,                 \
        long long code) {                                                                                            \
        product_bias_activation<TILE>(X, W, b, Y, (int)N, (int)I, (int)O, code);                                     \
    }                                                                                                                \
    extern "C" __global__ void __launch_bounds__(WARPS *WARP, BLOCKS) product_backward_##TILE(                       \
        const REAL *gY, const REAL *Y, const REAL *X, const REAL *W, REAL *gW, REAL *gb, REAL *gX, long long N,      \
        long long I, long long O, long long code, long long code_before) {                                           \
        product_backward<TILE>(gY, Y, X, W, gW, gb, gX, (int)N, (int)I, (int)O, code, code_before);                  \
    }

FOR_TILE(16, 2)
FOR_TILE(32, 1)
