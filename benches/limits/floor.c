/* The floor F under log(): the least that a C extension must do with a dict and a step.
 *
 * It walks the dict, finds each key's number in a cache by pointer, reads the clock once and copies
 * the pairs into a ring of mapped memory. It checks nothing, survives nothing and is read by nobody;
 * what the recorder adds to it is the price of its promises. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define RING_BYTES (8u << 20)
#define CACHE_SLOTS 4096u

struct record { uint32_t length, count; int64_t boottime_ns, step; };
struct pair { uint32_t key, pad; double value; };

static char *ring;
static uint64_t position;
static struct { PyObject *key; uint32_t number; } cache[CACHE_SLOTS];
static PyObject *numbers;

static uint32_t number_by_hash(PyObject *key, size_t slot) {
    PyObject *found = PyDict_GetItemWithError(numbers, key);
    uint32_t number;
    if (found) {
        number = (uint32_t)PyLong_AsUnsignedLong(found);
    } else {
        number = (uint32_t)PyDict_GET_SIZE(numbers);
        found = PyLong_FromUnsignedLong(number);
        PyDict_SetItem(numbers, key, found);
        Py_DECREF(found);
    }
    Py_XDECREF(cache[slot].key);
    cache[slot].key = Py_NewRef(key);
    cache[slot].number = number;
    return number;
}

static inline uint32_t number_of(PyObject *key) {
    size_t slot = (((uintptr_t)key >> 4) * 0x9E3779B97F4A7C15ull) >> 52;
    if (__builtin_expect(cache[slot].key == key, 1)) return cache[slot].number;
    return number_by_hash(key, slot);
}

static PyObject *append(PyObject *dict, int64_t step) {
    uint64_t needed = sizeof(struct record) + (uint64_t)PyDict_GET_SIZE(dict) * sizeof(struct pair);
    uint64_t offset = position & (RING_BYTES - 1);
    if (offset + needed > RING_BYTES) {
        position += RING_BYTES - offset;
        offset = 0;
    }
    struct record *record = (struct record *)(ring + offset);
    struct pair *out = (struct pair *)(record + 1);
    PyObject *key, *value;
    Py_ssize_t at = 0;
    uint32_t count = 0;
    while (PyDict_Next(dict, &at, &key, &value)) {
        double number = PyFloat_CheckExact(value) ? PyFloat_AS_DOUBLE(value) : PyFloat_AsDouble(value);
        if (number == -1.0 && PyErr_Occurred()) return NULL;
        out->key = number_of(key);
        out->pad = 0;
        out->value = number;
        out++, count++;
    }
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    record->count = count;
    record->boottime_ns = now.tv_sec * 1000000000ll + now.tv_nsec;
    record->step = step;
    __atomic_store_n(&record->length, (uint32_t)needed, __ATOMIC_RELEASE);
    position += needed;
    Py_RETURN_NONE;
}

static PyObject *floor_log(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    (void)module;
    if (count + (names ? PyTuple_GET_SIZE(names) : 0) != 2) {
        PyErr_SetString(PyExc_TypeError, "log(metrics, step)");
        return NULL;
    }
    return append(args[0], PyLong_AsLongLong(args[1]));
}

static PyObject *floor_empty(PyObject *module, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    (void)module, (void)args, (void)count, (void)names;
    Py_RETURN_NONE;
}

static PyObject *floor_open(PyObject *module, PyObject *path) {
    (void)module;
    const char *name = PyUnicode_AsUTF8(path);
    if (!name) return NULL;
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    if (fd < 0 || posix_fallocate(fd, 0, RING_BYTES)) return PyErr_SetFromErrno(PyExc_OSError);
    ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
    close(fd);
    if (ring == MAP_FAILED) return PyErr_SetFromErrno(PyExc_OSError);
    if (!numbers && !(numbers = PyDict_New())) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"open", floor_open, METH_O, "Map the ring file."},
    {"log", (PyCFunction)(void *)floor_log, METH_FASTCALL | METH_KEYWORDS, "Append one dict."},
    {"empty", (PyCFunction)(void *)floor_empty, METH_FASTCALL | METH_KEYWORDS, "Do nothing."},
    {0},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods, 0, 0, 0, 0};
PyMODINIT_FUNC PyInit_floor(void) { return PyModule_Create(&definition); }
