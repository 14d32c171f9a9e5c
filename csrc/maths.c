// libm, opened by whoever first calculates: CPython names 33 of its functions, no verb of pyrunc calls one, and ld.so would map the
// library and look them up in every run. Nothing is kept: what a picture remembers of a library would be wrong in the next process.
//
// Hidden, so they are this program's alone. A function of libm that is not here links to libm as ever (--as-needed).

#include <dlfcn.h>
#include <stdio.h>
#include <unistd.h>

#pragma GCC visibility push(hidden)

static void *find(const char *name)
{
    void *library = dlopen("libm.so.6", RTLD_LAZY), *found = library ? dlsym(library, name) : NULL;
    if (!found) {
        dprintf(2, "pyrunc: libm: %s\n", dlerror());
        _exit(1);
    }
    return found;
}

#define OF_ONE(name) \
    double name(double); \
    double name(double x) { return ((double (*)(double))find(#name))(x); }
#define OF_TWO(name) \
    double name(double, double); \
    double name(double x, double y) { return ((double (*)(double, double))find(#name))(x, y); }

OF_ONE(acos) OF_ONE(acosh) OF_ONE(asin) OF_ONE(asinh) OF_ONE(atan) OF_ONE(atanh) OF_ONE(cbrt) OF_ONE(ceil) OF_ONE(cos) OF_ONE(cosh)
OF_ONE(erf) OF_ONE(erfc) OF_ONE(exp) OF_ONE(exp2) OF_ONE(expm1) OF_ONE(floor) OF_ONE(log) OF_ONE(log10) OF_ONE(log1p) OF_ONE(log2)
OF_ONE(round) OF_ONE(sin) OF_ONE(sinh) OF_ONE(sqrt) OF_ONE(tan) OF_ONE(tanh)
OF_TWO(atan2) OF_TWO(fmod) OF_TWO(hypot) OF_TWO(nextafter) OF_TWO(pow)

void sincos(double, double *, double *);
void sincos(double x, double *sine, double *cosine)
{
    ((void (*)(double, double *, double *))find("sincos"))(x, sine, cosine);
}
