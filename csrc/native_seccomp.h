#pragma once
#include <stdint.h>

/* libseccomp, opened only when a profile has to be compiled or identified; see seccomp.c. */

struct k_seccomp_result {
	int step;             /* where it failed, enum seccomp_step in seccomp.c */
	int at;               /* index of the architecture or rule it failed at, else -1 */
	uint32_t archs;       /* how many of the following */
	uint32_t arch[32];    /* libseccomp's token of each architecture in the filter */
	uint32_t highest[32]; /* the highest syscall number the profile names there, 0 if none */
};

/* major << 16 | minor << 8 | micro, or -ELIBACC if the library can't be opened (then k_seccomp_why says why). */
int k_seccomp_version(void);
const char *k_seccomp_why(void);

/* libseccomp's token of an architecture given by its libseccomp name, 0 if it doesn't know it. */
uint32_t k_seccomp_arch(const char *name);

/* The name of a native system call, or -ENOENT. */
int k_seccomp_syscall(int nr, char *name, int size);

/* Compile the profile that pyrunc/seccomp/profile.py flattened; returns a memfd holding an array of struct sock_filter. */
int k_seccomp_compile(const unsigned char *flat, uint32_t len, struct k_seccomp_result *result);

/* 1 if the kernel knows all these SECCOMP_FILTER_FLAG_* bits, 0 if not. */
int k_seccomp_flags_supported(uint32_t flags);
