/* Birth and death of processes where a filter may be in force: by the oldest calls there are, and by none in the end. */
#include "init.h"

#if defined(PYRUNC_HOSTED)
long born_on(unsigned long flags, void *top, void (*run)(void *), void *arg)
{
	long pid = SYS2(__NR_clone, flags, top);

	if (pid == 0)
		run(arg);
	return pid;
}
#elif defined(__x86_64__)
__asm__(".globl born_on\nborn_on:\n\t"
	"sub $16,%rsi\n\tmov %rdx,(%rsi)\n\tmov %rcx,8(%rsi)\n\t" /* run and arg, onto the new stack */
	"xor %edx,%edx\n\txor %r10d,%r10d\n\txor %r8d,%r8d\n\tmov $56,%eax\n\tsyscall\n\t"
	"test %rax,%rax\n\tjz 1f\n\tret\n"
	"1:\txor %ebp,%ebp\n\tpop %rax\n\tpop %rdi\n\tcall *%rax\n\tud2\n");
#elif defined(__aarch64__)
__asm__(".globl born_on\nborn_on:\n\t"
	"stp x2,x3,[x1,#-16]!\n\tmov x2,#0\n\tmov x3,#0\n\tmov x4,#0\n\tmov x8,#220\n\tsvc #0\n\t"
	"cbz x0,1f\n\tret\n"
	"1:\tmov x29,#0\n\tldp x1,x0,[sp],#16\n\tblr x1\n\tbrk #0\n");
#else
#include <sched.h>
#include <errno.h>
struct call {
	void (*run)(void *);
	void *arg;
};

static int start(void *arg)
{
	struct call *call = arg;

	call->run(call->arg);
	return 0;
}

long born_on(unsigned long flags, void *top, void (*run)(void *), void *arg)
{
	static struct call call;
	long pid;

	call = (struct call){ run, arg };
	pid = clone(start, top, (int)flags, &call);
	return pid < 0 ? -errno : pid;
}
#endif

/* A filter may refuse exit_group(2) too. An illegal instruction still ends the process. */
void die(int code)
{
	SYS1(__NR_exit_group, code);
	SYS1(__NR_exit, code);
	__builtin_trap();
}
