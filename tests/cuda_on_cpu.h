// Plays the GPU for CUDA C that a C++ compiler translates: every CUDA thread is a fiber, one block runs after the other.
//
// It is strict where a GPU is silent. Shared memory is full of 0xFF (NaN) when a block begins. Blocks, warps and lanes begin in
// the middle, so that a missing barrier, or a belief about which block comes last, gives wrong numbers. Lanes that a shuffle
// cannot read give 0xFF. A thread that waits for what cannot come, an index beyond an array of known size, a null or
// misaligned pointer and a division by zero end the launch with a message. What runs at the same time on a GPU never does
// so here: it finds no races between blocks.
#pragma once
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#if defined(__x86_64__) && defined(__ELF__) && !defined(SLOW_SWITCH)
#define FAST_SWITCH
#else
#include <ucontext.h>
#endif

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))
#ifdef __ELF__  // all shared memory in one piece, whose ends the linker tells
#define __shared__ static __attribute__((section("cuda_shared")))
extern "C" __attribute__((weak, visibility("hidden"))) char __start_cuda_shared[], __stop_cuda_shared[];
#else
#define __shared__ static
#endif

// ---------------------------------------------------------------- types

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
#define VECTORS(type, name)                                                                                              \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                                             \
    struct name##3 { type x, y, z; };                                                                                    \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; };                          \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                              \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                                   \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
VECTORS(float, float)
VECTORS(double, double)
VECTORS(int, int)
VECTORS(unsigned int, uint)
VECTORS(unsigned char, uchar)
VECTORS(long long, longlong)
VECTORS(unsigned long long, ulonglong)

static dim3 threadIdx, blockIdx, blockDim, gridDim;
static const int warpSize = 32;

// ---------------------------------------------------------------- fibers

namespace cuda_on_cpu {

enum State { READY, AT_BLOCK, AT_WARP, DONE };
enum Operation { SYNC, SHUFFLE, BALLOT };
const int MOST = 1024;                       // threads in a block
const size_t STACK = 65 * 1024 + 64;         // bytes for each; an odd number of cache lines: not all tops in one place of the cache
const unsigned long long UNTOUCHED = 0x7e57ed0fa57ac4ed;  // at the far end of each stack

struct Thread {
    State state;
    dim3 index;
    unsigned mask;  // in an operation of its warp: who takes part,
    Operation operation;
    int source;                        // the lane that is to be read,
    unsigned long long value, result;  // what it gives, and what it is given
#ifdef FAST_SWITCH
    void *place;  // the top of its stack while it does not run
#else
    ucontext_t place;
#endif
};

static Thread threads[MOST], *current;
static int order[MOST], count, waiting, done;  // waiting: at __syncthreads
static char *stacks;
static void (*body)(void *);
static void *body_data;
static char message[1000];  // why the launch has failed
static decltype(Thread::place) scheduler;

#ifdef FAST_SWITCH
// ucontext asks the system twice for each switch; these are the registers that a function must keep.
extern "C" __attribute__((visibility("hidden"))) void cuda_on_cpu_switch(void **from, void *to);
asm(R"(
    .text
    .type cuda_on_cpu_switch, @function
cuda_on_cpu_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size cuda_on_cpu_switch, . - cuda_on_cpu_switch
)");
static void leave() { cuda_on_cpu_switch(&current->place, scheduler); }
static void enter() { cuda_on_cpu_switch(&scheduler, current->place); }
#else
static void leave() { swapcontext(&current->place, &scheduler); }
static void enter() { swapcontext(&scheduler, &current->place); }
#endif

static void run_thread() {
    body(body_data);
    current->state = DONE;
    leave();
}

static void prepare(int i) {
    char *stack = stacks + i * STACK;
#ifdef FAST_SWITCH
    void **top = (void **)(stack + STACK);  // a multiple of 16
    *--top = nullptr;                       // run_thread's caller, which there is not
    *--top = (void *)run_thread;
    threads[i].place = top - 6;  // six registers, whatever they hold
#else
    getcontext(&threads[i].place);
    threads[i].place.uc_stack.ss_sp = stack + 64;
    threads[i].place.uc_stack.ss_size = STACK - 64;
    threads[i].place.uc_link = nullptr;
    makecontext(&threads[i].place, run_thread, 0);
#endif
}

static void note(const char *format, ...) {
    if (message[0]) return;  // the first is the cause
    va_list values;
    va_start(values, format);
    int used = current ? snprintf(message, sizeof message, "thread (%u, %u, %u) of block (%u, %u, %u): ", threadIdx.x, threadIdx.y,
                                  threadIdx.z, blockIdx.x, blockIdx.y, blockIdx.z)
                       : 0;
    vsnprintf(message + used, sizeof message - used, format, values);
    va_end(values);
}

// What went wrong in a thread; it does not go on, nor does the launch.
static void fail_at(const char *file, unsigned line, const char *what) {
    note("%s, in %s:%u.", what, file, line);
    leave();
}

// ---------------------------------------------------------------- what a warp does together

static unsigned lane() { return (current - threads) % 32; }

// If all of a mask that are still there have come: exchange what they gave, and let them go on.
static bool release(Thread *warp, unsigned mask) {
    unsigned here = 0;
    for (int i = 0; i < 32 && warp + i < threads + count; i++) {
        if (!(mask >> i & 1) || warp[i].state == DONE) continue;
        if (warp[i].state != AT_WARP || warp[i].mask != mask) return false;
        here |= 1u << i;
    }
    unsigned ballot = 0;
    for (int i = 0; i < 32; i++)
        if (here >> i & 1 && warp[i].value) ballot |= 1u << i;
    Operation operation = warp[__builtin_ctz(here)].operation;
    for (int i = 0; i < 32; i++) {
        if (!(here >> i & 1)) continue;
        if (warp[i].operation != operation) note("lanes of one warp are at different operations, of the mask 0x%x.", mask);
        if (operation == SHUFFLE) warp[i].result = here >> warp[i].source & 1 ? warp[warp[i].source].value : ~0ull;
        if (operation == BALLOT) warp[i].result = ballot;
        warp[i].state = READY;
    }
    return true;
}

static unsigned long long together(Operation operation, unsigned mask, unsigned long long value, int source) {
    if (!(mask >> lane() & 1)) {
        note("lane %u takes part in an operation of its warp whose mask, 0x%x, leaves it out.", lane(), mask);
        leave();
    }
    current->state = AT_WARP;
    current->mask = mask;
    current->operation = operation;
    current->source = source;
    current->value = value;
    Thread *warp = current - lane();
    if (!release(warp, mask) || message[0]) leave();  // whoever comes last goes on at once
    return current->result;
}

template <class T> static T shuffle(unsigned mask, T value, int source) {
    static_assert(sizeof(T) == 4 || sizeof(T) == 8, "shuffles are of 4 or 8 bytes");
    unsigned long long bits = 0;
    memcpy(&bits, &value, sizeof(T));
    bits = together(SHUFFLE, mask, bits, source);
    memcpy(&value, &bits, sizeof(T));
    return value;
}

// ---------------------------------------------------------------- a launch

static bool run_block() {
#ifdef __ELF__
    if (__start_cuda_shared) memset(__start_cuda_shared, 0xff, __stop_cuda_shared - __start_cuda_shared);
#endif
    for (int i = 0; i < count; i++) {
        threads[i].state = READY;
        prepare(i);
    }
    waiting = done = 0;
    while (done < count) {
        bool some = false;
        for (int i = 0; i < count; i++) {
            current = threads + order[i];
            if (current->state != READY) continue;
            some = true;
            threadIdx = current->index;
            enter();
            waiting += current->state == AT_BLOCK;
            if (current->state == DONE) {
                done++;
                Thread *warp = current - lane();  // may have been waited for
                for (int k = 0; k < 32 && warp + k < threads + count; k++)
                    if (warp[k].state == AT_WARP) release(warp, warp[k].mask);
            }
            if (message[0]) return false;
        }
        if (waiting == count) {
            for (int i = 0; i < count; i++) threads[i].state = READY;
            waiting = 0;
        } else if (!some) {
            current = nullptr;
            note("deadlock in block (%u, %u, %u): of %d threads %d wait at __syncthreads, %d for others of their warp, and %d have "
                 "returned.",
                 blockIdx.x, blockIdx.y, blockIdx.z, count, waiting, count - waiting - done, done);
            return false;
        }
    }
    return true;
}

// Run a kernel; nullptr, or why it has failed.
static const char *run(const unsigned *grid, const unsigned *block, void (*kernel)(void *), void *data) {
    message[0] = 0;
    current = nullptr;
    count = block[0] * block[1] * block[2];
    if (!stacks) {
        stacks = (char *)aligned_alloc(64, MOST * STACK);
        for (int i = 0; i < MOST; i++) memcpy(stacks + i * STACK, &UNTOUCHED, sizeof UNTOUCHED);
    }
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = kernel;
    body_data = data;
    int warps = (count + 31) / 32, at = 0;
    for (int w = 0; w < warps; w++) {
        int first = (w + warps / 2) % warps * 32, lanes = count - first < 32 ? count - first : 32;
        for (int i = 0; i < lanes; i++) order[at++] = first + (i + lanes / 2) % lanes;
    }
    for (unsigned i = 0; i < (unsigned)count; i++)
        threads[i].index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
    unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    for (unsigned long long i = 0; i < blocks; i++) {
        unsigned long long b = (i + blocks / 2) % blocks;
        blockIdx = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
        if (!run_block()) break;
    }
    for (int i = 0; i < count && !message[0]; i++)
        if (memcmp(stacks + i * STACK, &UNTOUCHED, sizeof UNTOUCHED)) {
            current = nullptr;
            note("a thread's variables take more than the %d KiB of its stack.", (int)STACK / 1024);
        }
    current = nullptr;
    return message[0] ? message : nullptr;
}

}  // namespace cuda_on_cpu

// What the compiler calls where -fsanitize=bounds,null,alignment,integer-divide-by-zero finds something.
struct Found {
    const char *file;
    unsigned line, column;
};
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_out_of_bounds(Found *found, uintptr_t index) {
    char text[100];
    snprintf(text, sizeof text, "index %lld is out of bounds", (long long)index);
    cuda_on_cpu::fail_at(found->file, found->line, text);
}
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_type_mismatch_v1(Found *found, uintptr_t pointer) {
    cuda_on_cpu::fail_at(found->file, found->line, pointer ? "a misaligned pointer" : "a null pointer");
}
extern "C" __attribute__((visibility("hidden"))) void __ubsan_handle_divrem_overflow(Found *found, uintptr_t, uintptr_t) {
    cuda_on_cpu::fail_at(found->file, found->line, "a division by zero");
}

// ---------------------------------------------------------------- barriers and the operations of a warp

static inline void __syncthreads() {
    cuda_on_cpu::current->state = cuda_on_cpu::AT_BLOCK;
    cuda_on_cpu::leave();
}
static inline void __syncwarp(unsigned mask = 0xffffffffu) { cuda_on_cpu::together(cuda_on_cpu::SYNC, mask, 0, 0); }
static inline unsigned __ballot_sync(unsigned mask, int x) {
    return (unsigned)cuda_on_cpu::together(cuda_on_cpu::BALLOT, mask, x != 0, 0);
}
static inline int __any_sync(unsigned mask, int x) { return __ballot_sync(mask, x) != 0; }
static inline int __all_sync(unsigned mask, int x) { return __ballot_sync(mask, !x) == 0; }

// Within a segment of `width` lanes; a lane beyond it is the own one, but for __shfl_sync, which wraps around.
template <class T> static inline T __shfl_sync(unsigned mask, T x, int source, int width = 32) {
    int first = cuda_on_cpu::lane() / width * width;
    return cuda_on_cpu::shuffle(mask, x, first + (source & (width - 1)));
}
template <class T> static inline T __shfl_down_sync(unsigned mask, T x, unsigned by, int width = 32) {
    int own = cuda_on_cpu::lane(), end = own / width * width + width;
    return cuda_on_cpu::shuffle(mask, x, own + (int)by < end ? own + (int)by : own);
}
template <class T> static inline T __shfl_up_sync(unsigned mask, T x, unsigned by, int width = 32) {
    int own = cuda_on_cpu::lane(), first = own / width * width;
    return cuda_on_cpu::shuffle(mask, x, own - (int)by >= first ? own - (int)by : own);
}
template <class T> static inline T __shfl_xor_sync(unsigned mask, T x, int with, int width = 32) {
    int own = cuda_on_cpu::lane(), end = own / width * width + width;
    return cuda_on_cpu::shuffle(mask, x, (own ^ with) < end ? own ^ with : own);
}

// ---------------------------------------------------------------- memory

static inline void __threadfence() {}
static inline void __threadfence_block() {}
static inline void __threadfence_system() {}
template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T __ldcs(const T *p) { return *p; }
template <class T> static inline T __ldcg(const T *p) { return *p; }
template <class T> static inline void __stcs(T *p, T x) { *p = x; }

#define ATOMIC(name, type, value)                            \
    static inline type name(type *p, type x) {               \
        type old = *p;                                       \
        *p = value;                                          \
        return old;                                          \
    }
#define ATOMICS(type)                                        \
    ATOMIC(atomicAdd, type, old + x)                         \
    ATOMIC(atomicExch, type, x)
ATOMICS(int)
ATOMICS(unsigned int)
ATOMICS(unsigned long long)
ATOMICS(float)
ATOMIC(atomicAdd, double, old + x)
#define INTEGER_ATOMICS(type)                                \
    ATOMIC(atomicMax, type, old > x ? old : x)               \
    ATOMIC(atomicMin, type, old < x ? old : x)               \
    ATOMIC(atomicOr, type, old | x)                          \
    ATOMIC(atomicAnd, type, old & x)                         \
    static inline type atomicCAS(type *p, type expected, type x) { \
        type old = *p;                                       \
        if (old == expected) *p = x;                         \
        return old;                                          \
    }
INTEGER_ATOMICS(int)
INTEGER_ATOMICS(unsigned int)
INTEGER_ATOMICS(unsigned long long)

// ---------------------------------------------------------------- mathematics that C++ does not have by these names

#define SMALLER_AND_LARGER(type)                                            \
    static inline type min(type a, type b) { return b < a ? b : a; }        \
    static inline type max(type a, type b) { return a < b ? b : a; }
SMALLER_AND_LARGER(int)
SMALLER_AND_LARGER(unsigned int)
SMALLER_AND_LARGER(long)
SMALLER_AND_LARGER(unsigned long)
SMALLER_AND_LARGER(long long)
SMALLER_AND_LARGER(unsigned long long)
static inline float min(float a, float b) { return fminf(a, b); }  // like CUDA's: NaN is dropped
static inline float max(float a, float b) { return fmaxf(a, b); }
static inline double min(double a, double b) { return fmin(a, b); }
static inline double max(double a, double b) { return fmax(a, b); }

static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float rsqrt(float x) { return 1.0f / sqrtf(x); }
static inline double rsqrt(double x) { return 1.0 / sqrt(x); }
#define __expf expf  // names that C's library keeps for itself
#define __logf logf
#define __sinf sinf
#define __cosf cosf
#define __powf powf
static inline float __fdividef(float a, float b) { return a / b; }
static inline double sinpi(double x) { return sin(M_PI * x); }
static inline double cospi(double x) { return cos(M_PI * x); }
static inline float sinpif(float x) { return (float)sinpi(x); }
static inline float cospif(float x) { return (float)cospi(x); }
#if !defined(__USE_GNU)
static inline void sincosf(float x, float *s, float *c) { *s = sinf(x), *c = cosf(x); }
static inline void sincos(double x, double *s, double *c) { *s = sin(x), *c = cos(x); }
#endif
static inline void sincospi(double x, double *s, double *c) { *s = sinpi(x), *c = cospi(x); }
static inline void sincospif(float x, float *s, float *c) { *s = sinpif(x), *c = cospif(x); }

// Each product and sum rounded by itself: the compiler of a GPU joins them into one operation otherwise.
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fsub_rn(float a, float b) { return a - b; }
static inline float __fdiv_rn(float a, float b) { return a / b; }
static inline float __fsqrt_rn(float a) { return sqrtf(a); }
static inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dsub_rn(double a, double b) { return a - b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline double __dsqrt_rn(double a) { return sqrt(a); }
static inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned)((unsigned long long)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return (unsigned long long)((unsigned __int128)a * b >> 64);
}
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline int __clz(int x) { return x ? __builtin_clz(x) : 32; }
static inline int __clzll(long long x) { return x ? __builtin_clzll(x) : 64; }

#define SAME_BITS(name, from, to)               \
    static inline to name(from x) {             \
        to y;                                   \
        memcpy(&y, &x, sizeof y);               \
        return y;                               \
    }
SAME_BITS(__float_as_uint, float, unsigned int)
SAME_BITS(__uint_as_float, unsigned int, float)
SAME_BITS(__float_as_int, float, int)
SAME_BITS(__int_as_float, int, float)
SAME_BITS(__double_as_longlong, double, long long)
SAME_BITS(__longlong_as_double, long long, double)
