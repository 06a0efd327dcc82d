// Plays the GPU for CUDA C that a C++ compiler translates: every CUDA thread is a fiber, one block runs after the other.
//
// It is strict where a GPU is silent. Shared memory is full of 0xFF (NaN) when a block begins. Lanes that a shuffle cannot
// read give 0xFF. A thread that waits for what cannot come, an index beyond an array of known size, a null or
// misaligned pointer and a division by zero end the launch with a message.
//
// A thread runs up to its next barrier or operation of its warp. Which one comes first can be chosen, and which block, so
// that a missing barrier, or a belief about which block comes last, gives wrong numbers in one order if not in another. What
// does so only when two threads run at the same time is found by races.cpp, for which there is RACES.
#pragma once
#ifdef __ELF__
#include <link.h>
#endif
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
// Shared memory is one piece: where the library has what each of the process's threads has of its own. (g++ puts nothing
// that is in a template into a section that it is told.)
#define __shared__ static thread_local

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

// ---------------------------------------------------------------- what races.cpp is told

#define HIDDEN __attribute__((visibility("hidden")))
#ifdef RACES
#define TOLD ;
extern "C" HIDDEN char __ehdr_start[], _end[];  // of the library in which all this is
#else
#define TOLD {}
#endif
extern "C" {
HIDDEN void races_launch(unsigned blocks, int threads) TOLD
HIDDEN void races_block(unsigned number) TOLD
HIDDEN void races_barrier() TOLD
HIDDEN void races_warp(int first, unsigned lanes) TOLD  // __syncwarp
HIDDEN void races_fence(int thread) TOLD
HIDDEN void races_atomic(int thread, bool begins) TOLD
}

// ---------------------------------------------------------------- fibers

namespace cuda_on_cpu {

enum State { READY, AT_BLOCK, AT_WARP, DONE };
enum Operation { SYNC, SHUFFLE, BALLOT };
const int MOST = 1024;                       // threads in a block
const size_t STACK = 65 * 1024 + 64;         // bytes for each; an odd number of cache lines: not all tops in one place of the cache

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
static char *shared, *shared_end;
static bool inside;    // a thread, not what runs them
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
    if (operation == SYNC) races_warp(warp - threads, here);
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

static bool run_block(unsigned number) {
    memset(shared, 0xff, shared_end - shared);
    for (int i = 0; i < count; i++) {
        threads[i].state = READY;
        prepare(i);
    }
    waiting = done = 0;
    races_block(number);
    while (done < count) {
        bool some = false;
        for (int i = 0; i < count; i++) {
            current = threads + order[i];
            if (current->state != READY) continue;
            some = true;
            threadIdx = current->index;
            inside = true;
            enter();
            inside = false;
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
            races_barrier();
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

#ifdef __ELF__
static thread_local char some_shared_memory;

// Is this our library? If so, find its shared memory.
static int find_shared(dl_phdr_info *library, size_t, void *) {
    bool ours = false;
    size_t size = 0;
    for (int i = 0; i < library->dlpi_phnum; i++) {
        const ElfW(Phdr) &part = library->dlpi_phdr[i];
        ours |= part.p_type == PT_LOAD && (uintptr_t)threads - library->dlpi_addr - part.p_vaddr < part.p_memsz;
        if (part.p_type == PT_TLS) size = part.p_memsz;
    }
    if (ours) shared = (char *)library->dlpi_tls_data, shared_end = shared + size;
    return ours;
}
#endif

// An order of n things: forwards (0), backwards (1), or one of many in which neighbours are far apart.
struct Order {
    unsigned long long n, first, step;
    Order(unsigned long long n, unsigned number) : n(n), first(0), step(1) {
        if (number == 1) first = step = n - 1;
        if (number < 2) return;
        unsigned long long drawn = number * 0x9E3779B97F4A7C15u;
        first = (drawn >> 40) % n, step = (drawn >> 16 & 0xffffff) % n;
        while (gcd(step, n) != 1) step++;
    }
    static unsigned long long gcd(unsigned long long a, unsigned long long b) { return b ? gcd(b, a % b) : a; }
    unsigned long long operator[](unsigned long long i) const { return (first + i * step) % n; }
};

// Run a kernel; nullptr, or why it has failed.
static const char *run(
    const unsigned *grid, const unsigned *block, unsigned number, void (*kernel)(void *), void *data) {
    message[0] = 0;
    current = nullptr;
#ifdef __ELF__
    *(volatile char *)&some_shared_memory = 0;  // now there is some
    dl_iterate_phdr(find_shared, nullptr);
#endif
    count = block[0] * block[1] * block[2];
    if (!stacks) stacks = (char *)aligned_alloc(64, MOST * STACK);
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    body = kernel;
    body_data = data;
    Order of_threads(count, number);
    for (int i = 0; i < count; i++) order[i] = of_threads[i];
    for (unsigned i = 0; i < (unsigned)count; i++)
        threads[i].index = {i % block[0], i / block[0] % block[1], i / block[0] / block[1]};
    unsigned long long blocks = (unsigned long long)grid[0] * grid[1] * grid[2];
    Order of_blocks(blocks, number);
    races_launch(blocks, count);
    for (unsigned long long i = 0; i < blocks; i++) {
        unsigned long long b = of_blocks[i];
        blockIdx = {(unsigned)(b % grid[0]), (unsigned)(b / grid[0] % grid[1]), (unsigned)(b / grid[0] / grid[1])};
        if (!run_block(b)) break;
    }
    current = nullptr;
    return message[0] ? message : nullptr;
}

}  // namespace cuda_on_cpu

#ifdef RACES
// Which thread is at a place that others can be at, too; -1 if there is none.
extern "C" HIDDEN __attribute__((no_sanitize("thread"))) int cuda_on_cpu_running(uintptr_t address, bool *in_shared) {
    using namespace cuda_on_cpu;
    uintptr_t own = (uintptr_t)stacks;
    *in_shared = (uintptr_t)shared <= address && address < (uintptr_t)shared_end;
    if (*in_shared) return inside ? current - threads : -1;
    bool ours = (own <= address && address < own + MOST * STACK) || ((uintptr_t)__ehdr_start <= address && address < (uintptr_t)_end);
    return inside && !ours ? current - threads : -1;
}
extern "C" HIDDEN void cuda_on_cpu_race(bool writes, bool wrote, unsigned b, unsigned thread, uintptr_t address, void *where) {
    using namespace cuda_on_cpu;
    bool in_shared;
    cuda_on_cpu_running(address, &in_shared);
    dim3 i = threads[thread].index;
    note("a race: %s%s what thread (%u, %u, %u) of block (%u, %u, %u) has %s, and nothing puts that before this, at +0x%llx.",
         writes ? "writes" : "reads", in_shared ? ", in shared memory," : "", i.x, i.y, i.z, b % gridDim.x,
         b / gridDim.x % gridDim.y, b / gridDim.x / gridDim.y, wrote ? "written" : "read",
         (unsigned long long)((char *)where - __ehdr_start));
    leave();
}
#endif

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

#include "cuda_functions.h"
