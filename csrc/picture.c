// The program starts from a picture of itself.
//
// What an interpreter does until it can run a verb is the same in every run: make itself, import everything, grow warm. So setup.py
// lets the linked program do that once (--take-picture) and write down its memory; csrc/picture.py makes a copy of the executable
// in which that is the content of the writable segment. The kernel maps it privately at execve(2), as it maps any initialised
// data; ld.so and the C library are as fresh as in any process. Then picture_resume() renews what belongs to a process.
//
// For that everything the interpreter allocates until then lies in `arena`, at the end of .bss, by --wrap=malloc and so on: which
// covers what is linked into this file, and nothing else. The C library and libraries opened at run time keep the C library's
// malloc before and after. free() and realloc() here know by the address whose a block is; no other library is ever handed
// a block of ours to free. After the start new blocks are the C library's, and one that lies in the picture is never
// used again: its memory would have to be copied only to be reused.

#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#define Py_BUILD_CORE 1
#include <Python.h>
#include <internal/pycore_runtime.h>
#include <internal/pycore_pystate.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "picture.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

enum { ARENA = 48 << 20, LARGE = 1 << 20, HOT = 128 };

extern char __data_start;
extern char **environ;

static char arena[ARENA] __attribute__((aligned(4096)));
static size_t used = 16;
static void **free_blocks; // by size in units of 16 bytes: only while a picture is taken
static struct place { uint32_t at, units; } *places; // by number of the allocation, where it is to lie, or nothing: the layout
static uint32_t count, n_places;
static struct {
    PyThreadState *thread;
    PyObject *boot, *environ;
    struct { uint64_t from, size; } hot[2][HOT]; // what every verb writes to, and what those do that make a process
} picture;

// The eight bytes before a block of ours: how much room it has, and the how-manieth allocation it was.
struct head { uint32_t number, room; };

static void *first_break; // where the heap begins

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void __real_free(void *);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);
void __wrap_free(void *);

static int is_ours(const void *p)
{
    return (uintptr_t)p - (uintptr_t)arena < used;
}

static struct head *head(void *p)
{
    return (struct head *)p - 1;
}

static void *find_room(size_t units)
{
    if (count < n_places && places[count].units == units) // else this run goes another way than the rehearsal's: no harm
        return arena + places[count].at;
    if (units < LARGE / 16 && free_blocks[units]) {
        void *p = free_blocks[units];
        free_blocks[units] = *(void **)p;
        *(void **)p = NULL;
        return p;
    }
    if (units > (ARENA - used) / 16) {
        dprintf(2, "pyrunc: the arena of the picture is full\n");
        _exit(1);
    }
    void *p = arena + used;
    used += units * 16;
    return p;
}

// A block is its head and what is behind it, in units of 16 bytes; it begins 8 bytes before such a unit, so that what is handed
// out is aligned.
void *__wrap_malloc(size_t n)
{
    if (!free_blocks)
        return __real_malloc(n);
    size_t units = (n + 8 + 15) / 16;
    units += !units;
    void *p = find_room(units);
    *head(p) = (struct head){count++, (uint32_t)(units * 16 - 8)};
    return p;
}

void *__wrap_calloc(size_t n, size_t size)
{
    size_t total;
    if (!free_blocks)
        return __real_calloc(n, size);
    if (__builtin_mul_overflow(n, size, &total))
        return NULL;
    return memset(__wrap_malloc(total), 0, total);
}

// What is free is zeroed: nothing stale in the picture.
void __wrap_free(void *p)
{
    if (!is_ours(p)) {
        __real_free(p);
    } else if (free_blocks) {
        size_t units = (head(p)->room + 8) / 16;
        memset(p, 0, head(p)->room);
        if (units < LARGE / 16) {
            *(void **)p = free_blocks[units];
            free_blocks[units] = p;
        }
    }
}

void *__wrap_realloc(void *p, size_t n)
{
    if (!p)
        return __wrap_malloc(n);
    if (!is_ours(p))
        return __real_realloc(p, n);
    size_t had = head(p)->room;
    if (n <= had && (n >= had / 2 || !free_blocks))
        return p;
    void *q = __wrap_malloc(n);
    if (!q)
        return NULL;
    memcpy(q, p, had < n ? had : n);
    __wrap_free(p);
    return q;
}

static void *arena_alloc(void *context, size_t n)
{
    (void)context;
    return __wrap_malloc(n);
}

static void arena_free(void *context, void *p, size_t n)
{
    (void)context, (void)n;
    __wrap_free(p);
}

// The layout, which csrc/picture.py found out: how much room it takes at the front of the arena, then the places. What reads it trusts it.
static void read_layout(const char *path)
{
    uint64_t front;
    struct stat found;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &found) || read(fd, &front, sizeof front) != sizeof front || front > ARENA)
        _exit(1);
    size_t size = (size_t)found.st_size - sizeof front;
    places = __real_malloc(size);
    if (!places || read(fd, places, size) != (ssize_t)size)
        _exit(1);
    close(fd);
    n_places = (uint32_t)(size / sizeof *places);
    used += front;
}

// Python's small objects come from malloc too (PYMEM_ALLOCATOR_MALLOC, launcher.c); this is for what it would mmap, its stack.
void picture_begin(const char *layout)
{
    if (layout)
        read_layout(layout);
    PyObjectArenaAllocator arenas = {.alloc = arena_alloc, .free = arena_free};
    PyObject_SetArenaAllocator(&arenas);
    free_blocks = __real_calloc(LARGE / 16, sizeof *free_blocks);
    if (!free_blocks)
        _exit(1);
}

// Whether what is forked has the program's data, which the picture is part of, and the heap, too: csrc/shim_spawn.c.
void picture_forks(int forks)
{
    uintptr_t data = ((uintptr_t)&__data_start + 4095) & ~(uintptr_t)4095, heap = ((uintptr_t)first_break + 4095) & ~(uintptr_t)4095;
    if (!picture.boot)
        return;
    madvise((void *)data, (uintptr_t)arena + used - data, forks ? MADV_DOFORK : MADV_DONTFORK);
    if ((uintptr_t)sbrk(0) > heap)
        madvise((void *)heap, (uintptr_t)sbrk(0) - heap, forks ? MADV_DOFORK : MADV_DONTFORK);
}

static void set_thread(unsigned long id, unsigned long native, PyThreadState *current)
{
    picture.thread->thread_id = id;
    picture.thread->native_thread_id = native;
    _PyRuntime.main_thread = id;
#if PY_VERSION_HEX >= 0x030C0000
    _Py_tss_tstate = current; // thread-local, so no part of the picture
#else
    (void)current;
#endif
}

static Py_tss_t *thread_key(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return &_PyRuntime.autoTSSkey;
#else
    return &_PyRuntime.gilstate.autoTSSkey;
#endif
}

static void write_all(int fd, const char *at, size_t n)
{
    while (n) {
        ssize_t done = write(fd, at, n);
        if (done <= 0)
            _exit(1);
        at += done;
        n -= (size_t)done;
    }
}

static int create(const char *path, const char *suffix)
{
    char name[4096];
    snprintf(name, sizeof name, "%s%s", path, suffix);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        _exit(1);
    return fd;
}

// What lies where, for the scan: a word that points to any of it but this program is of this process, not of the program.
static void write_maps(const char *path)
{
    char buffer[4096];
    int from = open("/proc/self/maps", O_RDONLY | O_CLOEXEC), to = create(path, ".maps");
    for (ssize_t n; (n = read(from, buffer, sizeof buffer)) > 0;)
        write_all(to, buffer, (size_t)n);
    close(from);
    close(to);
}

// Most of what is left of a start is copying pages that are read first and written then. Which these are is known from the rehearsal
// (csrc/picture.py): one call copies a range of them for less than half. An older kernel says EINVAL and faults.
static void populate(int argc, char **argv)
{
    int which = 0;
    for (int i = 1; i < argc; i++)
        which |= !strcmp(argv[i], "create") || !strcmp(argv[i], "run") || !strcmp(argv[i], "exec");
    for (int i = 0; i < HOT && picture.hot[which][i].size; i++)
        if (madvise((void *)(uintptr_t)picture.hot[which][i].from, picture.hot[which][i].size, MADV_POPULATE_WRITE))
            return;
}

// Called from no Python frame, with everything imported. The file: where the memory begins and ends, where the arena and `hot` are;
// then the memory. A rehearsal's program has another main, which makes no process.
void picture_take(PyObject *boot, const char *path, int rehearsal)
{
    PyObject *module = PyImport_ImportModule("pyrunc.picture"), *posix;
    if (!module || !PyObject_CallMethod(module, "prepare", NULL) || !(posix = PyImport_ImportModule("posix"))) {
        PyErr_Print();
        _exit(1);
    }
    picture.boot = rehearsal ? module : boot;
    picture.environ = PyObject_GetAttrString(posix, "environ");
    picture.thread = PyThreadState_Get();
    PyDict_Clear(picture.environ);
    memset(picture.thread->datastack_top, 0, (size_t)((char *)picture.thread->datastack_limit - (char *)picture.thread->datastack_top));
    write_maps(path);

    void **blocks = free_blocks;
    free_blocks = NULL; // from here on malloc is the C library's
    places = NULL;
    n_places = 0;
    for (size_t i = 0; i < LARGE / 16; i++)
        for (void *p = blocks[i], *next; p; p = next) {
            next = *(void **)p;
            *(void **)p = NULL;
        }
    int fd = create(path, "");
    set_thread(0, 0, NULL);
    *thread_key() = (Py_tss_t)Py_tss_NEEDS_INIT;
    stdin = stdout = stderr = NULL; // copies in our .bss, which ld.so fills in every process
    environ = NULL;
    used = (used + 4095) & ~(size_t)4095;
    const char *end = arena + used;
    uint64_t where[] = {(uintptr_t)&__data_start, (uintptr_t)end, (uintptr_t)arena, (uintptr_t)picture.hot};
    write_all(fd, (char *)where, sizeof where);
    write_all(fd, &__data_start, (size_t)(end - &__data_start));
    _exit(0);
}

static int fill_environ(void)
{
    for (char **entry = environ; entry && *entry; entry++) {
        char *equals = strchr(*entry, '=');
        if (!equals)
            continue;
        PyObject *name = PyBytes_FromStringAndSize(*entry, equals - *entry), *value = PyBytes_FromString(equals + 1);
        if (!name || !value || !PyDict_SetDefault(picture.environ, name, value)) // the first of a name counts, as in posix
            return -1;
        Py_DECREF(name);
        Py_DECREF(value);
    }
    return 0;
}

// What belongs to the process: its thread, its environment. pyrunc.boot, or NULL if there is no picture in this file.
PyObject *picture_resume(int argc, char **argv)
{
    if (!picture.boot)
        return NULL;
    first_break = sbrk(0);
    populate(argc, argv);
    set_thread(PyThread_get_thread_ident(), PyThread_get_thread_native_id(), picture.thread);
    if (PyThread_tss_create(thread_key()) || PyThread_tss_set(thread_key(), picture.thread) || fill_environ()) {
        dprintf(2, "pyrunc: no memory to start\n");
        _exit(1);
    }
    return picture.boot;
}
