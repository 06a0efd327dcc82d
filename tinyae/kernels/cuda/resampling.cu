// Images made smaller and larger: pooling, nearest upsampling, and the ways back. Each kernel gathers: a thread
// finds all that its own numbers depend on, so nothing is added atomically.
//
// Tile: a thread computes V neighbouring channels of one pixel, V = PACK where the number of channels is a multiple of
// it; kernels named ..._any have V = 1. Indices are ints (arrays are refused that have 2^31 numbers or more), as 64-bit
// divisions would cost more than the memory does.

#include "packs.cuh"

// Where a number of images (N, H, W, C) is.
struct Place {
    int n, i, j, c;
    INLINE Place(unsigned number, unsigned H, unsigned W, unsigned C) {
        c = number % C, number /= C;
        j = number % W, number /= W;
        i = number % H, n = number / H;
    }
};

struct Window {
    int images, height, width, channels;  // of X
    int rows, columns;                    // of Y
    int size[2], stride[2], before[2];    // down, across; before: the padding above and to the left
};

// Y[n, i, j, c] = max over u, v of X[n, s i + u - p, s j + v - p, c], and which place, size u + v, it was: the first of
// equal ones, and the first NaN. Places in the padding count as -infinity.
template <int V> INLINE void pooled(const REAL *X, REAL *Y, unsigned char *winner, const Window &w) {
    EACH(k, (long long)w.images * w.rows * w.columns * w.channels / V) {
        Place y(k * V, w.rows, w.columns, w.channels);
        int top = y.i * w.stride[0] - w.before[0], left = y.j * w.stride[1] - w.before[1];
        REAL best[V], x[V];
        unsigned char won[V] = {};
        for (int e = 0; e < V; ++e) best[e] = -1 / (REAL)0;
        for (int u = 0; u < w.size[0]; ++u)
            for (int v = 0; v < w.size[1]; ++v) {
                int i = top + u, j = left + v;
                if (i < 0 || i >= w.height || j < 0 || j >= w.width) continue;
                load<V>(x, X + ((y.n * w.height + i) * w.width + j) * w.channels + y.c);
                for (int e = 0; e < V; ++e)
                    if (best[e] == best[e] && !(x[e] <= best[e])) best[e] = x[e], won[e] = u * w.size[1] + v;  // or NaN
            }
        store<V>(Y + k * V, best);
        for (int e = 0; e < V; ++e) winner[k * V + e] = won[e];
    }
}
#define POOL const REAL *X, REAL *Y, unsigned char *winner, Window w
extern "C" __global__ void pool(POOL) { pooled<PACK>(X, Y, winner, w); }
extern "C" __global__ void pool_any(POOL) { pooled<1>(X, Y, winner, w); }

// gX[n, y, x, c] = the sum of f'(Y) gY over the windows that (y, x) has won; f is the activation that was pooled.
template <int V>
INLINE void unpooled(
    const REAL *Y, const REAL *gY, const unsigned char *winner, REAL *gX, int code, const Window &w
) {
    EACH(k, (long long)w.images * w.height * w.width * w.channels / V) {
        Place x(k * V, w.height, w.width, w.channels);
        int y0 = x.i + w.before[0], x0 = x.j + w.before[1];
        REAL sum[V] = {}, g[V], y[V] = {};
        // from the last window to the first: in the order of places, as the definition adds
        for (int i = min(y0 / w.stride[0], w.rows - 1); i >= 0 && y0 - i * w.stride[0] < w.size[0]; --i)
            for (int j = min(x0 / w.stride[1], w.columns - 1); j >= 0 && x0 - j * w.stride[1] < w.size[1]; --j) {
                int at = ((x.n * w.rows + i) * w.columns + j) * w.channels + x.c;
                int place = (y0 - i * w.stride[0]) * w.size[1] + x0 - j * w.stride[1];
                load<V>(g, gY + at);
                if (code != NONE) load<V>(y, Y + at);
                for (int e = 0; e < V; ++e)
                    if (winner[at + e] == place) sum[e] += through_activation(g[e], y[e], code);
            }
        store<V>(gX + k * V, sum);
    }
}
#define POOL_GRADIENT \
    const REAL *Y, const REAL *gY, const unsigned char *winner, REAL *gX, long long activation, Window w
extern "C" __global__ void pool_gradient(POOL_GRADIENT) { unpooled<PACK>(Y, gY, winner, gX, activation, w); }
extern "C" __global__ void pool_gradient_any(POOL_GRADIENT) { unpooled<1>(Y, gY, winner, gX, activation, w); }

// How many pixels of the image window (i, j) holds.
INLINE int pixels_in(const Window &w, int i, int j) {
    int top = i * w.stride[0] - w.before[0], left = j * w.stride[1] - w.before[1];
    return (min(top + w.size[0], w.height) - max(top, 0)) * (min(left + w.size[1], w.width) - max(left, 0));
}

// Y[n, i, j, c] = the mean of X over the pixels in window (i, j).
template <int V> INLINE void averaged(const REAL *X, REAL *Y, const Window &w) {
    EACH(k, (long long)w.images * w.rows * w.columns * w.channels / V) {
        Place y(k * V, w.rows, w.columns, w.channels);
        int top = y.i * w.stride[0] - w.before[0], left = y.j * w.stride[1] - w.before[1];
        REAL sum[V] = {}, x[V];
        for (int i = max(top, 0); i < min(top + w.size[0], w.height); ++i)
            for (int j = max(left, 0); j < min(left + w.size[1], w.width); ++j) {
                load<V>(x, X + ((y.n * w.height + i) * w.width + j) * w.channels + y.c);
                for (int e = 0; e < V; ++e) sum[e] += x[e];
            }
        for (int e = 0; e < V; ++e) sum[e] /= pixels_in(w, y.i, y.j);
        store<V>(Y + k * V, sum);
    }
}
extern "C" __global__ void average(const REAL *X, REAL *Y, Window w) { averaged<PACK>(X, Y, w); }
extern "C" __global__ void average_any(const REAL *X, REAL *Y, Window w) { averaged<1>(X, Y, w); }

// gX[n, y, x, c] = the sum of gY / pixels over the windows that (y, x) is in.
template <int V> INLINE void shared_out(const REAL *gY, REAL *gX, const Window &w) {
    EACH(k, (long long)w.images * w.height * w.width * w.channels / V) {
        Place x(k * V, w.height, w.width, w.channels);
        int y0 = x.i + w.before[0], x0 = x.j + w.before[1];
        REAL sum[V] = {}, g[V];
        for (int i = min(y0 / w.stride[0], w.rows - 1); i >= 0 && y0 - i * w.stride[0] < w.size[0]; --i)
            for (int j = min(x0 / w.stride[1], w.columns - 1); j >= 0 && x0 - j * w.stride[1] < w.size[1]; --j) {
                load<V>(g, gY + ((x.n * w.rows + i) * w.columns + j) * w.channels + x.c);
                for (int e = 0; e < V; ++e) sum[e] += g[e] / pixels_in(w, i, j);
            }
        store<V>(gX + k * V, sum);
    }
}
extern "C" __global__ void average_gradient(const REAL *gY, REAL *gX, Window w) { shared_out<PACK>(gY, gX, w); }
extern "C" __global__ void average_gradient_any(const REAL *gY, REAL *gX, Window w) { shared_out<1>(gY, gX, w); }

// gZ = f'(Y) gY: the gradient before an activation that was not pooled. A thread has one number at a time.
extern "C" __global__ void through(const REAL *Y, const REAL *gY, REAL *gZ, long long activation, long long size) {
    EACH(number, size) gZ[number] = through_activation(gY[number], Y[number], activation);
}

// Y[n, f i + u, g j + v, c] = X[n, i, j, c], for all rows = N H of X.
template <int V> INLINE void repeated(const REAL *X, REAL *Y, int rows, int W, int C, int f, int g) {
    EACH(k, (long long)rows * f * W * g * C / V) {
        Place y(k * V, rows * f, W * g, C);
        REAL x[V];
        load<V>(x, X + (y.i / f * W + y.j / g) * C + y.c);
        store<V>(Y + k * V, x);
    }
}
#define UPSAMPLE const REAL *X, REAL *Y, long long rows, long long W, long long C, long long f, long long g
extern "C" __global__ void upsample(UPSAMPLE) { repeated<PACK>(X, Y, rows, W, C, f, g); }
extern "C" __global__ void upsample_any(UPSAMPLE) { repeated<1>(X, Y, rows, W, C, f, g); }

// gX[n, i, j, c] = the sum of gY over its block of f x g.
template <int V> INLINE void added_up(const REAL *gY, REAL *gX, int rows, int W, int C, int f, int g) {
    EACH(k, (long long)rows * W * C / V) {
        Place x(k * V, rows, W, C);
        REAL sum[V] = {}, y[V];
        for (int u = 0; u < f; ++u)
            for (int v = 0; v < g; ++v) {
                load<V>(y, gY + ((x.i * f + u) * W * g + x.j * g + v) * C + x.c);
                for (int e = 0; e < V; ++e) sum[e] += y[e];
            }
        store<V>(gX + k * V, sum);
    }
}
#define ADD_UP const REAL *gY, REAL *gX, long long rows, long long W, long long C, long long f, long long g
extern "C" __global__ void upsample_gradient(ADD_UP) { added_up<PACK>(gY, gX, rows, W, C, f, g); }
extern "C" __global__ void upsample_gradient_any(ADD_UP) { added_up<1>(gY, gX, rows, W, C, f, g); }
