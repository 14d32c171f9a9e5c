// The executable `pyrunc`: CPython, embedded, isolated, with all of pyrunc in it.
//
// setup.py links it in the first way that works here:
//
//   snapshot  to the static libpython, and then started from a picture of itself (picture.c): nothing is initialised, nothing is
//             imported. A `state` takes two to three times the CPU time of an empty dynamic C program so.
//   static    the same without the picture: the interpreter starts in every run, 15 ms.
//   shared    to the shared libpython.
//   exec      (PYRUNC_EXEC) to nothing: executes the fixed interpreter with -I -S and the package's __main__.py.
//
// All of pyrunc's modules are frozen into this file (csrc/freeze.py): no pyc whose time stamp or place somebody could choose, no stat
// of sources, and nothing of ours on disk that an import could pick up. Code objects name the installed sources, so exceptions
// still carry file and line.
//
// Isolation: no PYTHON* variable, no site, no .pth, no cwd or script directory on sys.path; every path is absolute and fixed when
// this was built (launcher_paths.h, written by setup.py). No finalization: boot.py flushes and leaves by _exit.

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
#include <sys/syscall.h>
#include <unistd.h>

#include "launcher_paths.h" // PYRUNC_PYTHON, _PREFIX, _EXEC_PREFIX, _STDLIB, _DYNLOAD, _PLATLIB, …

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#ifdef PYRUNC_PICTURE
#include "picture.h"
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
PyMODINIT_FUNC PyInit__json(void);

static PyStatus start_python(void)
{
    static const char *const path[] = {PYRUNC_STDLIB, PYRUNC_DYNLOAD, PYRUNC_SITE_DIRS};
    PyPreConfig pre;
    PyConfig config;
    PyStatus status;

    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1;
    pre.configure_locale = 0;
#ifdef PYRUNC_PICTURE
    pre.allocator = PYMEM_ALLOCATOR_MALLOC; // which picture.c directs
#endif
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
    for (size_t i = 0; i < sizeof path / sizeof *path; i++) {
        wchar_t *dir = Py_DecodeLocale(path[i], NULL);
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

// A module that is linked in. It is in a package, where CPython 3.11 looks for no builtin one.
static void add_module(PyObject *package, const char *name, PyObject *module)
{
    PyObject *full = PyUnicode_FromFormat("pyrunc.%s", name);
    if (!module || !full || PyObject_SetItem(PyImport_GetModuleDict(), full, module) || PyObject_SetAttrString(package, name, module))
        die(name, "cannot be loaded; pyrunc must be installed again");
}

// The module pyrunc.boot, in an interpreter that has just been started.
static PyObject *start(void)
{
    PyImport_FrozenModules = pyrunc_frozen;
    PyStatus status = start_python();
    if (PyStatus_Exception(status))
        die("cannot start Python", status.err_msg ? status.err_msg : "unknown error");
    PyGC_Disable(); // a short life with few cycles: a collection costs more than it can free
    PyObject *package = PyImport_ImportModule("pyrunc");
    if (!package)
        return NULL;
    add_module(package, "_native", PyInit__native());
    add_module(package, "_json", PyInit__json());
    return PyImport_ImportModule("pyrunc.boot");
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

int main(int argc, char **argv)
{
    PyObject *boot, *args;

    open_missing_stdio();
    mark_inherited_cloexec();
    set_signals();
#ifdef PYRUNC_PICTURE
    if (!(boot = picture_resume(argc, argv))) { // the program as it was linked: its one purpose
        int rehearsal = argc == 3 && !strcmp(argv[1], "--rehearse");
        if (!rehearsal && (argc < 3 || argc > 4 || strcmp(argv[1], "--take-picture")))
            die("no picture", "this program is an intermediate of the build");
        picture_begin(argc == 4 ? argv[3] : NULL);
        if ((boot = start()))
            picture_take(boot, argv[2], rehearsal);
    }
#else
    boot = start();
#endif
    if (boot && (args = arguments(argc, argv)))
        PyObject_CallMethod(boot, "main", "O", args); // leaves the process itself, without finalizing
    if (PyErr_ExceptionMatches(PyExc_MemoryError) || PyErr_ExceptionMatches(PyExc_SystemError))
        die("out of memory", "RLIMIT_AS or a cgroup's limit of the caller's leaves too little"); // printing takes more
    PyErr_Print();
    _exit(1);
}

#endif
