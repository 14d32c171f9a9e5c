// The executable `pyrunc`: CPython, embedded, isolated, and started no further than the verb needs.
//
// Why not `python -I -S`: start-up is the whole budget of state, kill and delete. Measured on the development machine
// (CPython 3.11, medians, an empty static C program takes 0.6 ms there): /usr/bin/python3 -I -S -c pass 11 ms, a plain
// embedding of the static libpython 8.1 ms, this one 4.3 ms. What pays, in order of size:
//
//   * Two-phase initialisation (PyConfig._init_main = 0). The first phase gives builtins, sys, importlib with its
//     builtin and frozen finders, and nothing that touches the file system: no encodings, io, streams, path finder,
//     zipimport, getpath. The hot verbs live entirely in it and talk to file descriptors. `_launcher.start_main()` runs
//     the second phase, for cold verbs at once and for everybody else when an import misses (pyrunc/boot.py).
//   * All of pyrunc's modules are frozen into this file (csrc/freeze.py), the cold ones too: no pyc whose time stamp or
//     place somebody could choose, no stat of sources, and nothing of ours on disk that an import could pick up.
//     Before a hot verb, boot.py executes its modules in dependency order without going through importlib.
//   * libpython, libz, libexpat linked statically and at fixed addresses: no relocations, fewer libraries to map. The
//     cffi module pyrunc._native is linked in too and is a builtin here.
//   * .data populated by one madvise instead of by 250 copy-on-write faults.
//   * No finalization: boot.py flushes and leaves by _exit.
//
// Isolation (security.md 8): no PYTHON* variable, no site, no .pth, no cwd or script directory on sys.path; every path is
// absolute and fixed when this was built (launcher_paths.h, written by setup.py). Exceptions still carry file and line:
// the frozen code objects name the installed sources.
//
// Where there is no static libpython the same file is linked to the shared one; where there is neither, PYRUNC_EXEC
// leaves a small program that executes the fixed interpreter with -I -S and the package's __main__.py.

#define _GNU_SOURCE
#ifndef PYRUNC_EXEC
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher_paths.h" // PYRUNC_PYTHON, _PREFIX, _EXEC_PREFIX, _STDLIB, _DYNLOAD, _PLATLIB, …

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static void die(const char *what, const char *why)
{
    dprintf(2, "pyrunc: %s: %s\n", what, why);
    _exit(1);
}

// A daemon may start us with 0, 1 or 2 closed. The next open would then get that number, and an error message would go
// into a state file.
static void open_missing_stdio(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
            die("/dev/null", strerror(errno));
}

#ifndef PYRUNC_EXEC
// Inherited descriptors are marked, not closed: --preserve-fds and LISTEN_FDS may want some of them, and which is known
// only after the arguments are parsed. Nothing reaches a container unless its mark is taken off by name.
static void mark_inherited_cloexec(void)
{
    if (syscall(SYS_close_range, 3U, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return;
    DIR *dir = opendir("/proc/self/fd"); // Linux < 5.11
    if (!dir)
        die("/proc/self/fd", strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        int fd = atoi(entry->d_name);
        if (fd >= 3 && fd != dirfd(dir))
            fcntl(fd, F_SETFD, FD_CLOEXEC);
    }
    closedir(dir);
}
#endif

// A closed pipe or a full file must come back as an error, so that what was begun is undone; and a parent that ignores
// SIGCHLD must not make our waits fail. Init resets every disposition before the container sees it.
static void set_signals(void)
{
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
}

#ifdef PYRUNC_EXEC

int main(int argc, char **argv)
{
    static const char *const fixed[] = {PYRUNC_PYTHON, "-I", "-S", "-B", "-X", "utf8", PYRUNC_PLATLIB "/pyrunc/__main__.py"};
    enum { N = sizeof fixed / sizeof *fixed };

    open_missing_stdio(); // nothing is marked: an exec lies between us and who knows what --preserve-fds wants
    set_signals();
    const char **args = calloc((size_t)argc + N + 1, sizeof *args);
    if (!args)
        die("start", strerror(ENOMEM));
    memcpy(args, fixed, sizeof fixed);
    for (int i = 1; i < argc; i++)
        args[N + i - 1] = argv[i];
    execv(PYRUNC_PYTHON, (char **)args);
    die(PYRUNC_PYTHON, strerror(errno));
}

#else

extern const struct _frozen pyrunc_frozen[];
PyMODINIT_FUNC PyInit__native(void);
#ifdef PYRUNC_TWO_PHASES
extern PyStatus _Py_InitializeMain(void);
extern int _PySignal_Init(int install_signal_handlers);
#if PY_VERSION_HEX >= 0x030D0000
extern PyStatus _PyCodec_InitRegistry(PyInterpreterState *interp);
#endif

// What belongs to the second phase and crashes in the first when it is missing: the module _signal, and from 3.13 on every
// error of a codec (before, the registry made itself on demand). The registry wants to import `encodings` for codecs by
// name; an empty module stands in for it, since the second phase makes the registry anew with the real one.
static int lend_to_first_phase(void)
{
    if (_PySignal_Init(0) < 0)
        return -1;
#if PY_VERSION_HEX >= 0x030D0000
    PyStatus status;
    if (!PyImport_AddModule("encodings"))
        return -1;
    status = _PyCodec_InitRegistry(PyInterpreterState_Get());
    if (PyStatus_Exception(status) || PyDict_DelItemString(PyImport_GetModuleDict(), "encodings"))
        return -1;
#endif
    return 0;
}
#endif

static PyStatus first_phase(void)
{
    static const char *const site_dirs[] = {PYRUNC_SITE_DIRS};
    PyPreConfig pre;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1;
    pre.configure_locale = 0;
    status = Py_PreInitialize(&pre);
    if (PyStatus_Exception(status))
        return status;

    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0;
    config.install_signal_handlers = 0;
    config.configure_c_stdio = 0;
    config.parse_argv = 0;
    config.pathconfig_warnings = 0;
    config.optimization_level = 0; // by it the .pyc files are named: there are none for 2, and each import would compile
    config.module_search_paths_set = 1;
#ifdef PYRUNC_TWO_PHASES
    config._init_main = 0;
#endif
    struct { wchar_t **field; const char *value; } fields[] = {
        {&config.program_name, "pyrunc"},
        {&config.executable, PYRUNC_PYTHON},
        {&config.base_executable, PYRUNC_PYTHON},
        {&config.prefix, PYRUNC_PREFIX},
        {&config.base_prefix, PYRUNC_PREFIX},
        {&config.exec_prefix, PYRUNC_EXEC_PREFIX},
        {&config.base_exec_prefix, PYRUNC_EXEC_PREFIX},
        {&config.stdlib_dir, PYRUNC_STDLIB},
        {&config.platlibdir, "lib"},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        status = PyConfig_SetBytesString(&config, fields[i].field, fields[i].value);
        if (PyStatus_Exception(status))
            return status;
    }
    const char *const std[] = {PYRUNC_STDLIB, PYRUNC_DYNLOAD};
    for (size_t i = 0; i < 2 + sizeof site_dirs / sizeof *site_dirs; i++) {
        wchar_t *dir = Py_DecodeLocale(i < 2 ? std[i] : site_dirs[i - 2], NULL);
        if (!dir)
            return PyStatus_NoMemory();
        status = PyWideStringList_Append(&config.module_search_paths, dir);
        PyMem_RawFree(dir);
        if (PyStatus_Exception(status))
            return status;
    }
    status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

static PyObject *start_main(PyObject *module, PyObject *unused)
{
    (void)module, (void)unused;
#ifdef PYRUNC_TWO_PHASES
    static int started;
    if (!started) {
        started = 1;
        PyStatus status = _Py_InitializeMain();
        if (PyStatus_Exception(status)) {
            PyErr_Format(PyExc_ImportError, "cannot start Python from %s: %s", PYRUNC_STDLIB, status.err_msg);
            return NULL;
        }
    }
#endif
    Py_RETURN_NONE;
}

// `_launcher`: how boot.py asks for the second phase and where this pyrunc was installed.
static PyMethodDef launcher_methods[] = {
    {"start_main", start_main, METH_NOARGS, "Run the second phase of Python's initialisation, once."},
    {0},
};
static struct PyModuleDef launcher_module = {PyModuleDef_HEAD_INIT, .m_name = "_launcher", .m_size = -1, .m_methods = launcher_methods};

static PyObject *init_launcher(void)
{
    static const char *const site_dirs[] = {PYRUNC_SITE_DIRS};
    Py_ssize_t n = sizeof site_dirs / sizeof *site_dirs;
    PyObject *module = PyModule_Create(&launcher_module);
    PyObject *dirs = PyTuple_New(n);

    if (!module || !dirs)
        return NULL;
    for (Py_ssize_t i = 0; i < n; i++)
        PyTuple_SET_ITEM(dirs, i, PyUnicode_DecodeFSDefault(site_dirs[i]));
    if (PyModule_AddObject(module, "site_dirs", dirs) || PyModule_AddStringConstant(module, "backend", PYRUNC_BACKEND))
        return NULL;
    return module;
}

static PyObject *arguments(int argc, char **argv)
{
    PyObject *list = PyList_New(argc > 0 ? argc - 1 : 0);
    for (int i = 1; list && i < argc; i++) {
        PyObject *arg = PyUnicode_DecodeUTF8(argv[i], (Py_ssize_t)strlen(argv[i]), "surrogateescape");
        if (!arg)
            return NULL;
        PyList_SET_ITEM(list, i - 1, arg);
    }
    return list;
}

// Run a frozen module whose relative imports are those of a module of `pyrunc`, and hang it into the package.
static PyObject *import_boot(void)
{
    PyObject *package, *boot, *path, *dir;

    if (PyImport_ImportFrozenModule("pyrunc") != 1 || !(package = PyImport_AddModule("pyrunc")))
        return NULL;
    dir = PyUnicode_DecodeFSDefault(PYRUNC_PLATLIB "/pyrunc");
    path = dir ? Py_BuildValue("[N]", dir) : NULL;
    if (!path || PyObject_SetAttrString(package, "__path__", path))
        return NULL;
    if (!(boot = PyImport_AddModule("pyrunc.boot")) ||
        PyDict_SetItemString(PyModule_GetDict(boot), "__package__", PyModule_GetNameObject(package)) ||
        PyImport_ImportFrozenModule("pyrunc.boot") != 1 || PyObject_SetAttrString(package, "boot", boot))
        return NULL;
    return boot;
}

static void run_boot(int argc, char **argv)
{
    PyObject *args = arguments(argc, argv);
    PyObject *launcher = init_launcher();
    if (!args || !launcher || PyDict_SetItemString(PyImport_GetModuleDict(), "_launcher", launcher))
        return;
    PyObject *boot = import_boot();
    if (boot)
        PyObject_CallMethod(boot, "main", "O", args);
}

#ifdef PYRUNC_FIXED_ADDRESSES
extern char __data_start, _edata;

// The interpreter writes to most of its 1 MB of .data while starting (reference counts, type slots): one call copies
// those pages instead of one fault each. Saves 0.4 ms; an older kernel says EINVAL and faults as always.
static void populate_data(void)
{
    unsigned long from = (unsigned long)&__data_start & ~4095UL;
    unsigned long to = ((unsigned long)&_edata + 4095) & ~4095UL;
    madvise((void *)from, to - from, MADV_POPULATE_WRITE);
}
#else
static void populate_data(void) {}
#endif

int main(int argc, char **argv)
{
    open_missing_stdio();
    mark_inherited_cloexec();
    set_signals();
    populate_data();

    PyImport_FrozenModules = pyrunc_frozen;
    if (PyImport_AppendInittab("pyrunc._native", PyInit__native))
        die("start", strerror(ENOMEM));
    PyStatus status = first_phase();
    if (PyStatus_Exception(status))
        die("cannot start Python", status.err_msg ? status.err_msg : "unknown error");
    PyGC_Disable(); // a short life with few cycles: a collection costs more than it can free
#ifdef PYRUNC_TWO_PHASES
    if (lend_to_first_phase())
        die("cannot start Python", "first phase");
#endif
    run_boot(argc, argv); // leaves the process itself, without finalizing
    if (PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_SystemError))
        die("out of memory", "RLIMIT_AS or a cgroup's limit of the caller's leaves too little");  // printing takes more
    PyErr_Print();
    _exit(1);
}

#endif
