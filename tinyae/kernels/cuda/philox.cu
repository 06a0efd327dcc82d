// Random numbers from a counter: the same as those of random.py, word for word. REAL has no part in it.
//
// Tile: each thread computes one block of four 32-bit words, all from the number of the block. The step may stand on the
// device, so that a launch which is repeated in a CUDA graph draws other numbers each time: it is *steps + step, or
// without `steps` the number `step`.

struct __align__(16) Four {
    float x[4];
};

// Ten rounds of Philox 4x32. Only the low half of a product is kept as the next counter, so all but the first round's
// is of 32 bits; there the block's number may be larger, as in random.py.
__device__ __forceinline__ void philox(
    long long block, long long step, long long purpose, long long seed_low, long long seed_high, unsigned int *words) {
    unsigned long long p0 = (unsigned long long)block * 0xD2511F53u;
    unsigned int c0, c1 = (unsigned int)step, c2 = (unsigned int)(step >> 32), c3 = (unsigned int)purpose;
    unsigned int k0 = (unsigned int)seed_low, k1 = (unsigned int)seed_high;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned long long p1 = (unsigned long long)c2 * 0xCD9E8D57u;
        c0 = (unsigned int)(p1 >> 32) ^ c1 ^ k0, c1 = (unsigned int)p1;
        c2 = (unsigned int)(p0 >> 32) ^ c3 ^ k1, c3 = (unsigned int)p0;
        p0 = (unsigned long long)c0 * 0xD2511F53u;
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    words[0] = c0, words[1] = c1, words[2] = c2, words[3] = c3;
}

__device__ __forceinline__ long long this_step(const long long *steps, long long step) {
    return steps ? *steps + step : step;
}

// Up to four floats to out[4 block ...], of n in all. `out` begins at a multiple of 16 bytes.
__device__ __forceinline__ void store(float *out, long long block, long long n, const Four &four) {
    if (4 * block + 4 <= n) {
        *(Four *)(out + 4 * block) = four;
    } else {
        for (int j = 0; 4 * block + j < n; j++) out[4 * block + j] = four.x[j];
    }
}

// The 32-bit words of `blocks` blocks from number `first` on, as uint64.
extern "C" __global__ void words(
    unsigned long long *out, long long blocks, long long first, long long seed_low, long long seed_high, long long purpose,
    const long long *steps, long long step) {
    step = this_step(steps, step);
    EACH(block, blocks) {
        unsigned int w[4];
        philox(first + block, step, purpose, seed_low, seed_high, w);
        for (int j = 0; j < 4; j++) out[4 * block + j] = w[j];
    }
}

// n numbers in [0, 1): the upper 24 bits of each word times 2^-24, which is exact.
extern "C" __global__ void uniform(
    float *out, long long n, long long seed_low, long long seed_high, long long purpose, const long long *steps,
    long long step) {
    step = this_step(steps, step);
    EACH(block, (n + 3) / 4) {
        unsigned int w[4];
        philox(block, step, purpose, seed_low, seed_high, w);
        Four four;
        for (int j = 0; j < 4; j++) four.x[j] = (float)(w[j] >> 8) * (1.0f / 16777216);
        store(out, block, n, four);
    }
}

// n standard normal numbers (Box and Muller): of each pair of words u in (0, 1] and v in [0, 1),
// sqrt(-2 ln u) cos(2 pi v) and sqrt(-2 ln u) sin(2 pi v). In double, as in random.py.
extern "C" __global__ void normal(
    float *out, long long n, long long seed_low, long long seed_high, long long purpose, const long long *steps,
    long long step) {
    const double unit = 1.0 / 16777216, two_pi = 6.283185307179586;
    step = this_step(steps, step);
    EACH(block, (n + 3) / 4) {
        unsigned int w[4];
        philox(block, step, purpose, seed_low, seed_high, w);
        Four four;
        for (int j = 0; j < 4; j += 2) {
            double u = ((double)(w[j] >> 8) + 1) * unit, angle = two_pi * ((double)(w[j + 1] >> 8) * unit);
            double radius = sqrt(-2 * log(u));
            four.x[j] = (float)(radius * cos(angle));
            four.x[j + 1] = (float)(radius * sin(angle));
        }
        store(out, block, n, four);
    }
}

// counter <- counter + by, for the steps that the next repetition draws. One thread.
extern "C" __global__ void advance_counter(long long *counter, long long by) { *counter += by; }
