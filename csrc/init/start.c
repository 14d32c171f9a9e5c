/*
 * Entry. The supervisor execs this image from a sealed memfd as
 *
 *     argv[0] = "pyrunc:init", argv[1] = BASE in decimal
 *
 * with stdio on 0..2, what the caller preserves from 3 to BASE-1, and the sync socket on BASE. Nothing else is open. The plan
 * and the descriptors of its first slots come over the socket: the supervisor is still at work on them while the kernel
 * makes this process. Called any other way (a container that runs /proc/self/exe of a created container gets here) it
 * exits at once: there is no plan on any descriptor it could name.
 */
#include <linux/close_range.h>
#include <linux/mman.h>
#include "init.h"

/* Static, so that it is zero and costs pages only where touched; main's stack stays within one page. */
static struct init init;

static int take_plan(struct init *in, int fd)
{
	long size = SYS3(__NR_lseek, fd, 0, 2 /* SEEK_END */), at;

	if (size < (long)sizeof(struct plan_header) || size > (long)PLAN_MAX)
		return size < 0 ? (int)size : -EINVAL;
	at = SYS6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (at < 0 && at > -4096)
		return (int)at;
	close_fd(fd);
	in->step = STEP_LOAD;
	return plan_load(in, (uint8_t *)at, (uint32_t)size);
}

static int setup(struct init *in, const char *base_text)
{
	uint32_t base = dec(base_text, 1 << 20), i;
	int fds[BATCH], got, ret;

	if (base == UINT32_MAX || base < 3)
		return -EINVAL;
	SYS3(__NR_close_range, base, ~0u, CLOSE_RANGE_CLOEXEC);
	in->base = (int)base;
	in->sync = (int)base;
	in->mask_tree = -1;
	in->step = STEP_READ;
	got = receive(in, 0, fds);
	if (got < 1)
		return got < 0 ? got : -ECONNRESET;
	ret = take_plan(in, fds[0]);
	if (ret < 0)
		return ret;
	for (i = 0; i < in->head->born; i++) { /* the first slots, BATCH at a time with the plan before them */
		if ((i + 1) % BATCH == 0 && (got = receive(in, 0, fds)) < 0)
			return got;
		if ((int)((i + 1) % BATCH) >= got)
			return -ECONNRESET;
		in->slot[i] = fds[(i + 1) % BATCH];
	}
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
	guard_stack(stack);
	die(init_main(stack));
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp,%ebp\n\tmov %rsp,%rdi\n\tand $-16,%rsp\n\tcall start_c\n");
#elif defined(__aarch64__)
__asm__(".globl _start\n_start:\n\tmov x29,#0\n\tmov x30,#0\n\tmov x0,sp\n\tbl start_c\n");
#endif
#endif
