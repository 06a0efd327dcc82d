// Convolutions of images (N, H, W, C), their gradients and their transposes, as products of matrices whose left one
// is never written: its rows, the patches, are read from the image tile by tile.
//
// One loop nest does all of them. A **sweep** computes each target pixel from the source pixels at some **places**,
//
//     Y[n, t_r, t_c, o] = f( b[o] + sum over places (p, q) and channels c of  X[n, s_r(p), s_c(q), c]  P[p, q, c, o] )
//
// Along one axis, a target pixel t = phases i + a of phase a sees the sources s(p) = step i + first[a] + apart p for
// p < count[a]; what lies outside of the image counts as zero. P is the weights, or sums of them:
//
//     sweep                           phases   step     apart     taps of W at place p of phase a
//     convolution                     1        stride   dilation  p
//     nearest upsampling by u first   u        1        1         of which floor((a - before + tap) / u) meets s(p)
//     gradient of a convolution       stride   1        < 0       every stride-th: only those which met this pixel
//     gradient after upsampling       1        u        1         up to u: each met the pixel in one copy
//     transposed convolution          as the gradient of a convolution; its gradient is a convolution
//
// So nothing is multiplied by the zeros that a stride would put between pixels, and after upsampling by 2 a kernel of
// 3x3 costs 4 products for 9 (kernels/conv_blocks.py shows why). The gradient of the weights is the other product of
// the same patches, P's gradient = patches^T gZ, whose terms are then added up for each weight. kernels/gpu_sweeps.py
// fills in the numbers. They are ints: a 64-bit division or product costs a GPU several instructions; arrays of 2^31
// numbers and more run as they are defined.

#define THREADS 128                       // of each block in this file
#define INNER ((int)(64 / sizeof(REAL)))  // depth of a tile: so much of the sum is in shared memory at a time
#define PHASES 8                          // at most, along an axis
#define NARROW 4                          // up to so many channels of the target have kernels of their own
#define OUTSIDE (-(1 << 30))              // a coordinate that stays outside of every image

struct Axis {
    int sources, targets;                 // pixels
    int phases, step, apart;              // see above
    int taps, tap_step, span;             // place p of phase a has the taps tap_first[a] + tap_step p and span - 1 more
    int first[PHASES], count[PHASES], before[PHASES], tap_first[PHASES];  // before: places of the phases before
};
struct Sweep {
    int images, in, out;                  // channels of source and target
    Axis rows, columns;
};

// A phase of both axes: how many targets and places it has, and where its matrix begins among those of all phases, in
// rows of ``out`` numbers. With ``ones`` each has a row more, see ``weights``.
struct Phase {
    int a, b, rows, columns, targets, down, across, K, start;
    INLINE Phase(const Sweep &s, int number, int ones) {
        a = number / s.columns.phases, b = number % s.columns.phases;
        rows = (s.rows.targets - a + s.rows.phases - 1) / s.rows.phases;
        columns = (s.columns.targets - b + s.columns.phases - 1) / s.columns.phases;
        targets = s.images * rows * columns;
        if (targets == 0) rows = columns = 1;  // fewer pixels than phases: something to divide by
        down = s.rows.count[a], across = s.columns.count[b];
        K = down * across * s.in;
        int last = s.columns.phases - 1, all_across = s.columns.before[last] + s.columns.count[last];
        start = (s.rows.before[a] * all_across + down * s.columns.before[b]) * s.in + number * ones;
    }
};

// A target pixel of a phase: image n, row phases i + a, column phases j + b.
struct Target {
    int n, i, j;
    INLINE Target(const Phase &phase, int number) {
        j = number % phase.columns;
        i = number / phase.columns % phase.rows;
        n = number / phase.columns / phase.rows;
    }
    INLINE void advance(const Phase &phase, int by) {
        j += by;
        while (j >= phase.columns) {
            j -= phase.columns;
            if (++i == phase.rows) i = 0, ++n;
        }
    }
    INLINE int index(const Sweep &s, const Phase &phase) const {
        return (n * s.rows.targets + s.rows.phases * i + phase.a) * s.columns.targets + s.columns.phases * j + phase.b;
    }
    INLINE int image(const Sweep &s) const { return n * s.rows.sources * s.columns.sources; }  // its first source pixel
    INLINE int row(const Sweep &s, const Phase &phase) const {
        return s.rows.step * i + s.rows.first[phase.a];
    }
    INLINE int column(const Sweep &s, const Phase &phase) const {
        return s.columns.step * j + s.columns.first[phase.b];
    }
};

// Is this a pixel of the source?
INLINE bool inside(const Sweep &s, int i, int j) {
    return (unsigned)i < (unsigned)s.rows.sources && (unsigned)j < (unsigned)s.columns.sources;
}

// An inner index: place (p, q) and channel.
struct Inner {
    int p, q, channel;
    INLINE Inner(const Sweep &s, const Phase &phase, int k) {
        channel = k % s.in;
        q = phase.across ? k / s.in % phase.across : 0;
        p = phase.across ? k / s.in / phase.across : 0;
    }
    INLINE void advance(const Sweep &s, const Phase &phase, int by) {
        channel += by;
        while (channel >= s.in) {
            channel -= s.in;
            if (++q == phase.across) q = 0, ++p;
        }
    }
    INLINE int down(const Sweep &s) const { return s.rows.apart * p; }
    INLINE int across(const Sweep &s) const { return s.columns.apart * q; }
};
