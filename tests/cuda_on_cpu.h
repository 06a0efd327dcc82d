// CUDA's own words for CUDA C that a C++ compiler translates; its threads are the fibers of cuda_fibers.h.
//
// This GPU is strict where a real one is silent. Shared memory is full of 0xFF (NaN) when a block begins. Lanes that a
// shuffle cannot read give 0xFF. A thread that waits for what cannot come, an index beyond an array of known size, a
// null or misaligned pointer and a division by zero end the launch with a message.
//
// A thread runs up to its next barrier or operation of its warp. Which one comes first can be chosen, and which block,
// so that a missing barrier, or a belief about which block comes last, gives wrong numbers in one order if not in
// another. What does so only when two threads run at the same time is found by cuda_races.cpp.
#pragma once
#include <math.h>
#include <string.h>
#include "cuda_fibers.h"

#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __restrict__ __restrict
#define __align__(n) __attribute__((aligned(n)))

// ---------------------------------------------------------------- types

#define VECTORS(type, name)                                                                                   \
    struct alignas(2 * sizeof(type)) name##2 { type x, y; };                                                  \
    struct name##3 { type x, y, z; };                                                                         \
    struct alignas(4 * sizeof(type) < 16 ? 4 * sizeof(type) : 16) name##4 { type x, y, z, w; };               \
    static inline name##2 make_##name##2(type x, type y) { return {x, y}; }                                   \
    static inline name##3 make_##name##3(type x, type y, type z) { return {x, y, z}; }                        \
    static inline name##4 make_##name##4(type x, type y, type z, type w) { return {x, y, z, w}; }
VECTORS(float, float)
VECTORS(double, double)
VECTORS(int, int)
VECTORS(unsigned int, uint)
VECTORS(unsigned char, uchar)
VECTORS(long long, longlong)
VECTORS(unsigned long long, ulonglong)

static const int warpSize = 32;

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

static inline void __threadfence() { races_fence(cuda_on_cpu::current - cuda_on_cpu::threads); }
static inline void __threadfence_block() {}
static inline void __threadfence_system() { __threadfence(); }
template <class T> static inline T __ldg(const T *p) { return *p; }
template <class T> static inline T __ldcs(const T *p) { return *p; }
template <class T> static inline T __ldcg(const T *p) { return *p; }
template <class T> static inline void __stcs(T *p, T x) { *p = x; }

struct Atomic {  // as long as it is there, what is read and written belongs to an atomic operation
    Atomic() { races_atomic(cuda_on_cpu::current - cuda_on_cpu::threads, true); }
    ~Atomic() { races_atomic(cuda_on_cpu::current - cuda_on_cpu::threads, false); }
};
#define ATOMIC(name, type, value)                                                                             \
    static inline type name(type *p, type x) {                                                                \
        Atomic operation;                                                                                     \
        type old = *p;                                                                                        \
        *p = value;                                                                                           \
        return old;                                                                                           \
    }
#define ATOMICS(type)                                                                                         \
    ATOMIC(atomicAdd, type, old + x)                                                                          \
    ATOMIC(atomicExch, type, x)
ATOMICS(int)
ATOMICS(unsigned int)
ATOMICS(unsigned long long)
ATOMICS(float)
ATOMIC(atomicAdd, double, old + x)
#define INTEGER_ATOMICS(type)                                                                                 \
    ATOMIC(atomicMax, type, old > x ? old : x)                                                                \
    ATOMIC(atomicMin, type, old < x ? old : x)                                                                \
    ATOMIC(atomicOr, type, old | x)                                                                           \
    ATOMIC(atomicAnd, type, old & x)                                                                          \
    static inline type atomicCAS(type *p, type expected, type x) {                                            \
        Atomic operation;                                                                                     \
        type old = *p;                                                                                        \
        if (old == expected) *p = x;                                                                          \
        return old;                                                                                           \
    }
INTEGER_ATOMICS(int)
INTEGER_ATOMICS(unsigned int)
INTEGER_ATOMICS(unsigned long long)

// ---------------------------------------------------------------- mathematics that C++ does not have by these names

#define SMALLER_AND_LARGER(type)                                                                              \
    static inline type min(type a, type b) { return b < a ? b : a; }                                          \
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

#define SAME_BITS(name, from, to)                                                                             \
    static inline to name(from x) {                                                                           \
        to y;                                                                                                 \
        memcpy(&y, &x, sizeof y);                                                                             \
        return y;                                                                                             \
    }
SAME_BITS(__float_as_uint, float, unsigned int)
SAME_BITS(__uint_as_float, unsigned int, float)
SAME_BITS(__float_as_int, float, int)
SAME_BITS(__int_as_float, int, float)
SAME_BITS(__double_as_longlong, double, long long)
SAME_BITS(__longlong_as_double, long long, double)
