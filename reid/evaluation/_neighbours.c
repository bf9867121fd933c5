/* The best scores of each row, and how much two weighted neighbourhoods overlap: what re-ranking spends its time on beside
 * products. `reid/evaluation/neighbours.py` and `rerank.py` come to the same results without this file.
 */
#include "../_arrays.h"

#define WIDTH 64 /* scores looked at together */

/* Puts a score into a falling list of `num`, behind those that equal it; what was last falls out. */
static void insert(float score, int64_t column, float *values, int64_t *columns, Py_ssize_t num)
{
    Py_ssize_t k = num - 1;
    for (; k > 0 && values[k - 1] < score; k--) {
        values[k] = values[k - 1];
        columns[k] = columns[k - 1];
    }
    values[k] = score;
    columns[k] = column;
}

FOR_EACH_CPU static int any_above(const float *restrict scores, const float *restrict bars)
{
    int any = 0;
    for (int j = 0; j < WIDTH; j++)
        any |= scores[j] > bars[j];
    return any;
}

/* The scores of a row lie side by side. */
static void best_of_row(const float *scores, Py_ssize_t n, int64_t first, float *values, int64_t *columns, Py_ssize_t num)
{
    float bars[WIDTH];
    Py_ssize_t i = 0;
    for (int j = 0; j < WIDTH; j++)
        bars[j] = values[num - 1];
    while (i < n) {
        const Py_ssize_t end = i + WIDTH < n ? i + WIDTH : n;
        if (end - i < WIDTH || any_above(scores + i, bars)) {
            for (; i < end; i++)
                if (scores[i] > values[num - 1])
                    insert(scores[i], first + i, values, columns, num);
            for (int j = 0; j < WIDTH; j++)
                bars[j] = values[num - 1];
        }
        i = end;
    }
}

/* The scores of a row lie `step` apart, those of neighbouring rows side by side: WIDTH rows at once. */
static void best_side_by_side(const float *scores, Py_ssize_t rows, Py_ssize_t n, Py_ssize_t step, int64_t first,
                              float *values, int64_t *columns, Py_ssize_t num)
{
    float bars[WIDTH];
    for (Py_ssize_t j = 0; j < rows; j++)
        bars[j] = values[j * num + num - 1];
    for (Py_ssize_t i = 0; i < n; i++, scores += step) {
        if (rows == WIDTH && !any_above(scores, bars))
            continue;
        for (Py_ssize_t j = 0; j < rows; j++)
            if (scores[j] > bars[j]) {
                insert(scores[j], first + i, values + j * num, columns + j * num, num);
                bars[j] = values[j * num + num - 1];
            }
    }
}

static PyObject *best(PyObject *self, PyObject *args)
{
    Py_buffer views[4], *scores = views, *first = views + 1, *values = views + 2, *columns = views + 3;
    (void)self;
    if (acquire(args, views, 4, 2) < 0)
        return NULL;
    const int rows_together = scores->ndim == 2 && scores->strides[1] == 4;
    const int columns_together = scores->ndim == 2 && scores->strides[0] == 4;
    if (!is_array(scores, 2, "f", 4) || !(rows_together || columns_together) || !is_array(first, 1, "lq", 8) ||
        first->shape[0] != 1 || !is_array(values, 2, "f", 4) || !is_array(columns, 2, "lq", 8) ||
        !is_contiguous(values) || !is_contiguous(columns) || values->shape[0] != scores->shape[0] ||
        columns->shape[0] != scores->shape[0] || values->shape[1] != columns->shape[1] || values->shape[1] < 1) {
        PyErr_SetString(PyExc_ValueError, "best: expected scores (B, N) float32 with rows or columns together, first (1,) "
                                          "int64, and contiguous values (B, K) float32 and columns (B, K) int64");
        return release(views, 4);
    }
    const Py_ssize_t rows = scores->shape[0], n = scores->shape[1], num = values->shape[1];
    const int64_t start = *(int64_t *)first->buf;
    float *value = values->buf;
    int64_t *column = columns->buf;
    Py_BEGIN_ALLOW_THREADS;
    if (rows_together)
        for (Py_ssize_t r = 0; r < rows; r++)
            best_of_row((const float *)((const char *)scores->buf + r * scores->strides[0]), n, start, value + r * num,
                        column + r * num, num);
    else
        for (Py_ssize_t r = 0; r < rows; r += WIDTH)
            best_side_by_side((const float *)scores->buf + r, rows - r < WIDTH ? rows - r : WIDTH, n,
                              scores->strides[1] / 4, start, value + r * num, column + r * num, num);
    Py_END_ALLOW_THREADS;
    return release(views, 4);
}

/* A sparse matrix: entries starts[r]..starts[r + 1] of row r. */
typedef struct {
    const int64_t *starts;
    const int32_t *places;
    const float *weights;
} Sparse;

/* The overlaps of one query with the whole gallery, gallery pictures falling under each member; sums comes and goes as 0. */
static Py_ssize_t overlap_of_row(Py_ssize_t row, Sparse query, Sparse by_member, double *sums, Py_ssize_t num_gallery,
                                 int32_t *columns, float *values)
{
    for (int64_t e = query.starts[row]; e < query.starts[row + 1]; e++) {
        const double weight = query.weights[e];
        const int64_t member = query.places[e];
        for (int64_t m = by_member.starts[member]; m < by_member.starts[member + 1]; m++) {
            const double other = by_member.weights[m];
            sums[by_member.places[m]] += weight < other ? weight : other;
        }
    }
    Py_ssize_t found = 0;
    for (Py_ssize_t g = 0; g < num_gallery; g++)
        if (sums[g] != 0) {
            columns[found] = (int32_t)g;
            values[found++] = (float)(sums[g] / (2 - sums[g]));
            sums[g] = 0;
        }
    return found;
}

static PyObject *overlaps(PyObject *self, PyObject *args)
{
    Py_buffer views[10];
    (void)self;
    if (acquire(args, views, 10, 4) < 0)
        return NULL;
    const char *formats[10] = {"lq", "il", "f", "lq", "il", "f", "d", "lq", "il", "f"};
    const Py_ssize_t sizes[10] = {8, 4, 4, 8, 4, 4, 8, 8, 4, 4};
    int good = 1;
    for (int i = 0; i < 10; i++)
        good = good && is_array(&views[i], 1, formats[i], sizes[i]) && is_contiguous(&views[i]);
    const Py_ssize_t rows = views[7].shape[0], num_gallery = views[6].shape[0];
    if (!good || views[0].shape[0] != rows + 1 || views[8].shape[0] < rows * num_gallery ||
        views[9].shape[0] < rows * num_gallery) {
        PyErr_SetString(PyExc_ValueError, "overlaps: expected two sparse matrices (starts int64, places int32, weights "
                                          "float32), sums (G,) float64, sizes (B,) int64, columns and values (B * G,)");
        return release(views, 10);
    }
    const Sparse query = {views[0].buf, views[1].buf, views[2].buf}, by_member = {views[3].buf, views[4].buf, views[5].buf};
    int32_t *columns = views[8].buf;
    float *values = views[9].buf;
    Py_BEGIN_ALLOW_THREADS;
    for (Py_ssize_t r = 0; r < rows; r++) {
        const Py_ssize_t found = overlap_of_row(r, query, by_member, views[6].buf, num_gallery, columns, values);
        ((int64_t *)views[7].buf)[r] = found;
        columns += found;
        values += found;
    }
    Py_END_ALLOW_THREADS;
    return release(views, 10);
}

static PyMethodDef functions[] = {
    {"best", best, METH_VARARGS,
     "best(scores, first, values, columns): merges a tile (B, N) float32, whose first column is number first[0], into falling "
     "lists of the best scores (B, K) float32 and their columns (B, K) int64; values start at -inf."},
    {"overlaps", overlaps, METH_VARARGS,
     "overlaps(*query, *gallery by member, sums, sizes, columns, values): for each query the gallery pictures whose "
     "neighbourhood meets its own, in order, and overlap / (2 - overlap)."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "_neighbours", .m_size = 0, .m_methods = functions};

PyMODINIT_FUNC PyInit__neighbours(void)
{
    return PyModuleDef_Init(&module);
}
