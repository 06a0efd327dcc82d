// Images made smaller and larger: max pooling, nearest upsampling, and the ways back. Each kernel gathers: a thread
// finds all that its own number depends on, so nothing is added atomically.
//
// Shapes: images (N, H, W, C), of which ``rows`` = N H are counted together where an axis does not matter.

// An element of an array (N, H, W, C).
struct Place {
    long long n;
    int i, j, c;
    __device__ __forceinline__ Place(long long number, long long H, long long W, long long C) {
        c = number % C, number /= C;
        j = number % W, number /= W;
        i = number % H, n = number / H;
    }
};

struct Window {
    int images, height, width, channels;       // of X
    int rows, columns;                          // of Y
    int size[2], stride[2], before[2];          // down, across; the padding above and to the left
};

// Y[n, i, j, c] = max over u, v of X[n, s i + u - p, s j + v - p, c], and which place u size + v it was: the first of equal
// ones, and the first NaN. Places in the padding count as -infinity. One thread for each number of Y.
extern "C" __global__ void pool(const REAL *X, REAL *Y, unsigned char *winner, Window w) {
    EACH(number, (long long)w.images * w.rows * w.columns * w.channels) {
        Place y(number, w.rows, w.columns, w.channels);
        int top = y.i * w.stride[0] - w.before[0], left = y.j * w.stride[1] - w.before[1], won = 0;
        REAL best = -(REAL)INFINITY;
        for (int u = 0; u < w.size[0]; ++u)
            for (int v = 0; v < w.size[1]; ++v) {
                int i = top + u, j = left + v;
                if (i < 0 || i >= w.height || j < 0 || j >= w.width) continue;
                REAL x = X[((y.n * w.height + i) * w.width + j) * w.channels + y.c];
                if (best == best && !(x <= best)) best = x, won = u * w.size[1] + v;  // larger, or the first NaN
            }
        Y[number] = best, winner[number] = won;
    }
}

// gX[n, y, x, c] = the sum of f'(Y) gY over the windows that (y, x) has won; f is the activation that was pooled.
// One thread for each number of X.
extern "C" __global__ void pool_gradient(const REAL *Y, const REAL *gY, const unsigned char *winner, REAL *gX, long long activation, Window w) {
    EACH(number, (long long)w.images * w.height * w.width * w.channels) {
        Place x(number, w.height, w.width, w.channels);
        int y0 = x.i + w.before[0], x0 = x.j + w.before[1];
        REAL sum = 0;
        // from the last window to the first: in the order of places, as the definition adds
        for (int i = min(y0 / w.stride[0], w.rows - 1); i >= 0 && y0 - i * w.stride[0] < w.size[0]; --i)
            for (int j = min(x0 / w.stride[1], w.columns - 1); j >= 0 && x0 - j * w.stride[1] < w.size[1]; --j) {
                long long at = ((x.n * w.rows + i) * w.columns + j) * w.channels + x.c;
                int place = (y0 - i * w.stride[0]) * w.size[1] + x0 - j * w.stride[1];
                if (winner[at] == place) sum += through_activation(gY[at], activation ? Y[at] : (REAL)0, activation);
            }
        gX[number] = sum;
    }
}

// gZ = f'(Y) gY: the gradient before an activation that nothing was pooled after. One thread for each number.
extern "C" __global__ void through(const REAL *Y, const REAL *gY, REAL *gZ, long long activation, long long size) {
    EACH(number, size) gZ[number] = through_activation(gY[number], Y[number], activation);
}

// Y[n, f i + u, g j + v, c] = X[n, i, j, c]. One thread for each number of Y; rows = N H.
extern "C" __global__ void upsample(const REAL *X, REAL *Y, long long rows, long long W, long long C, long long f, long long g) {
    EACH(number, rows * f * W * g * C) {
        long long c = number % C, j = number / C % (W * g) / g, i = number / C / (W * g) / f;
        Y[number] = X[(i * W + j) * C + c];
    }
}

// gX[n, i, j, c] = the sum of gY over its block of f x g. One thread for each number of X; rows = N H.
extern "C" __global__ void upsample_gradient(const REAL *gY, REAL *gX, long long rows, long long W, long long C, long long f, long long g) {
    EACH(number, rows * W * C) {
        long long c = number % C, j = number / C % W, i = number / C / W;
        REAL sum = 0;
        for (long long u = 0; u < f; ++u)
            for (long long v = 0; v < g; ++v) sum += gY[((i * f + u) * W * g + j * g + v) * C + c];
        gX[number] = sum;
    }
}
