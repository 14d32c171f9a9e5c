// pyrunc._native for the linked program: the same `ffi` and `lib` as cffi's module of that name, as far as pyrunc/kernel*.py use
// them, without _cffi_backend and libffi, which are shared objects and cannot be linked in.
//
// csrc/build_ffi.py writes seam_types.h from cffi's reading of native_*.h: a table of the types, a wrapper for each function.
// cffi's own module stays what the checkout and the other launchers import, and the oracle of tests/unit/test_seam.py.
//
// Data is a value in C: an array, a struct, or a pointer, which is where it points. What new() made is zeroed and owned; a part of
// it holds on to the whole. Nothing is indexed or copied beyond what is known to be there.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum kind { SIGNED, UNSIGNED, DOUBLE, CHAR, POINTER, ARRAY, STRUCT, OPAQUE };
struct type {
	const char *name;
	enum kind kind;
	size_t size;
	const struct type *item; // of a pointer or an array
	Py_ssize_t length; // of an array, -1: as long as what it is made of
	const struct field *fields; // of a struct, the last one has no name
};
struct field {
	const char *name;
	const struct type *type;
	size_t offset;
};

typedef struct {
	PyObject_HEAD
	const struct type *type;
	char *at;
	Py_ssize_t length; // how many items are known to be there
	PyObject *whole; // of which this is a part, or NULL
	int owned;
} Data;

static PyTypeObject DataType;
static const struct type opaque = { "void", OPAQUE, 0, NULL, 0, NULL },
			 null_type = { "void *", POINTER, sizeof(void *), &opaque, 0, NULL };

static PyObject *data(const struct type *type, char *at, Py_ssize_t length, PyObject *whole)
{
	Data *new = PyObject_New(Data, &DataType);
	if (!new)
		return NULL;
	new->type = type;
	new->at = at;
	new->length = length;
	new->owned = 0;
	Py_XINCREF(whole);
	new->whole = whole;
	return (PyObject *)new;
}

static void data_dealloc(PyObject *self)
{
	Data *old = (Data *)self;
	if (old->owned)
		PyMem_Free(old->at);
	Py_XDECREF(old->whole);
	PyObject_Free(self);
}

static PyObject *load(const struct type *type, char *at, PyObject *whole)
{
	int64_t wide = 0;
	void *pointer;

	switch (type->kind) {
	case SIGNED:
		wide = type->size == 4 ? *(int32_t *)at :
		       type->size == 8 ? *(int64_t *)at :
		       type->size == 2 ? *(int16_t *)at :
					 *(int8_t *)at;
		return PyLong_FromLongLong(wide);
	case UNSIGNED:
		memcpy(&wide, at, type->size); // little-endian, as all of pyrunc's hosts are
		return PyLong_FromUnsignedLongLong((uint64_t)wide);
	case DOUBLE:
		return PyFloat_FromDouble(*(double *)at);
	case CHAR:
		return PyBytes_FromStringAndSize(at, 1);
	case POINTER:
		memcpy(&pointer, at, sizeof pointer);
		return data(type, pointer, 0, NULL);
	default:
		return data(type, at, type->kind == ARRAY ? type->length : 1, whole);
	}
}

static int wrong(const struct type *type, PyObject *value)
{
	if (!PyErr_Occurred())
		PyErr_Format(PyExc_TypeError, "%s is no %s", Py_TYPE(value)->tp_name, type->name);
	return -1;
}

static int store_integer(const struct type *type, char *at, PyObject *value)
{
	unsigned bits = (unsigned)type->size * 8;
	int64_t wide;
	int fits = 1;

	if (!PyLong_Check(value))
		return wrong(type, value);
	if (type->kind == UNSIGNED) {
		wide = (int64_t)PyLong_AsUnsignedLongLong(value);
		fits = bits == 64 || !((uint64_t)wide >> bits);
	} else {
		wide = PyLong_AsLongLong(value);
		fits = bits == 64 || (wide >= -(INT64_C(1) << (bits - 1)) && wide < INT64_C(1) << (bits - 1));
	}
	if (PyErr_Occurred() || !fits) {
		PyErr_Format(PyExc_OverflowError, "%R does not fit into %s", value, type->name);
		return -1;
	}
	memcpy(at, &wide, type->size);
	return 0;
}

static int store(const struct type *type, char *at, PyObject *value)
{
	switch (type->kind) {
	case SIGNED:
	case UNSIGNED:
		return store_integer(type, at, value);
	case DOUBLE:
		*(double *)at = PyFloat_AsDouble(value);
		return PyErr_Occurred() ? -1 : 0;
	case CHAR:
		if (!PyBytes_Check(value) || PyBytes_GET_SIZE(value) != 1)
			return wrong(type, value);
		*at = *PyBytes_AS_STRING(value);
		return 0;
	case POINTER: {
		Data *other = (Data *)value;
		if (!Py_IS_TYPE(value, &DataType) || (other->type != &null_type && other->type->item != type->item))
			return wrong(type, value);
		memcpy(at, &other->at, sizeof other->at);
		return 0;
	}
	case STRUCT: {
		if (!PyTuple_Check(value))
			return wrong(type, value);
		const struct field *field = type->fields;
		for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(value); i++, field++)
			if (!field->name || store(field->type, at + field->offset, PyTuple_GET_ITEM(value, i)))
				return wrong(type, value);
		return 0;
	}
	default:
		return wrong(type, value);
	}
}

// An argument of a call: as in a store, but a pointer to bytes may be bytes, which live as long as the call.
static int argument(const struct type *type, char *at, PyObject *value)
{
	if (type->kind == POINTER && type->item->size == 1 && PyBytes_Check(value)) {
		char *bytes = PyBytes_AS_STRING(value);
		memcpy(at, &bytes, sizeof bytes);
		return 0;
	}
	return store(type, at, value);
}

static int count(const char *function, Py_ssize_t given, Py_ssize_t wanted)
{
	if (given != wanted)
		PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments, not %zd", function, wanted, given);
	return given == wanted;
}

#include "seam_types.h" // types[]: what new() is asked for, by name; lib_methods[]

// --- Data

static char *item_at(Data *self, Py_ssize_t i)
{
	if (self->type->item && i >= 0 && i < self->length)
		return self->at + (size_t)i * self->type->item->size;
	PyErr_SetString(PyExc_IndexError, self->type->name);
	return NULL;
}

static PyObject *data_item(PyObject *self, Py_ssize_t i)
{
	char *at = item_at((Data *)self, i);
	return at ? load(((Data *)self)->type->item, at, self) : NULL;
}

static Py_ssize_t data_length(PyObject *self)
{
	return ((Data *)self)->length;
}

static PyObject *data_field(PyObject *self, PyObject *name)
{
	Data *me = (Data *)self;
	const struct type *type = me->type->kind == POINTER ? me->type->item : me->type;

	if (type->kind == STRUCT && me->length == 1)
		for (const struct field *field = type->fields; field->name; field++)
			if (PyUnicode_CompareWithASCIIString(name, field->name) == 0)
				return load(field->type, me->at + field->offset, self);
	PyErr_Format(PyExc_AttributeError, "%s has no %U", me->type->name, name);
	return NULL;
}

static PyObject *data_compare(PyObject *self, PyObject *other, int op)
{
	if (!Py_IS_TYPE(other, &DataType) || (op != Py_EQ && op != Py_NE))
		Py_RETURN_NOTIMPLEMENTED;
	return PyBool_FromLong((((Data *)self)->at == ((Data *)other)->at) == (op == Py_EQ));
}

static PySequenceMethods data_sequence = { .sq_item = data_item, .sq_length = data_length };
static PyTypeObject DataType = {
	PyVarObject_HEAD_INIT(NULL, 0)
	.tp_name = "pyrunc._native.Data",
	.tp_basicsize = sizeof(Data),
	.tp_dealloc = data_dealloc,
	.tp_getattro = data_field,
	.tp_as_sequence = &data_sequence,
	.tp_flags = Py_TPFLAGS_DEFAULT,
	.tp_richcompare = data_compare,
	.tp_hash = PyObject_HashNotImplemented,
};

// --- ffi

// Fill fresh memory: items for an array (or their number), bytes and their NUL for one of characters, else the one value.
static int fill(Data *new, PyObject *init)
{
	const struct type *item = new->type->item;

	if (new->type->kind == POINTER)
		return store(item, new->at, init);
	if (PyLong_Check(init))
		return 0;
	if (PyBytes_Check(init) && item->size == 1) {
		memcpy(new->at, PyBytes_AS_STRING(init), (size_t)PyBytes_GET_SIZE(init));
		return 0;
	}
	PyObject *items = PySequence_Fast(init, "an array is made of items");
	int bad = !items;
	for (Py_ssize_t i = 0; !bad && i < PySequence_Fast_GET_SIZE(items); i++)
		bad = store(item, new->at + (size_t)i * item->size, PySequence_Fast_GET_ITEM(items, i));
	Py_XDECREF(items);
	return bad;
}

static Py_ssize_t length_of(const struct type *type, PyObject *init)
{
	if (type->kind == POINTER)
		return 1;
	if (type->length >= 0)
		return init ? -1 : type->length; // nobody asks for one with contents
	if (!init)
		return -1;
	if (PyLong_Check(init))
		return PyLong_AsSsize_t(init);
	Py_ssize_t n = PyObject_Size(init);
	return n >= 0 && PyBytes_Check(init) ? n + 1 : n;
}

static PyObject *ffi_new(PyObject *module, PyObject *args)
{
	(void)module;
	const char *name;
	PyObject *init = NULL;

	if (!PyArg_ParseTuple(args, "s|O:new", &name, &init))
		return NULL;
	for (size_t i = 0; types[i].name; i++) {
		if (strcmp(types[i].name, name))
			continue;
		const struct type *type = types[i].type;
		Py_ssize_t n = length_of(type, init);
		if (n < 0 || n > (1 << 24)) { // nothing here is larger
			if (!PyErr_Occurred())
				PyErr_SetString(PyExc_ValueError, name);
			return NULL;
		}
		Data *new = (Data *)data(type, PyMem_Calloc((size_t)n + 1, type->item->size), n, NULL);
		if (!new)
			return NULL;
		new->owned = 1;
		if (new->at && (!init || !fill(new, init)))
			return (PyObject *)new;
		if (!new->at)
			PyErr_NoMemory();
		Py_DECREF(new);
		return NULL;
	}
	PyErr_Format(PyExc_TypeError, "csrc/build_ffi.py has not seen the type %s", name);
	return NULL;
}

// The first bytes of an array or of what a pointer is known to point to: a copy, which is what everybody makes of cffi's view.
static PyObject *ffi_buffer(PyObject *module, PyObject *args)
{
	(void)module;
	Data *of;
	Py_ssize_t size = -1;

	if (!PyArg_ParseTuple(args, "O!|n:buffer", &DataType, &of, &size))
		return NULL;
	Py_ssize_t room = of->type->item ? of->length * (Py_ssize_t)of->type->item->size : 0;
	if (size < 0)
		size = room;
	if (size <= room)
		return PyBytes_FromStringAndSize(of->at, size);
	PyErr_SetString(PyExc_ValueError, "beyond the end");
	return NULL;
}

// Up to the NUL, or the end of an array. A pointer that came from C is taken at its word.
static PyObject *ffi_string(PyObject *module, PyObject *arg)
{
	(void)module;
	Data *of = (Data *)arg;
	if (!Py_IS_TYPE(arg, &DataType) || !of->type->item || of->type->item->kind != CHAR || !of->at)
		return PyErr_Format(PyExc_TypeError, "no text");
	return PyBytes_FromStringAndSize(of->at, (Py_ssize_t)(of->length ? strnlen(of->at, (size_t)of->length) : strlen(of->at)));
}

static PyMethodDef ffi_methods[] = {
	{ "new", ffi_new, METH_VARARGS, "new(type, init=None)" },
	{ "buffer", ffi_buffer, METH_VARARGS, "buffer(data, size)" },
	{ "string", ffi_string, METH_O, "string(data)" },
	{ 0 },
};
static struct PyModuleDef ffi_module = { PyModuleDef_HEAD_INIT, .m_name = "pyrunc._native.ffi", .m_size = -1,
					 .m_methods = ffi_methods };
static struct PyModuleDef lib_module = { PyModuleDef_HEAD_INIT, .m_name = "pyrunc._native.lib", .m_size = -1,
					 .m_methods = lib_methods };
static struct PyModuleDef native_module = { PyModuleDef_HEAD_INIT, .m_name = "pyrunc._native", .m_size = -1 };

PyMODINIT_FUNC PyInit__native(void);
PyMODINIT_FUNC PyInit__native(void)
{
	PyObject *module, *ffi, *lib;

	if (PyType_Ready(&DataType) || !(module = PyModule_Create(&native_module)) || !(ffi = PyModule_Create(&ffi_module)) ||
	    !(lib = PyModule_Create(&lib_module)) || PyModule_AddObject(ffi, "NULL", data(&null_type, NULL, 0, NULL)) ||
	    PyModule_AddObject(module, "ffi", ffi) || PyModule_AddObject(module, "lib", lib))
		return NULL;
	return module;
}
