// Finds races in kernels that run on the CPU: two threads at the same place in memory, one of which writes, and neither
// a barrier nor anything else puts one before the other. In which order they happen to run does not matter.
//
// g++ -fsanitize=thread has a function called before each access to memory; these are they, in place of its own
// library's. Compiled without that option, and linked with the kernels. Time is the number of accesses so far.
//
// What puts an access before another one: __syncthreads, for threads of a block; __syncwarp, for those of its mask (a
// shuffle does not); and between blocks, as CUDA's memory model has it, a fence and then an atomic operation in
// the one, an atomic operation and then a fence in the other.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

namespace {

typedef unsigned long long Time;
const int MOST = 1024, WORDS = 1024, SLOTS = 4096;

struct Access {
    Time time;
    unsigned block;
    unsigned short thread;
    unsigned char bytes, atomic;  // bytes: which of the word's four
};
struct Word {
    Access write, read, other;  // other: a read by another warp than the last, if there is one
};
struct Page {
    uintptr_t number;
    Page *next;
    Word words[WORDS];
};
struct Known {  // of a block: what whoever comes after it may rely on
    Time all, own;
    int thread;
};
struct Thread {
    Time seen[32];        // up to when what the lanes of its warp did is before what it does
    Time all, own;        // up to when what its block, and itself, did was before its last fence
    bool asked, acquired; // has it done an atomic operation; and a fence after it?
};

Page *pages[SLOTS], *last;
int page_count;
Thread threads[MOST];
Known *known;
Time now, launched, barrier;  // barrier: when the block's threads last met
unsigned block;
bool atomic, acquired;  // acquired: by the block, before its threads last met
int count;

Word &word_at(uintptr_t address) {
    uintptr_t number = address / (4 * WORDS);
    if (!last || last->number != number) {
        Page *&first = pages[number % SLOTS];
        for (last = first; last && last->number != number;) last = last->next;
        if (!last) {
            last = (Page *)calloc(1, sizeof(Page));
            last->number = number, last->next = first, first = last;
            ++page_count;
        }
    }
    return last->words[address / 4 % WORDS];
}

// Is this access before what a thread does now?
bool before(const Access &access, int thread) {
    if (access.time <= launched) return true;
    if (access.block == block)
        return access.thread == thread || access.time <= barrier ||
               (access.thread / 32 == thread / 32 && access.time <= threads[thread].seen[access.thread % 32]);
    if (!acquired && !threads[thread].acquired) return false;
    const Known &its = known[access.block];
    return access.time <= its.all || (access.thread == its.thread && access.time <= its.own);
}

bool same_thread(const Access &a, const Access &b) { return a.block == b.block && a.thread == b.thread; }
bool same_warp(const Access &a, const Access &b) { return a.block == b.block && a.thread / 32 == b.thread / 32; }

}  // namespace

extern "C" {
#define HIDDEN __attribute__((visibility("hidden")))
// in cuda_fibers.h
HIDDEN int cuda_on_cpu_running(uintptr_t address, bool *shared);
HIDDEN void cuda_on_cpu_race(bool writes, bool wrote, unsigned block, unsigned thread, bool shared, void *where);

HIDDEN void races_launch(unsigned blocks, int threads_each) {
    launched = ++now;
    known = (Known *)realloc(known, blocks * sizeof(Known));
    memset(known, 0, blocks * sizeof(Known));
    count = threads_each;
    if (page_count < 4 * SLOTS) return;
    for (Page *&page : pages)
        while (page) {
            Page *next = page->next;
            free(page);
            page = next;
        }
    page_count = 0, last = nullptr;
}
HIDDEN void races_block(unsigned number) {
    block = number;
    barrier = now;
    acquired = false;
    memset(threads, 0, count * sizeof(Thread));
}
HIDDEN void races_barrier() {
    barrier = now;
    for (int i = 0; i < count; i++) acquired |= threads[i].acquired;
}
HIDDEN void races_warp(int first, unsigned lanes) {
    Time seen[32] = {};
    for (int i = 0; i < 32; i++)
        for (int k = 0; k < 32 && lanes >> i & 1; k++)
            if (seen[k] < threads[first + i].seen[k]) seen[k] = threads[first + i].seen[k];
    for (int i = 0; i < 32; i++)
        if (lanes >> i & 1) seen[i] = now;
    for (int i = 0; i < 32; i++)
        if (lanes >> i & 1) memcpy(threads[first + i].seen, seen, sizeof seen);
}
HIDDEN void races_fence(int thread) {
    Thread &own = threads[thread];
    own.all = barrier, own.own = now;
    own.acquired |= own.asked;
}
HIDDEN void races_atomic(int thread, bool begins) {
    atomic = begins;
    if (!begins) return;
    Thread &own = threads[thread];
    own.asked = true;
    if (own.own) known[block] = {own.all, own.own, thread};
}
}

static void access(void *pointer, size_t size, bool writes, void *where) {
    uintptr_t address = (uintptr_t)pointer, end = address + size;
    bool shared;
    int thread = cuda_on_cpu_running(address, &shared);
    if (thread < 0) return;
    ++now;
    for (uintptr_t start; address < end; address = start) {
        start = (address / 4 + 1) * 4;
        unsigned char bytes = 15 << address % 4 & 15;
        if (end < start) bytes &= 15 >> (start - end);
        Access access = {now, block, (unsigned short)thread, bytes, atomic};
        Word &word = word_at(address);
        auto races = [&](const Access &earlier) {
            if (shared && earlier.block != block) return false;  // each block has its own
            return (earlier.bytes & bytes) && !(earlier.atomic && atomic) && !before(earlier, thread);
        };
        const Access *found = races(word.write) ? &word.write : nullptr;
        if (writes && races(word.read)) found = &word.read;
        if (writes && races(word.other)) found = &word.other;
        if (found) cuda_on_cpu_race(writes, found == &word.write, found->block, found->thread, shared, where);
        if (writes) {
            word.write = access;
        } else {
            bool keeps = same_warp(word.read, access) && !same_warp(word.other, access) && !before(word.other, thread);
            if (!keeps && !same_thread(word.read, access)) word.other = word.read;
            word.read = access;
        }
    }
}

extern "C" {
#define ACCESSES(size)                                                                                                \
    HIDDEN void __tsan_read##size(void *p) { access(p, size, false, __builtin_return_address(0)); }                   \
    HIDDEN void __tsan_write##size(void *p) { access(p, size, true, __builtin_return_address(0)); }                   \
    HIDDEN void __tsan_unaligned_read##size(void *p) { access(p, size, false, __builtin_return_address(0)); }         \
    HIDDEN void __tsan_unaligned_write##size(void *p) { access(p, size, true, __builtin_return_address(0)); }
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)
HIDDEN void __tsan_read_range(void *p, size_t size) { access(p, size, false, __builtin_return_address(0)); }
HIDDEN void __tsan_write_range(void *p, size_t size) { access(p, size, true, __builtin_return_address(0)); }
HIDDEN void __tsan_init() {}
HIDDEN void __tsan_func_entry(void *) {}
HIDDEN void __tsan_func_exit(void *) {}
}
