/*
 * Raw system calls, for x86-64 and aarch64, without libc: init has none, and the shim uses the same functions for the
 * mount calls so that there is one spelling of each. Every function returns what the kernel returns: >= 0 or -errno.
 */
#ifndef PYRUNC_SYS_H
#define PYRUNC_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>

#ifndef __NR_fchmodat2 /* 6.6; the same number everywhere */
#define __NR_fchmodat2 452
#endif

#ifdef PYRUNC_HOSTED /* unit tests: a scripted kernel (tests/hosted/kernel.c) */
long sys_call(long nr, long a, long b, long c, long d, long e, long f);
#elif defined(__x86_64__)
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else /* the portable fallback: linked with a static libc */
#define PYRUNC_LIBC 1
#include <errno.h>
#include <unistd.h>
static inline long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	long ret = syscall(nr, a, b, c, d, e, f);

	return ret == -1 ? -errno : ret;
}
#endif

#define SYS6(nr, a, b, c, d, e, f) sys_call((nr), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define SYS5(nr, a, b, c, d, e)    SYS6(nr, a, b, c, d, e, 0)
#define SYS4(nr, a, b, c, d)       SYS6(nr, a, b, c, d, 0, 0)
#define SYS3(nr, a, b, c)          SYS6(nr, a, b, c, 0, 0, 0)
#define SYS2(nr, a, b)             SYS6(nr, a, b, 0, 0, 0, 0)
#define SYS1(nr, a)                SYS6(nr, a, 0, 0, 0, 0, 0)
#define SYS0(nr)                   SYS6(nr, 0, 0, 0, 0, 0, 0)

#endif
