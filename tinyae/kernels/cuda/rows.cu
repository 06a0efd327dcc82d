// Batches from a data set on the device. Which examples come next stands there too (`cursor`), so that a launch which is
// repeated in a CUDA graph takes the next batch each time.

struct __align__(16) Sixteen {
    unsigned long long x[2];
};

// out[r, :] = data[order[cursor + r], :], for rows of `width` items.
// Tile: threads along x copy neighbouring items of a row, those along y are at different rows; so are blocks.
// A row that does not exist is filled with `missing`: nothing is read or written out of bounds.
template <class Item>
__device__ __forceinline__ void gather_rows(
    const Item *__restrict__ data, long long examples, long long width, const long long *__restrict__ order,
    long long ordered, const long long *__restrict__ cursor, Item *__restrict__ out, long long rows, const Item &missing) {
    for (long long r = blockIdx.x * (long long)blockDim.y + threadIdx.y; r < rows; r += (long long)gridDim.x * blockDim.y) {
        long long place = *cursor + r, example = place < 0 || place >= ordered ? -1 : order[place];
        bool exists = example >= 0 && example < examples;
        const Item *from = data + (exists ? example * width : 0);
        for (long long i = blockIdx.y * (long long)blockDim.x + threadIdx.x; i < width; i += (long long)gridDim.y * blockDim.x)
            out[r * width + i] = exists ? from[i] : missing;
    }
}

// Rows of REAL; a row that does not exist is NaN. packed: are all rows whole multiples of 16 bytes, and begin at one?
extern "C" __global__ void gather(
    const REAL *__restrict__ data, long long examples, long long width, const long long *__restrict__ order,
    long long ordered, const long long *__restrict__ cursor, REAL *__restrict__ out, long long rows, long long packed) {
    const int pack = sizeof(Sixteen) / sizeof(REAL);
    if (packed) {
        union {
            REAL numbers[pack];
            Sixteen all;
        } missing;
        for (int j = 0; j < pack; j++) missing.numbers[j] = (REAL)nan("");
        gather_rows(
            (const Sixteen *)data, examples, width / pack, order, ordered, cursor, (Sixteen *)out, rows, missing.all);
    } else {
        gather_rows(data, examples, width, order, ordered, cursor, out, rows, (REAL)nan(""));
    }
}

// Labels, or rows of them; one that does not exist is -1.
extern "C" __global__ void gather_labels(
    const long long *__restrict__ data, long long examples, long long width, const long long *__restrict__ order,
    long long ordered, const long long *__restrict__ cursor, long long *__restrict__ out, long long rows) {
    gather_rows(data, examples, width, order, ordered, cursor, out, rows, -1LL);
}

// losses[0, place] = loss, losses[1, place] = penalty; then on to the next place, and to the next batch. One thread.
extern "C" __global__ void end_of_batch(
    const REAL *loss, const REAL *penalty, double *losses, long long places, long long *place, long long *cursor,
    long long batch_size) {
    if (*place >= 0 && *place < places) {
        losses[*place] = *loss;
        losses[places + *place] = penalty ? *penalty : 0;
    }
    *place += 1;
    *cursor += batch_size;
}
