// The optimizers' steps, one launch for all parameters. The lines are those of optim.py, for one number.
//
// Where up to MOST parameters, their gradients and their state are comes by value. What changes from step to step is on
// the device, in `numbers`: how many updates were made, then the learning rate and the other settings in the order of
// kernels/gpu_updates.py. So a launch can be repeated as it is, in a CUDA graph: it is update number numbers[0] + 1, and if
// it is told to, its last block writes that down for the next one.
//
// Tile: a block takes CHUNK neighbouring numbers of one parameter at a time, each thread PACK of them, which is one load
// of 16 bytes from each array. Constants are computed in double, once for each block, while the first loads are on their way.

#define MOST 32
#define THREADS 128
#define PACK (16 / (int)sizeof(REAL))
#define CHUNK (THREADS * PACK)
#define NUMBERS 7

struct Parameters {
    REAL *theta[MOST];
    const REAL *g[MOST];
    REAL *state[2][MOST];      // of which an algorithm may need one, or none
    long long size[MOST];
    long long first[MOST + 1]; // the number of its first chunk; after the last parameter that of all chunks
    long long count;
};

struct __align__(16) Pack {
    REAL x[PACK];
};

// PACK numbers from p on, or the first n of them.
__device__ __forceinline__ Pack load(const REAL *p, long long n, bool at_once) {
    if (at_once) return *(const Pack *)p;
    Pack found = {};
    for (int j = 0; j < PACK; j++)
        if (j < n) found.x[j] = p[j];
    return found;
}

__device__ __forceinline__ void store(REAL *p, const Pack &pack, long long n, bool at_once) {
    if (at_once) {
        *(Pack *)p = pack;
    } else {
        for (int j = 0; j < PACK; j++)
            if (j < n) p[j] = pack.x[j];
    }
}

// An algorithm is what prepare() makes of the settings, and step() of one number.
template <class Algorithm>
__device__ __forceinline__ void update(const Parameters &all, double *numbers, long long counts, unsigned int *ticket) {
    __shared__ Algorithm algorithm;
    if (threadIdx.x == 0) algorithm.prepare(numbers[0] + 1, numbers + 1);
    int k = 0;
    for (long long chunk = blockIdx.x; chunk < all.first[all.count]; chunk += gridDim.x) {
        while (chunk >= all.first[k + 1]) k++;
        long long start = (chunk - all.first[k]) * CHUNK + threadIdx.x * PACK, n = all.size[k] - start;
        REAL *at_theta = all.theta[k] + start, *at_a = all.state[0][k] + start, *at_b = all.state[1][k] + start;
        const REAL *at_g = all.g[k] + start;
        unsigned long long places = (unsigned long long)at_theta | (unsigned long long)at_g;
        if (Algorithm::STATES > 0) places |= (unsigned long long)at_a;
        if (Algorithm::STATES > 1) places |= (unsigned long long)at_b;
        bool at_once = n >= PACK && places % sizeof(Pack) == 0;

        Pack theta = load(at_theta, n, at_once), g = load(at_g, n, at_once), a = {}, b = {};
        if (Algorithm::STATES > 0) a = load(at_a, n, at_once);
        if (Algorithm::STATES > 1) b = load(at_b, n, at_once);
        if (chunk == blockIdx.x) __syncthreads();  // now the constants are there
#pragma unroll
        for (int j = 0; j < PACK; j++) algorithm.step(theta.x[j], g.x[j], a.x[j], b.x[j]);
        store(at_theta, theta, n, at_once);
        if (Algorithm::STATES > 0) store(at_a, a, n, at_once);
        if (Algorithm::STATES > 1) store(at_b, b, n, at_once);
    }
    if (counts && is_last_block(ticket) && threadIdx.x == 0) numbers[0] += 1;  // all blocks have read it
}

// theta <- theta - lr (g + decay theta). Settings: lr, decay.
struct SGD {
    enum { STATES = 0 };
    REAL lr, decay;

    __device__ void prepare(double, const double *s) { lr = (REAL)s[0], decay = (REAL)s[1]; }

    __device__ void step(REAL &theta, REAL g, REAL &, REAL &) const {
        if (decay > 0) g = g + decay * theta;
        theta -= lr * g;
    }
};

// v <- mu v + g; theta <- theta - lr v, or Nesterov's: lr (g + mu v). Settings: lr, mu, nesterov (0 or 1), decay.
struct Momentum {
    enum { STATES = 1 };
    REAL lr, mu, nesterov, decay;

    __device__ void prepare(double, const double *s) {
        lr = (REAL)s[0], mu = (REAL)s[1], nesterov = (REAL)s[2], decay = (REAL)s[3];
    }

    __device__ void step(REAL &theta, REAL g, REAL &v, REAL &) const {
        if (decay > 0) g = g + decay * theta;
        v = mu * v + g;
        theta -= lr * (nesterov > 0 ? g + mu * v : v);
    }
};

// G <- G + g^2; theta <- theta - lr g / (sqrt G + eps). Settings: lr, eps.
struct AdaGrad {
    enum { STATES = 1 };
    REAL lr, eps;

    __device__ void prepare(double, const double *s) { lr = (REAL)s[0], eps = (REAL)s[1]; }

    __device__ void step(REAL &theta, REAL g, REAL &G, REAL &) const {
        G += g * g;
        theta -= lr * g / (sqrt(G) + eps);
    }
};

// v <- rho v + (1 - rho) g^2; theta <- theta - lr g / (sqrt v + eps). Settings: lr, rho, eps.
struct RMSProp {
    enum { STATES = 1 };
    REAL lr, rho, rest, eps;

    __device__ void prepare(double, const double *s) {
        lr = (REAL)s[0], rho = (REAL)s[1], rest = (REAL)(1 - s[1]), eps = (REAL)s[2];
    }

    __device__ void step(REAL &theta, REAL g, REAL &v, REAL &) const {
        v = rho * v + rest * g * g;
        theta -= lr * g / (sqrt(v) + eps);
    }
};

// theta <- theta - lr decay theta; then algorithm 1 of Kingma and Ba. Settings: lr, beta1, beta2, eps, decay.
struct Adam {
    enum { STATES = 2 };
    REAL lr, beta1, rest1, beta2, rest2, eps, shrink, correction1, correction2;

    __device__ void prepare(double t, const double *s) {
        lr = (REAL)s[0], eps = (REAL)s[3], shrink = (REAL)(s[0] * s[4]);
        beta1 = (REAL)s[1], rest1 = (REAL)(1 - s[1]), correction1 = (REAL)(1 - pow(s[1], t));
        beta2 = (REAL)s[2], rest2 = (REAL)(1 - s[2]), correction2 = (REAL)(1 - pow(s[2], t));
    }

    __device__ void step(REAL &theta, REAL g, REAL &m, REAL &v) const {
        if (shrink > 0) theta -= shrink * theta;
        m = beta1 * m + rest1 * g;
        v = beta2 * v + rest2 * g * g;
        REAL m_hat = m / correction1, v_hat = v / correction2;
        theta -= lr * m_hat / (sqrt(v_hat) + eps);
    }
};

// counts: is this the last launch of an update, which counts it?
#define KERNEL(name, Algorithm)                                                                                    \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                          \
        name(const Parameters all, double *numbers, long long counts, unsigned int *ticket) {                      \
        update<Algorithm>(all, numbers, counts, ticket);                                                           \
    }

KERNEL(sgd, SGD)
KERNEL(momentum, Momentum)
KERNEL(adagrad, AdaGrad)
KERNEL(rmsprop, RMSProp)
KERNEL(adam, Adam)

struct Numbers {
    double values[NUMBERS];
};

// numbers <- values: what the host has changed. One thread.
extern "C" __global__ void set_numbers(double *numbers, const Numbers given) {
#pragma unroll
    for (int i = 0; i < NUMBERS; i++) numbers[i] = given.values[i];
}
