// Activations that stand alone, and arrays scaled by the gradient of a loss. The definitions: ops/activations.py.

// Those that are never joined to a layer go on counting where common.cuh ends.
enum { LEAKY_RELU = TANH + 1, ELU, SOFTPLUS, GELU };

// max(x, 0) + ln(1 + e**-|x|), and its derivative 1 / (1 + e**-x): neither can overflow
__device__ __forceinline__ REAL softplus(REAL x) { return (x < 0 ? (REAL)0 : x) + log1p(exp(-fabs(x))); }

// Phi(x), the normal distribution function
__device__ __forceinline__ REAL normal_below(REAL x) {
    return (REAL)0.5 * ((REAL)1 + erf(x * (REAL)0.70710678118654752440));  // 1 / sqrt 2
}

// Y <- f(X), both of n numbers; `slope` is leaky relu's.
extern "C" __global__ void activation_forward(
    const REAL *__restrict__ X, REAL *__restrict__ Y, long long n, long long code, double slope) {
    EACH(i, n) {
        REAL x = X[i];
        if (code == LEAKY_RELU)
            Y[i] = x > 0 ? x : (REAL)slope * x;
        else if (code == ELU)
            Y[i] = x > 0 ? x : expm1(x);
        else if (code == SOFTPLUS)
            Y[i] = softplus(x);
        else if (code == GELU)
            Y[i] = x * normal_below(x);
        else
            Y[i] = activate(x, code);
    }
}

// gX <- f'(X) gY. S is what the derivative is found from: X of leaky relu, softplus and gelu, else Y = f(X).
extern "C" __global__ void activation_backward(
    const REAL *__restrict__ S, const REAL *__restrict__ gY, REAL *__restrict__ gX, long long n, long long code,
    double slope) {
    EACH(i, n) {
        REAL s = S[i], gy = gY[i];
        if (code == LEAKY_RELU)
            gX[i] = s > 0 ? gy : (REAL)slope * gy;
        else if (code == ELU)
            gX[i] = gy * (s > 0 ? (REAL)1 : s + (REAL)1);  // below 0, e**x = y + 1
        else if (code == SOFTPLUS)
            gX[i] = activate(s, SIGMOID) * gy;
        else if (code == GELU) {
            REAL density = exp((REAL)-0.5 * s * s) * (REAL)0.39894228040143267794;  // 1 / sqrt(2 pi)
            gX[i] = (normal_below(s) + s * density) * gy;
        } else
            gX[i] = through_activation(gy, s, code);
    }
}

// out <- factor gL X, of n numbers. gL is one number on the device: dL/dL, nearly always 1.
extern "C" __global__ void scaled(
    const REAL *__restrict__ X, const REAL *__restrict__ gL, REAL *__restrict__ out, long long n, double factor) {
    REAL by = (REAL)factor * *gL;
    EACH(i, n) out[i] = by * X[i];
}
