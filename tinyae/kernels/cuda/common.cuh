// What all kernels share. REAL is float or double.
//
// Conventions: every count and index is a long long; every constant comes as a double; arrays are C-contiguous. Sums are
// divided by sizes alone, never by the number of processors, so that they are rounded alike on every GPU.

#define WARP 32

// Element by element, whatever the number of blocks: for (long long i : all of n)
#define EACH(i, n) \
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < (n); i += (long long)gridDim.x * blockDim.x)

// The activations that are joined to a layer; their codes are those of kernels/dense_layers.py.
enum { NONE, RELU, SIGMOID, TANH };

// Y = f(Z). NaN stays NaN: fmax would drop it.
__device__ __forceinline__ REAL activate(REAL z, long long code) {
    if (code == RELU) return z < 0 ? (REAL)0 : z;
    if (code == SIGMOID) return (REAL)1 / ((REAL)1 + exp(-z));
    if (code == TANH) return tanh(z);
    return z;
}

// dL/dZ from dL/dY and Y = f(Z).
__device__ __forceinline__ REAL through_activation(REAL gy, REAL y, long long code) {
    if (code == RELU) return y > 0 ? gy : (REAL)0;
    if (code == SIGMOID) return gy * y * ((REAL)1 - y);
    if (code == TANH) return gy * ((REAL)1 - y * y);
    return gy;
}

// The sum over a warp, known to its first thread.
template <class T> __device__ __forceinline__ T warp_sum(T x) {
    for (int apart = WARP / 2; apart; apart /= 2) x += __shfl_down_sync(0xffffffffu, x, apart);
    return x;
}

// The sum over a block of up to 1024 threads, a multiple of 32, known to its first thread. `places` is shared, of 32.
template <class T> __device__ __forceinline__ T block_sum(T x, T *places) {
    x = warp_sum(x);
    __syncthreads();  // the places may still be read from the sum before
    if (threadIdx.x % WARP == 0) places[threadIdx.x / WARP] = x;
    __syncthreads();
    if (threadIdx.x >= WARP) return x;
    return warp_sum(threadIdx.x < blockDim.x / WARP ? places[threadIdx.x] : (T)0);
}

// Is this block the last of its grid to come here? All threads ask; what the others have written before can then be read.
// `ticket` is one number, 0 before and after. The fences belong to the thread that takes part in the atomic operation, after
// one barrier and before the other: so each passes on what all threads of a block have written, or may read.
__device__ __forceinline__ bool is_last_block(unsigned int *ticket) {
    __shared__ bool last;
    __syncthreads();
    if (threadIdx.x + threadIdx.y + threadIdx.z == 0) {
        unsigned int blocks = gridDim.x * gridDim.y * gridDim.z;
        __threadfence();
        last = atomicAdd(ticket, 1u) == blocks - 1;
        __threadfence();
        if (last) atomicExch(ticket, 0u);
    }
    __syncthreads();
    return last;
}
