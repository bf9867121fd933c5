/* Multiplies chosen rows of two matrices. `reid/similarity/__init__.py` says what for, and comes to the same scores, up to their
 * last digits, without this file.
 */
#include "../_arrays.h"

/* The inner product of two rows, in 32 partial sums, so that the compiler may use vectors without changing the result. */
FOR_EACH_CPU static float inner_product(const float *restrict a, const float *restrict b, Py_ssize_t n)
{
    float partial[32] = {0}, sum = 0;
    Py_ssize_t i = 0;
    for (; i + 32 <= n; i += 32)
        for (int j = 0; j < 32; j++)
            partial[j] += a[i + j] * b[i + j];
    for (; i < n; i++)
        sum += a[i] * b[i];
    for (int j = 0; j < 32; j++)
        sum += partial[j];
    return sum;
}

static PyObject *dot(PyObject *self, PyObject *args)
{
    Py_buffer views[5], *query = views, *gallery = views + 1, *rows = views + 2, *columns = views + 3, *out = views + 4;
    (void)self;
    if (acquire(args, views, 5, 1) < 0)
        return NULL;
    if (!is_array(query, 2, "f", 4) || !is_array(gallery, 2, "f", 4) || query->strides[1] != 4 || gallery->strides[1] != 4 ||
        query->shape[1] != gallery->shape[1] || !is_array(rows, 1, "lq", 8) || !is_array(columns, 1, "lq", 8) ||
        !is_array(out, 1, "f", 4) || !is_contiguous(rows) || !is_contiguous(columns) || !is_contiguous(out) ||
        rows->shape[0] != out->shape[0] || columns->shape[0] != out->shape[0]) {
        PyErr_SetString(PyExc_ValueError, "dot: expected query (Q, D) and gallery (G, D) float32 with rows together, and "
                                          "contiguous rows (P,) and columns (P,) int64 and out (P,) float32");
        return release(views, 5);
    }
    const int64_t *row = rows->buf, *column = columns->buf;
    Py_ssize_t p = 0;
    Py_BEGIN_ALLOW_THREADS;
    for (; p < out->shape[0]; p++) {
        if (row[p] < 0 || row[p] >= query->shape[0] || column[p] < 0 || column[p] >= gallery->shape[0])
            break;
        const char *a = (const char *)query->buf + row[p] * query->strides[0];
        const char *b = (const char *)gallery->buf + column[p] * gallery->strides[0];
        ((float *)out->buf)[p] = inner_product((const float *)a, (const float *)b, query->shape[1]);
    }
    Py_END_ALLOW_THREADS;
    if (p < out->shape[0])
        PyErr_Format(PyExc_IndexError, "dot: pair %zd is outside the matrices", p);
    return release(views, 5);
}

static PyMethodDef functions[] = {
    {"dot", dot, METH_VARARGS,
     "dot(query, gallery, rows, columns, out): out[p] = query[rows[p]] . gallery[columns[p]], all float32, the indices int64."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "_dot", .m_size = 0, .m_methods = functions};

PyMODINIT_FUNC PyInit__dot(void)
{
    return PyModuleDef_Init(&module);
}
