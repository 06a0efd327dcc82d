// The threads of CUDA as fibers: one block after the other, each thread until it has to wait for others.
#pragma once
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

#define HIDDEN extern "C" __attribute__((visibility("hidden")))  // of one library: each has its own

struct dim3 {
    unsigned x, y, z;
    constexpr dim3(unsigned x = 1, unsigned y = 1, unsigned z = 1) : x(x), y(y), z(z) {}
};
static dim3 threadIdx, blockIdx, blockDim, gridDim;

#ifdef __ELF__  // all shared memory in one piece, whose ends the linker tells
#define __shared__ static __attribute__((section("cuda_shared")))
HIDDEN __attribute__((weak)) char __start_cuda_shared[], __stop_cuda_shared[];
#else
#define __shared__ static
#endif

namespace cuda_on_cpu {

enum State { READY, AT_BLOCK, AT_WARP, DONE };
enum Operation { SYNC, SHUFFLE, BALLOT };
const int MOST = 1024;  // threads in a block
// Bytes for each. An odd number of cache lines, or the tops of all would share one place in the cache.
const size_t STACK = 65 * 1024 + 64;

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
HIDDEN void cuda_on_cpu_switch(void **from, void *to);
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
    const char *where = current ? "thread (%u, %u, %u) of block (%u, %u, %u): " : "";
    dim3 t = threadIdx, b = blockIdx;
    int used = snprintf(message, sizeof message, where, t.x, t.y, t.z, b.x, b.y, b.z);
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
        if (warp[i].operation != operation)
            note("lanes of one warp are at different operations, of the mask 0x%x.", mask);
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
            note("deadlock in block (%u, %u, %u): of %d threads %d wait at __syncthreads, %d for others of their warp, "
                 "and %d have returned.",
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
    if (!stacks) stacks = (char *)aligned_alloc(64, MOST * STACK);
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
    current = nullptr;
    return message[0] ? message : nullptr;
}

}  // namespace cuda_on_cpu

// What the compiler calls where -fsanitize=bounds,null,alignment,integer-divide-by-zero finds something.
struct Found {
    const char *file;
    unsigned line, column;
};
HIDDEN void __ubsan_handle_out_of_bounds(Found *found, uintptr_t index) {
    char text[100];
    snprintf(text, sizeof text, "index %lld is out of bounds", (long long)index);
    cuda_on_cpu::fail_at(found->file, found->line, text);
}
HIDDEN void __ubsan_handle_type_mismatch_v1(Found *found, uintptr_t pointer) {
    cuda_on_cpu::fail_at(found->file, found->line, pointer ? "a misaligned pointer" : "a null pointer");
}
HIDDEN void __ubsan_handle_divrem_overflow(Found *found, uintptr_t, uintptr_t) {
    cuda_on_cpu::fail_at(found->file, found->line, "a division by zero");
}
