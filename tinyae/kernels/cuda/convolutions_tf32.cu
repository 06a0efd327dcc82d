// Sweeps of convolutions as in convolutions.cu, for float32 alone: factors rounded to TF32, sums in float32. They have
// a file of their own so that only those wait for the compiler who want them.

#include "packs.cuh"
#include "sweeps.cuh"
#include "tiles.cuh"
#include "convolve.cuh"

extern "C" __global__ void convolve_128x32_tf32(ARGUMENTS) {
    convolve<Tf32<128, 32, 4, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_64x64_tf32(ARGUMENTS) {
    convolve<Tf32<64, 64, 2, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
extern "C" __global__ void convolve_32x32_tf32(ARGUMENTS) {
    convolve<Tf32<32, 32, 2, false>, PACK, PACK>(X, P, b, Y, activation, s);
}
