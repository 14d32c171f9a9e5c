/*
 * Entry. The supervisor execs this image from a sealed memfd as
 *
 *     argv[0] = "pyrunc:init", argv[1] = BASE in decimal
 *
 * with stdio on 0..2, what the caller preserves from 3 to BASE-1, the sync socket on BASE, the plan on BASE+1 and the
 * plan's first slots from BASE+2. Nothing else is open. Called any other way (a container that runs /proc/self/exe of
 * a created container gets here) it exits at once: there is no plan on any descriptor it could name.
 */
#include <linux/close_range.h>
#include <linux/mman.h>
#include "init.h"

/* Static, so that it is zero and costs pages only where touched; main's stack stays within one page. */
static struct init init;

static int setup(struct init *in, const char *base_text)
{
	uint32_t base = dec(base_text, 1 << 20), i;
	long size, at;
	int ret;

	if (base == UINT32_MAX || base < 3)
		return -EINVAL;
	SYS3(__NR_close_range, base, ~0u, CLOSE_RANGE_CLOEXEC);
	in->base = (int)base;
	in->sync = (int)base;
	in->mask_tree = -1;
	size = SYS3(__NR_lseek, base + 1, 0, 2 /* SEEK_END */);
	if (size < (long)sizeof(struct plan_header) || size > (long)PLAN_MAX)
		return size < 0 ? (int)size : -EINVAL;
	at = SYS6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, base + 1, 0);
	if (at < 0 && at > -4096)
		return (int)at;
	close_fd(base + 1);
	in->step = STEP_LOAD;
	ret = plan_load(in, (uint8_t *)at, (uint32_t)size);
	if (ret < 0)
		return ret;
	for (i = 0; i < in->head->born; i++)
		in->slot[i] = (int)(base + 2 + i);
	in->role = in->ops[0].role; /* without a part for M this process is init from the start */
	return 0;
}

int init_main(long *stack);

int init_main(long *stack)
{
	char **argv = (char **)(stack + 1);
	int ret;

	if (stack[0] != 2)
		return 255;
	ret = setup(&init, argv[1]);
	if (ret < 0) {
		if (init.sync)
			say(&init, SAY_FAIL, ret);
		return 255;
	}
	return plan_run(&init) < 0 ? 255 : 0;
}

#ifdef PYRUNC_LIBC
int main(int argc, char **argv)
{
	long stack[3] = { argc, (long)argv[0], argc > 1 ? (long)argv[1] : 0 };

	_exit(init_main(stack));
}
#elif !defined(PYRUNC_HOSTED)
void start_c(long *stack);

__attribute__((noreturn, used)) void start_c(long *stack)
{
	die(init_main(stack));
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall start_c\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tmov x30,#0\n\tmov x0,sp\n\tbl start_c\n");
#endif
#endif
