// The threads of CUDA as fibers: one block after the other, each thread until it has to wait for others.
#pragma once
#ifdef __ELF__
#include <link.h>
#endif
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

// Shared memory is one piece: where the library has what each of the process's threads has of its own. (A section would
// not do: g++ puts nothing there that is in a template.)
#define __shared__ static thread_local

// What cuda_races.cpp is told; without it, nobody.
#ifdef RACES
#define TOLD ;
HIDDEN char __ehdr_start[], _end[];  // of the library in which all this is
#else
#define TOLD {}
#endif
HIDDEN void races_launch(unsigned blocks, int threads) TOLD
HIDDEN void races_block(unsigned number) TOLD
HIDDEN void races_barrier() TOLD
HIDDEN void races_warp(int first, unsigned lanes) TOLD  // __syncwarp
HIDDEN void races_fence(int thread) TOLD
HIDDEN void races_atomic(int thread, bool begins) TOLD

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
static char *stacks, *shared, *shared_end;
static bool inside;  // a thread, not what runs them
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
            note("deadlock in block (%u, %u, %u): of %d threads %d wait at __syncthreads, %d for others of their warp, "
                 "and %d have returned.",
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
        uintptr_t at = (uintptr_t)threads - library->dlpi_addr - part.p_vaddr;
        ours |= part.p_type == PT_LOAD && at < part.p_memsz;
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

// Run a kernel in the order of this number; nullptr, or why it has failed.
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
HIDDEN __attribute__((no_sanitize("thread"))) int cuda_on_cpu_running(uintptr_t address, bool *in_shared) {
    using namespace cuda_on_cpu;
    uintptr_t stack = (uintptr_t)stacks;
    *in_shared = (uintptr_t)shared <= address && address < (uintptr_t)shared_end;
    bool own = stack <= address && address < stack + MOST * STACK;
    own |= (uintptr_t)__ehdr_start <= address && address < (uintptr_t)_end;
    return inside && (*in_shared || !own) ? current - threads : -1;
}
HIDDEN void cuda_on_cpu_race(bool writes, bool wrote, unsigned b, unsigned thread, bool in_shared, void *where) {
    using namespace cuda_on_cpu;
    dim3 i = threads[thread].index, grid = gridDim;
    note("a race: %s%s what thread (%u, %u, %u) of block (%u, %u, %u) has %s, and nothing puts that before this, "
         "at +0x%llx.",
         writes ? "writes" : "reads", in_shared ? ", in shared memory," : "", i.x, i.y, i.z, b % grid.x,
         b / grid.x % grid.y, b / grid.x / grid.y, wrote ? "written" : "read",
         (unsigned long long)((char *)where - __ehdr_start));
    leave();
}
#endif

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
