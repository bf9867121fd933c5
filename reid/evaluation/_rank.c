/* Counts how many scores of each row reach each of the row's thresholds. `reid/evaluation/counters.py` says what for, and
 * comes to the same results without this file.
 */
#include "../_arrays.h"

#define WIDTH 128 /* columns taken together: their thresholds and counts stay in the first-level cache */
#define DEPTH 16  /* thresholds taken together */

/* The scores of a row lie side by side: four thresholds per pass over the row. */
FOR_EACH_CPU static void count_row(const float *restrict scores, Py_ssize_t n, const float *restrict thresholds,
                                   Py_ssize_t num, int32_t *restrict counts)
{
    Py_ssize_t k = 0;
    for (; k + 4 <= num; k += 4) {
        const float t0 = thresholds[k], t1 = thresholds[k + 1], t2 = thresholds[k + 2], t3 = thresholds[k + 3];
        int32_t c0 = 0, c1 = 0, c2 = 0, c3 = 0;
        for (Py_ssize_t i = 0; i < n; i++) {
            c0 += scores[i] >= t0;
            c1 += scores[i] >= t1;
            c2 += scores[i] >= t2;
            c3 += scores[i] >= t3;
        }
        counts[k] += c0;
        counts[k + 1] += c1;
        counts[k + 2] += c2;
        counts[k + 3] += c3;
    }
    for (; k < num; k++) {
        const float t = thresholds[k];
        int32_t c = 0;
        for (Py_ssize_t i = 0; i < n; i++)
            c += scores[i] >= t;
        counts[k] += c;
    }
}

/* The scores of a row lie `step` apart, those of neighbouring rows side by side: WIDTH rows at once. */
FOR_EACH_CPU static void count_side_by_side(const float *restrict scores, Py_ssize_t n, Py_ssize_t step, Py_ssize_t num,
                                            const float (*restrict thresholds)[WIDTH], int32_t (*restrict counts)[WIDTH])
{
    for (Py_ssize_t i = 0; i < n; i++)
        for (Py_ssize_t k = 0; k < num; k++)
            for (int j = 0; j < WIDTH; j++)
                counts[k][j] += scores[i * step + j] >= thresholds[k][j];
}

/* The thresholds of a row that are in use: those before the first that is infinite. */
static Py_ssize_t in_use(const float *thresholds, Py_ssize_t num)
{
    Py_ssize_t used = 0;
    while (used < num && thresholds[used] <= 3.402823466e38f)
        used++;
    return used;
}

static void count_rows(const char *scores, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step, const float *thresholds,
                       Py_ssize_t num, int32_t *counts)
{
    for (Py_ssize_t r = 0; r < rows; r++, thresholds += num, counts += num)
        count_row((const float *)(scores + r * step), n, thresholds, in_use(thresholds, num), counts);
}

static void count_columns(const float *scores, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step, const float *thresholds,
                          Py_ssize_t num, int32_t *counts)
{
    static const float none = 3.402823466e38f;
    Py_ssize_t r = 0;
    for (; r + WIDTH <= rows; r += WIDTH) {
        Py_ssize_t used = 0;
        for (Py_ssize_t j = r; j < r + WIDTH; j++) {
            const Py_ssize_t here = in_use(thresholds + j * num, num);
            used = here > used ? here : used;
        }
        for (Py_ssize_t first = 0; first < used; first += DEPTH) {
            const Py_ssize_t depth = used - first < DEPTH ? used - first : DEPTH;
            float t[DEPTH][WIDTH];
            int32_t c[DEPTH][WIDTH] = {{0}};
            for (Py_ssize_t k = 0; k < depth; k++)
                for (Py_ssize_t j = 0; j < WIDTH; j++)
                    t[k][j] = thresholds[(r + j) * num + first + k];
            count_side_by_side(scores + r, n, step, depth, (const float(*)[WIDTH])t, c);
            for (Py_ssize_t k = 0; k < depth; k++)
                for (Py_ssize_t j = 0; j < WIDTH; j++)
                    counts[(r + j) * num + first + k] += c[k][j];
        }
    }
    for (; r < rows; r++) /* fewer than WIDTH are left */
        for (Py_ssize_t k = 0; k < num && thresholds[r * num + k] <= none; k++)
            for (Py_ssize_t i = 0; i < n; i++)
                counts[r * num + k] += scores[i * step + r] >= thresholds[r * num + k];
}

static PyObject *count(PyObject *self, PyObject *args)
{
    Py_buffer views[3], *scores = views, *thresholds = views + 1, *counts = views + 2;
    (void)self;
    if (acquire(args, views, 3, 1) < 0)
        return NULL;
    const int rows_together = scores->ndim == 2 && scores->strides[1] == 4;
    const int columns_together = scores->ndim == 2 && scores->strides[0] == 4;
    if (!is_array(scores, 2, "f", 4) || !(rows_together || columns_together) || !is_array(thresholds, 2, "f", 4) ||
        !is_array(counts, 2, "il", 4) || !is_contiguous(thresholds) || !is_contiguous(counts) ||
        thresholds->shape[0] != scores->shape[0] || counts->shape[0] != scores->shape[0] ||
        counts->shape[1] != thresholds->shape[1]) {
        PyErr_SetString(PyExc_ValueError, "count: expected scores (B, N) float32 with rows or columns together, and "
                                          "contiguous thresholds (B, T) float32 and counts (B, T) int32");
        return release(views, 3);
    }
    Py_BEGIN_ALLOW_THREADS;
    if (rows_together)
        count_rows(scores->buf, scores->shape[0], scores->shape[1], scores->strides[0], thresholds->buf,
                   thresholds->shape[1], counts->buf);
    else
        count_columns(scores->buf, scores->shape[0], scores->shape[1], scores->strides[1] / 4, thresholds->buf,
                      thresholds->shape[1], counts->buf);
    Py_END_ALLOW_THREADS;
    return release(views, 3);
}

static PyMethodDef functions[] = {
    {"count", count, METH_VARARGS,
     "count(scores, thresholds, counts): adds to counts (B, T) int32 how many of a row's scores (B, N) float32 reach each of "
     "its thresholds (B, T) float32. The first infinite threshold of a row ends it."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_rank", .m_size = 0, .m_methods = functions};

PyMODINIT_FUNC PyInit__rank(void)
{
    return PyModuleDef_Init(&module);
}
