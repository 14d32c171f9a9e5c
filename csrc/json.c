// pyrunc._json: JSON as pyrunc/jsonio.py takes and writes it. Linked into the program, so that nothing is opened to read a config.
//
// The reader works on bytes and takes what RFC 8259 calls a text, and less: no object has a key twice or more members than the
// caller allows, nothing nests deeper than the caller allows, every string is UTF-8 without half surrogates. A member whose value is
// null is left out, Go's way to say absent. Any fault is a ValueError without words: jsonfault.py finds the place.

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <string.h>

struct reader {
    const char *at, *end;
    Py_ssize_t depth, members; // what is still allowed of the one, what is allowed of the other
    int bytes;                 // whether \udc80 to \udcff may stand alone, for a byte that is not UTF-8 (PEP 383)
    int lone;                  // whether one did, in this string
};

static PyObject *refuse(void)
{
    if (!PyErr_Occurred())
        PyErr_SetNone(PyExc_ValueError);
    return NULL;
}

static void skip(struct reader *in)
{
    while (in->at < in->end && (*in->at == ' ' || *in->at == '\t' || *in->at == '\n' || *in->at == '\r'))
        in->at++;
}

// Whether `c` comes next; then it is taken.
static int next_is(struct reader *in, char c)
{
    if (in->at == in->end || *in->at != c)
        return 0;
    in->at++;
    return 1;
}

static PyObject *word(struct reader *in, const char *word, PyObject *value)
{
    size_t n = strlen(word);
    if ((size_t)(in->end - in->at) < n || memcmp(in->at, word, n))
        return refuse();
    in->at += n;
    Py_INCREF(value);
    return value;
}

static const char *digits(struct reader *in)
{
    const char *from = in->at;
    while (in->at < in->end && *in->at >= '0' && *in->at <= '9')
        in->at++;
    return in->at == from ? NULL : from;
}

// Bytes objects end with a NUL, so the conversion of a float stops in time.
static PyObject *number(struct reader *in)
{
    const char *from = in->at, *whole;
    char *end;
    int is_float = 0;

    next_is(in, '-');
    if (!(whole = digits(in)) || (*whole == '0' && in->at > whole + 1))
        return refuse();
    if (next_is(in, '.')) {
        is_float = 1;
        if (!digits(in))
            return refuse();
    }
    if (next_is(in, 'e') || next_is(in, 'E')) {
        is_float = 1;
        if (!next_is(in, '+'))
            next_is(in, '-');
        if (!digits(in))
            return refuse();
    }
    if (is_float) {
        double value = PyOS_string_to_double(from, &end, NULL);
        return end == in->at && !PyErr_Occurred() ? PyFloat_FromDouble(value) : refuse();
    }
    if (in->at - whole <= 18) {
        long long value = 0;
        for (const char *c = whole; c < in->at; c++)
            value = value * 10 + (*c - '0');
        return PyLong_FromLongLong(whole > from ? -value : value);
    }
    PyObject *text = PyUnicode_DecodeASCII(from, in->at - from, NULL), *value = text ? PyLong_FromUnicodeObject(text, 10) : NULL;
    Py_XDECREF(text);
    return value ? value : refuse();
}

// The four digits after \u, or -1.
static int hex4(struct reader *in)
{
    int value = 0;
    if (in->end - in->at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = *in->at++;
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0)
            return -1;
        value = value << 4 | digit;
    }
    return value;
}

static char *put_utf8(char *out, unsigned c)
{
    if (c < 0x80) {
        *out++ = (char)c;
        return out;
    }
    if (c < 0x800)
        *out++ = (char)(0xc0 | c >> 6);
    else {
        if (c < 0x10000)
            *out++ = (char)(0xe0 | c >> 12);
        else {
            *out++ = (char)(0xf0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 63));
        }
        *out++ = (char)(0x80 | (c >> 6 & 63));
    }
    *out++ = (char)(0x80 | (c & 63));
    return out;
}

// What a backslash stands for, as UTF-8 at `out`; NULL if it stands for nothing. Never longer than it is written.
static char *escape(struct reader *in, char *out)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (in->at == in->end)
        return NULL;
    if (next_is(in, 'u')) {
        int c = hex4(in);
        if (c >= 0xd800 && c < 0xdc00) { // the first half of a pair
            if (!next_is(in, '\\') || !next_is(in, 'u'))
                return NULL;
            int low = hex4(in);
            if (low < 0xdc00 || low > 0xdfff)
                return NULL;
            c = 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00));
        } else if (in->bytes && c >= 0xdc80 && c <= 0xdcff)
            in->lone = 1;
        else if (c < 0 || (c >= 0xdc00 && c < 0xe000))
            return NULL;
        return put_utf8(out, (unsigned)c);
    }
    const char *found = *in->at ? strchr(names, *in->at++) : NULL;
    if (!found)
        return NULL;
    *out++ = meant[found - names];
    return out;
}

static PyObject *string(struct reader *in)
{
    const char *from = ++in->at; // after the quote
    while (in->at < in->end && *in->at != '"' && *in->at != '\\' && (unsigned char)*in->at >= ' ')
        in->at++;
    if (next_is(in, '"')) // the common case: as it stands
        return PyUnicode_DecodeUTF8(from, in->at - 1 - from, NULL);
    const char *close = in->at; // find the end first, for the size
    while (close < in->end && *close != '"')
        close += *close == '\\' ? 2 : 1;
    if (close >= in->end)
        return refuse();
    char *text = PyMem_Malloc((size_t)(close - from) + 1), *out = text;
    if (!text)
        return PyErr_NoMemory();
    memcpy(text, from, (size_t)(in->at - from));
    out += in->at - from;
    in->lone = 0;
    while (out && in->at < close) {
        unsigned char c = (unsigned char)*in->at++;
        if (c == '\\')
            out = escape(in, out);
        else if (c < ' ')
            out = NULL;
        else
            *out++ = (char)c;
    }
    PyObject *value = out && in->at == close ? PyUnicode_DecodeUTF8(text, out - text, in->lone ? "surrogatepass" : NULL) : refuse();
    PyMem_Free(text);
    in->at = close + 1;
    return value;
}

static PyObject *value(struct reader *in);

static PyObject *array(struct reader *in)
{
    PyObject *list = PyList_New(0);
    in->at++;
    skip(in);
    if (!list || next_is(in, ']'))
        return list;
    for (;;) {
        PyObject *item = value(in);
        int bad = !item || PyList_Append(list, item);
        Py_XDECREF(item);
        skip(in);
        if (!bad && next_is(in, ']'))
            return list;
        if (bad || !next_is(in, ','))
            break;
    }
    Py_DECREF(list);
    return refuse();
}

// One `"key": value`; -1 if there is none. *absent is set by a null.
static int member(struct reader *in, PyObject *dict, int *absent)
{
    PyObject *key, *item = NULL;
    Py_ssize_t before = PyDict_GET_SIZE(dict);
    int ret = -1;

    skip(in);
    if (before == in->members || in->at == in->end || *in->at != '"' || !(key = string(in)))
        return -1;
    skip(in);
    if (next_is(in, ':') && (item = value(in)) && PyDict_SetItem(dict, key, item) == 0 && PyDict_GET_SIZE(dict) > before)
        ret = 0;
    if (item == Py_None)
        *absent = 1;
    Py_DECREF(key);
    Py_XDECREF(item);
    return ret;
}

static PyObject *without_nulls(PyObject *dict)
{
    PyObject *kept = PyDict_New(), *key, *item;
    for (Py_ssize_t at = 0; kept && PyDict_Next(dict, &at, &key, &item);)
        if (item != Py_None && PyDict_SetItem(kept, key, item))
            Py_CLEAR(kept);
    Py_DECREF(dict);
    return kept;
}

static PyObject *object(struct reader *in)
{
    PyObject *dict = PyDict_New();
    int absent = 0;

    in->at++;
    skip(in);
    if (!dict || next_is(in, '}'))
        return dict;
    while (member(in, dict, &absent) == 0) {
        skip(in);
        if (next_is(in, '}'))
            return absent ? without_nulls(dict) : dict;
        if (!next_is(in, ','))
            break;
    }
    Py_DECREF(dict);
    return refuse();
}

static PyObject *value(struct reader *in)
{
    skip(in);
    if (in->at == in->end)
        return refuse();
    switch (*in->at) {
    case '{':
    case '[': {
        if (in->depth-- == 0)
            return refuse();
        PyObject *found = *in->at == '{' ? object(in) : array(in);
        in->depth++;
        return found;
    }
    case '"':
        return string(in);
    case 't':
        return word(in, "true", Py_True);
    case 'f':
        return word(in, "false", Py_False);
    case 'n':
        return word(in, "null", Py_None);
    default:
        return number(in);
    }
}

static PyObject *loads(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *data;
    struct reader in = {.at = NULL};

    if (!PyArg_ParseTuple(args, "Snnp:loads", &data, &in.depth, &in.members, &in.bytes))
        return NULL;
    in.at = PyBytes_AS_STRING(data);
    in.end = in.at + PyBytes_GET_SIZE(data);
    PyObject *found = value(&in);
    skip(&in);
    if (found && in.at < in.end) {
        Py_DECREF(found);
        return refuse();
    }
    return found;
}

// --- writing: pure ASCII, byte for byte what the json package writes

struct writer {
    char *text;
    size_t used, room;
    const char *indent; // of one level, or NULL: compact
    size_t indent_len;
    int sort_keys;
};

static int put(struct writer *out, const char *text, size_t n)
{
    if (n > out->room - out->used) {
        size_t room = 2 * out->room + n;
        char *text2 = PyMem_Realloc(out->text, room);
        if (!text2) {
            PyErr_NoMemory();
            return -1;
        }
        out->text = text2;
        out->room = room;
    }
    memcpy(out->text + out->used, text, n);
    out->used += n;
    return 0;
}

static int new_line(struct writer *out, int level)
{
    if (!out->indent)
        return 0;
    int bad = put(out, "\n", 1);
    while (level-- > 0)
        bad |= put(out, out->indent, out->indent_len);
    return bad;
}

static int is_plain(unsigned char c)
{
    return c >= ' ' && c <= '~' && c != '"' && c != '\\';
}

static int put_string(struct writer *out, PyObject *text)
{
    Py_ssize_t n = PyUnicode_GET_LENGTH(text);
    int kind = PyUnicode_KIND(text), bad = put(out, "\"", 1);
    const void *data = PyUnicode_DATA(text);

    for (Py_ssize_t i = 0; i < n && !bad; i++) {
        if (kind == PyUnicode_1BYTE_KIND) { // most texts are plain from end to end
            const char *from = (const char *)data + i, *to = from, *end = (const char *)data + n;
            while (to < end && is_plain((unsigned char)*to))
                to++;
            bad = put(out, from, (size_t)(to - from));
            i += to - from;
            if (bad || i == n)
                break;
        }
        static const char names[] = "\"\\\b\f\n\r\t", written[] = "\"\\bfnrt";
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        const char *found = c && c < 128 ? strchr(names, (int)c) : NULL;
        char as[16] = {(char)c};
        int len = 1;
        if (found)
            len = snprintf(as, sizeof as, "\\%c", written[found - names]);
        else if (c > 0xffff)
            len = snprintf(as, sizeof as, "\\u%04x\\u%04x", 0xd800 + ((c - 0x10000) >> 10), 0xdc00 + ((c - 0x10000) & 0x3ff));
        else if (c < ' ' || c > '~')
            len = snprintf(as, sizeof as, "\\u%04x", c);
        bad = put(out, as, (size_t)len);
    }
    return bad || put(out, "\"", 1);
}

// None, a truth value or a number; anything else is refused.
static int put_scalar(struct writer *out, PyObject *item)
{
    if (item == Py_None)
        return put(out, "null", 4);
    if (item == Py_True)
        return put(out, "true", 4);
    if (item == Py_False)
        return put(out, "false", 5);
    if (PyLong_Check(item)) {
        PyObject *text = PyLong_Type.tp_repr(item);
        Py_ssize_t n;
        const char *as = text ? PyUnicode_AsUTF8AndSize(text, &n) : NULL;
        int bad = !as || put(out, as, (size_t)n);
        Py_XDECREF(text);
        return bad;
    }
    if (!PyFloat_Check(item)) {
        PyErr_Format(PyExc_TypeError, "%s has no place in JSON", Py_TYPE(item)->tp_name);
        return -1;
    }
    double number = PyFloat_AS_DOUBLE(item);
    if (!(number - number == 0)) { // infinite, or no number
        PyErr_SetString(PyExc_ValueError, "a number that JSON does not have");
        return -1;
    }
    char *as = PyOS_double_to_string(number, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    int bad = !as || put(out, as, strlen(as));
    PyMem_Free(as);
    return bad;
}

static int put_value(struct writer *out, PyObject *item, int level);

static int put_members(struct writer *out, PyObject *dict, int level)
{
    PyObject *keys = PyDict_Keys(dict);
    int bad = !keys || put(out, "{", 1) || (out->sort_keys && PyList_Sort(keys));

    for (Py_ssize_t i = 0; !bad && i < PyList_GET_SIZE(keys); i++) {
        PyObject *key = PyList_GET_ITEM(keys, i), *item = PyDict_GetItemWithError(dict, key);
        bad = !item || (i && put(out, ",", 1)) || new_line(out, level + 1);
        if (!bad && PyUnicode_Check(key))
            bad = put_string(out, key);
        else if (!bad) // a number as a key is written in quotes
            bad = put(out, "\"", 1) || put_scalar(out, key) || put(out, "\"", 1);
        bad = bad || put(out, ": ", out->indent ? 2 : 1) || put_value(out, item, level + 1);
    }
    Py_XDECREF(keys);
    return bad || new_line(out, level) || put(out, "}", 1);
}

static int put_items(struct writer *out, PyObject *sequence, int level)
{
    int bad = put(out, "[", 1);
    for (Py_ssize_t i = 0; !bad && i < PySequence_Fast_GET_SIZE(sequence); i++)
        bad = (i && put(out, ",", 1)) || new_line(out, level + 1) ||
              put_value(out, PySequence_Fast_GET_ITEM(sequence, i), level + 1);
    return bad || new_line(out, level) || put(out, "]", 1);
}

static int put_value(struct writer *out, PyObject *item, int level)
{
    if (PyUnicode_Check(item))
        return put_string(out, item);
    int is_dict = PyDict_Check(item);
    if (!is_dict && !PyList_Check(item) && !PyTuple_Check(item))
        return put_scalar(out, item);
    if (PyObject_Size(item) == 0)
        return put(out, is_dict ? "{}" : "[]", 2);
    if (Py_EnterRecursiveCall(" while writing JSON"))
        return -1;
    int bad = is_dict ? put_members(out, item, level) : put_items(out, item, level);
    Py_LeaveRecursiveCall();
    return bad;
}

static PyObject *dumps(PyObject *module, PyObject *args)
{
    (void)module;
    PyObject *item, *text = NULL;
    Py_ssize_t indent_len = 0;
    struct writer out = {.text = NULL};

    if (!PyArg_ParseTuple(args, "Oz#p:dumps", &item, &out.indent, &indent_len, &out.sort_keys))
        return NULL;
    out.indent_len = (size_t)indent_len;
    if (!put_value(&out, item, 0))
        text = PyUnicode_DecodeASCII(out.text, (Py_ssize_t)out.used, NULL);
    PyMem_Free(out.text);
    return text;
}

static PyMethodDef methods[] = {
    {"loads", loads, METH_VARARGS, "loads(data: bytes, max_depth, max_members, lone_bytes): the value; ValueError if it is none."},
    {"dumps", dumps, METH_VARARGS, "dumps(value, indent: str or None, sort_keys): the text, ASCII."},
    {0},
};
static struct PyModuleDef json_module = {PyModuleDef_HEAD_INIT, .m_name = "pyrunc._json", .m_size = -1, .m_methods = methods};

PyMODINIT_FUNC PyInit__json(void);
PyMODINIT_FUNC PyInit__json(void)
{
    return PyModule_Create(&json_module);
}
