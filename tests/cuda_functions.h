// CUDA's functions that are no matter of threads, for cuda_on_cpu.h.
#pragma once

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
#define ATOMIC(name, type, value)                            \
    static inline type name(type *p, type x) {               \
        Atomic operation;                                    \
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
        Atomic operation;                                    \
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
