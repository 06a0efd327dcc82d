// Loads and stores of V neighbouring numbers: in one instruction, where V is PACK and they begin at a multiple of 16
// bytes.

#define INLINE __device__ __forceinline__
#define PACK ((int)(16 / sizeof(REAL)))

struct __align__(16) Pack {
    REAL at[PACK];
};
template <int V> INLINE void load(REAL (&x)[V], const REAL *from) {
    if (V == PACK) {
        Pack pack = *(const Pack *)from;
        for (int e = 0; e < V; ++e) x[e] = pack.at[e];
    } else {
        for (int e = 0; e < V; ++e) x[e] = from[e];
    }
}
template <int V> INLINE void store(REAL *to, const REAL (&x)[V]) {
    if (V == PACK) {
        Pack pack;
        for (int e = 0; e < V; ++e) pack.at[e] = x[e];
        *(Pack *)to = pack;
    } else {
        for (int e = 0; e < V; ++e) to[e] = x[e];
    }
}
