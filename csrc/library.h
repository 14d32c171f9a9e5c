/*
 * What seccomp.c and bus.c have in common: a library that is opened when it is needed and never linked, its prototypes
 * (a stable ABI) declared by who uses it; and the flat buffer in which Python hands arguments over, read with every
 * length checked, although Python wrote it (docs/security.md, C8).
 */

#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>

struct symbol {
	void **function;
	const char *name;
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* All of the symbols, or -ELIBACC and why: one that is missing (an older library) counts as a missing library. */
static int open_symbols(const char *library, const struct symbol *symbols, size_t count, const char **why)
{
	void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
	int found = handle != NULL;
	for (size_t i = 0; found && i < count; i++) {
		*symbols[i].function = dlsym(handle, symbols[i].name);
		found = *symbols[i].function != NULL;
	}
	if (found)
		return 0;
	const char *said = dlerror();
	*why = said ? said : "";
	return -ELIBACC;
}

/* After the first read beyond the end everything reads as zeros and `bad` stays set. */
struct reader {
	const unsigned char *at;
	const unsigned char *end;
	int bad;
};

static const unsigned char *take(struct reader *in, size_t len)
{
	static const unsigned char zero[256]; /* as much as anybody uses without a look at `bad` */
	if (in->bad || (size_t)(in->end - in->at) < len) {
		in->bad = 1;
		return zero;
	}
	const unsigned char *found = in->at;
	in->at += len;
	return found;
}
