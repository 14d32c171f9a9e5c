/* Between launcher.c and picture.c. */
#include <Python.h>

void picture_begin(void);
void picture_forks(int forks); /* for shim_spawn.c, which may have no picture */
void picture_take(PyObject *boot, const char *path) __attribute__((noreturn));
PyObject *picture_resume(int argc, char **argv);
