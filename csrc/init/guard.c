/*
 * The stack protector's, which a C library would bring: the value that stands behind each array on a stack, drawn by the
 * kernel for each process (AT_RANDOM, getauxval(3)), and what becomes of a process in which one has been overwritten.
 */
#include "init.h"

#if !defined(PYRUNC_HOSTED) && !defined(PYRUNC_LIBC)
#define AT_RANDOM 25

extern uintptr_t __stack_chk_guard;
void __stack_chk_fail(void);

uintptr_t __stack_chk_guard;

/* `stack` is the kernel's: argc, argv, NULL, the environment, NULL, pairs of type and value up to type 0. */
void guard_stack(const long *stack)
{
	const long *at = stack + 1 + stack[0] + 1;

	while (*at++)
		;
	for (; at[0]; at += 2)
		if (at[0] == AT_RANDOM)
			mem_copy(&__stack_chk_guard, (const void *)at[1], sizeof __stack_chk_guard);
	__stack_chk_guard &= ~(uintptr_t)0xff; /* a NUL, at which a text that runs over ends */
}

__attribute__((noreturn)) void __stack_chk_fail(void)
{
	die(255);
}
#endif
