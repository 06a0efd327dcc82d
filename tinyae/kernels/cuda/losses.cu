// Losses: the reduced number L and its gradient in one launch; and softmax, which goes through rows as cross-entropy
// does. The definitions are in losses.py and ops/activations.py.
//
// `scale` is 1 / N after a mean over N terms and 1 after a sum. Each thread adds up its own terms in their own type,
// all else is added up in double: over the block, then the blocks' sums, in their order, by the block that comes
// last. `partial` has a place for each block.

// L <- scale times the sum of what all threads have.
__device__ __forceinline__ void reduce_loss(double mine, REAL *L, double scale, double *partial, unsigned int *ticket) {
    __shared__ double places[WARP];
    mine = block_sum(mine, places);
    if (threadIdx.x == 0) partial[blockIdx.x] = mine;
    if (!is_last_block(ticket)) return;
    const volatile double *sums = partial;  // volatile: from memory, where the other blocks have put theirs
    mine = 0;
    for (unsigned int i = threadIdx.x; i < gridDim.x; i += blockDim.x) mine += sums[i];
    mine = block_sum(mine, places);
    if (threadIdx.x == 0) *L = (REAL)(mine * scale);
}

// L <- scale sum (P - T)**2; gP <- 2 (P - T) scale. P, T and gP are of n numbers.
extern "C" __global__ void squared_error(
    const REAL *__restrict__ P, const REAL *__restrict__ T, REAL *__restrict__ gP, REAL *L, double *partial,
    unsigned int *ticket, long long n, double scale) {
    REAL sum = 0, factor = (REAL)(2 * scale);
    EACH(i, n) {
        REAL D = P[i] - T[i];
        gP[i] = factor * D;
        sum += D * D;
    }
    reduce_loss(sum, L, scale, partial, ticket);
}

// L <- scale sum max(Z, 0) - Z T + ln(1 + e**-|Z|), which is ln(1 + e**Z) - Z T and cannot overflow;
// gZ <- (sigmoid(Z) - T) scale. Z, T and gZ are of n numbers.
extern "C" __global__ void bce_with_logits(
    const REAL *__restrict__ Z, const REAL *__restrict__ T, REAL *__restrict__ gZ, REAL *L, double *partial,
    unsigned int *ticket, long long n, double scale) {
    REAL sum = 0;
    EACH(i, n) {
        REAL z = Z[i], t = T[i], e = exp(-fabs(z));
        gZ[i] = ((z >= 0 ? (REAL)1 : e) / ((REAL)1 + e) - t) * (REAL)scale;
        sum += (z < 0 ? (REAL)0 : z) - z * t + log1p(e);
    }
    reduce_loss(sum, L, scale, partial, ticket);
}

// ln p, or -100 where it would be smaller; NaN stays.
__device__ __forceinline__ REAL clamped_log(REAL p) {
    REAL x = log(p);
    return x < -100 ? (REAL)-100 : x;
}

// d ln p / dp as the definition has it: 0 where the logarithm x is clamped, and no overflow.
__device__ __forceinline__ REAL slope_of_log(REAL p, REAL x) {
    REAL smallest = sizeof(REAL) == 4 ? (REAL)1.17549435e-38 : (REAL)2.2250738585072014e-308;  // with all its digits
    return x > -100 ? (REAL)1 / (p < smallest ? smallest : p) : (REAL)0;
}

// L <- scale sum -T ln P - (1 - T) ln(1 - P), the logarithms clamped at -100;
// gP <- ((1 - T) / (1 - P) - T / P) scale. P, T and gP are of n numbers.
extern "C" __global__ void binary_cross_entropy(
    const REAL *__restrict__ P, const REAL *__restrict__ T, REAL *__restrict__ gP, REAL *L, double *partial,
    unsigned int *ticket, long long n, double scale) {
    REAL sum = 0;
    EACH(i, n) {
        REAL p = P[i], q = (REAL)1 - p, t = T[i], a = clamped_log(p), b = clamped_log(q);
        REAL da = slope_of_log(p, a), db = slope_of_log(q, b);
        gP[i] = (((REAL)1 - t) * db - t * da) * (REAL)scale;
        sum += -t * a - ((REAL)1 - t) * b;
    }
    reduce_loss(sum, L, scale, partial, ticket);
}

// L <- scale sum_nj (e**V + M**2 - 1 - V) / 2. M and V are of n numbers.
extern "C" __global__ void gaussian_kl(
    const REAL *__restrict__ M, const REAL *__restrict__ V, REAL *L, double *partial, unsigned int *ticket,
    long long n, double scale) {
    REAL sum = 0;
    EACH(i, n) sum += exp(V[i]) + M[i] * M[i] - (REAL)1 - V[i];
    reduce_loss(sum, L, scale / 2, partial, ticket);
}

// gM <- M gL scale; gV <- (e**V - 1) / 2 gL scale. All of n numbers; gL is one number on the device.
extern "C" __global__ void gaussian_kl_backward(
    const REAL *__restrict__ M, const REAL *__restrict__ V, const REAL *__restrict__ gL, REAL *__restrict__ gM,
    REAL *__restrict__ gV, long long n, double scale) {
    REAL by = *gL * (REAL)scale;
    EACH(i, n) {
        gM[i] = M[i] * by;
        gV[i] = (REAL)0.5 * (exp(V[i]) - (REAL)1) * by;
    }
}

// ---------------------------------------------------------------- rows, each one warp's

// For each n that is this warp's to do: (long long n : all rows of N)
#define EACH_ROW(n, N)                                                                                     \
    for (long long n = (blockIdx.x * (long long)blockDim.x + threadIdx.x) / WARP; n < (N);                 \
         n += (long long)gridDim.x * blockDim.x / WARP)

// The largest of x's K numbers, known to the whole warp. NaN need not win: e**NaN makes the row's sum NaN all the same.
__device__ __forceinline__ REAL warp_largest(const REAL *x, long long K) {
    REAL m = x[0];
    for (long long k = threadIdx.x % WARP; k < K; k += WARP) m = x[k] > m ? x[k] : m;
    for (int apart = WARP / 2; apart; apart /= 2) {
        REAL other = __shfl_xor_sync(0xffffffffu, m, apart);
        m = other > m ? other : m;
    }
    return m;
}

// The sum over a warp, known to all of it.
__device__ __forceinline__ REAL whole_warp_sum(REAL x) { return __shfl_sync(0xffffffffu, warp_sum(x), 0); }

// L <- scale sum_n ln sum_k e**Z[n, k] - Z[n, t[n]]; gZ <- (softmax(Z) - onehot(t)) scale. A warp takes a row.
// Z and gZ (N, K), t (N,). A label that no k stands for makes its row NaN, and L.
extern "C" __global__ void cross_entropy(
    const REAL *__restrict__ Z, const long long *__restrict__ t, REAL *__restrict__ gZ, REAL *L, double *partial,
    unsigned int *ticket, long long N, long long K, double scale) {
    int lane = threadIdx.x % WARP;
    double sum = 0;
    EACH_ROW(n, N) {
        const REAL *z = Z + n * K;
        long long label = t[n];
        bool known = 0 <= label && label < K;
        REAL m = warp_largest(z, K), total = 0;
        for (long long k = lane; k < K; k += WARP) total += exp(z[k] - m);
        total = whole_warp_sum(total);
        REAL wrong = known ? (REAL)0 : (REAL)nan("");
        // m and z[label] may be large and nearly alike: their difference first
        if (lane == 0) sum += known ? log(total) + (m - z[label]) : wrong;
        for (long long k = lane; k < K; k += WARP)
            gZ[n * K + k] = (exp(z[k] - m) / total - (REAL)(k == label) + wrong) * (REAL)scale;
    }
    reduce_loss(sum, L, scale, partial, ticket);
}

// Y <- e**(X - m) / sum_k e**(X - m) with m = max_k X, for each row; with `logarithm` its logarithm. X and Y (N, K).
extern "C" __global__ void softmax(
    const REAL *__restrict__ X, REAL *__restrict__ Y, long long N, long long K, long long logarithm) {
    int lane = threadIdx.x % WARP;
    EACH_ROW(n, N) {
        const REAL *x = X + n * K;
        REAL *y = Y + n * K;
        REAL m = warp_largest(x, K), total = 0;
        for (long long k = lane; k < K; k += WARP) total += exp(x[k] - m);
        total = whole_warp_sum(total);
        REAL log_total = log(total);
        for (long long k = lane; k < K; k += WARP) {
            if (logarithm)
                y[k] = x[k] - m - log_total;
            else
                y[k] = exp(x[k] - m) / total;
        }
    }
}

// gX <- Y (gY - sum_k gY Y) for each row; with `logarithm`, where Y is the logarithm, gY - e**Y sum_k gY. All (N, K).
extern "C" __global__ void softmax_backward(
    const REAL *__restrict__ Y, const REAL *__restrict__ gY, REAL *__restrict__ gX, long long N, long long K,
    long long logarithm) {
    int lane = threadIdx.x % WARP;
    EACH_ROW(n, N) {
        const REAL *y = Y + n * K, *gy = gY + n * K;
        REAL *gx = gX + n * K, total = 0;
        for (long long k = lane; k < K; k += WARP) total += logarithm ? gy[k] : gy[k] * y[k];
        total = whole_warp_sum(total);
        for (long long k = lane; k < K; k += WARP) {
            if (logarithm)
                gx[k] = gy[k] - exp(y[k]) * total;
            else
                gx[k] = y[k] * (gy[k] - total);
        }
    }
}
