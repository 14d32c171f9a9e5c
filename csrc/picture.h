/* Between launcher.c and picture.c. */
#include <Python.h>

void picture_begin(const char *layout);
void picture_take(PyObject *boot, const char *path, int rehearsal) __attribute__((noreturn));
void picture_forks(int forks); /* for shim_spawn.c, which may have no picture */
PyObject *picture_resume(int argc, char **argv);
