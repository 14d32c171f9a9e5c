/*
 * Runs init over the scripted kernel.
 *
 *     driver PLAN...      the first op of each plan, in every world, with each of its calls failing with each errno.
 *                         Prints "OP CALL ERRNO OUTCOME": the step told, "ok" where init goes on, "step=ERRNO" where it
 *                         tells another errno than the kernel gave; only for what succeeds when nothing fails.
 *     built with -DFUZZ   a fuzz target: the first bytes of the input are the script, the rest is the plan
 */
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernel.h"
#include "start.c" /* for its static state, and setup() */

#ifdef NO_RED_ZONES /* for a compiler without ASan */
#define red_zones(set) ((void)0)
#else
static void red_zones(void (*set)(void const volatile *, size_t))
{
	set(init.gap_home, sizeof init.gap_home), set(init.gap_path, sizeof init.gap_path);
	set(init.gap_buf, sizeof init.gap_buf);
}
#endif

/* init as it is at birth: a static is zero. */
static void wipe(void)
{
	red_zones(__asan_unpoison_memory_region);
	memset(&init, 0, sizeof init);
	red_zones(__asan_poison_memory_region);
}

/* Every descriptor init has made stands in a slot, or is the one it keeps for itself; every slot's is open. */
static void no_leak(int base, int first_new)
{
	static uint8_t held[FDS];

	memset(held, 0, sizeof held);
	held[init.sync] = 1;
	if (init.mask_tree >= 0)
		held[init.mask_tree] = 1;
	for (uint32_t i = 0; init.slot && i < init.head->nslots; i++) {
		if (init.slot[i] <= 0)
			continue;
		held[init.slot[i]] = 1;
		if (!k.open[init.slot[i]] && !k.sealed)
			broken("a slot holds what is closed:", i);
	}
	for (int fd = 0; fd < k.next_fd; fd++)
		if (k.open[fd] && !held[fd] && (fd >= first_new || fd == base + 1))
			broken("leaves a descriptor open:", fd);
}

#ifdef FUZZ
#define BORN 1000 /* a header may claim more, which are not open then */

/* From init's entry. Returns how it left; init's own word for a failure has been checked. */
static int whole(int base, uint32_t nslots)
{
	char text[12];
	long stack[3] = { 2, (long)"pyrunc:init", (long)text };
	int left = setjmp(gone), code;

	snprintf(text, sizeof text, "%d", base);
	if (left == ENDLESS && k.strict)
		broken("never ends", 0);
	if (left)
		return left;
	code = init_main(stack);
	if (code != 255 && code)
		broken("ends with", code);
	if (!code || k.deaf)
		return 0;
	if (!init.sync || k.fails != 1 || k.told.op != init.now || k.told.step != init.step || k.told.err >= 0)
		broken("fails without saying so once, truly; records:", k.fails);
	if (k.strict)
		no_leak(base, base + 2 + (int)nslots);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	size_t script = n ? data[0] : 0;

	if (n < script + 1)
		return 0;
	wipe();
	kernel_reset(&init, 10, 0);
	k.script = data + 1, k.left = script;
	k.child = data[0] & 3;
	k.image = data + 1 + script, k.image_size = n - script - 1;
	memset(k.open + 12, 1, BORN);
	k.next_fd = 12 + BORN;
	whole(10, 0);
	return 0;
}
#else
static uint8_t bytes[1 << 22];
static uint32_t size;

static void read_plan(const char *path)
{
	FILE *file = fopen(path, "rb");

	if (!file || !(size = (uint32_t)fread(bytes, 1, sizeof bytes, file)))
		broken("no such plan", 0);
	fclose(file);
}

static struct plan_header head(void)
{
	struct plan_header h;

	memcpy(&h, bytes, sizeof h);
	return h;
}

static const int ERRORS[] = { EIO, EPERM, ENOENT, EINTR, EAGAIN, EBUSY, EEXIST, ENOTDIR, EINVAL, EROFS, ENOSYS, ELOOP };
#define NERRORS ((int)(sizeof ERRORS / sizeof *ERRORS))

static char **vecs;

static int run_op(uint32_t index, int kind, int world, int child, int fail_at, int fail_with)
{
	struct plan_op *op = &init.ops[index];
	void *keep[2] = { k.areas[0], k.areas[1] }; /* the loader's */
	int left, ret, born = (int)head().born;

	memset(k.areas, 0, sizeof keep);
	kernel_reset(&init, 10, born);
	memcpy(k.areas, keep, sizeof keep);
	if (init.nvecs)
		memcpy(init.vecs, vecs, init.nvecs * sizeof *vecs);
	for (int i = 0; i < (int)head().nslots; i++)
		init.slot[i] = i < born ? 12 + i : 0;
	k.open[11] = 0; /* the plan's */
	k.strict = 1, k.kind = kind, k.world = world, k.child = child ? 3 : 0, k.fail_at = fail_at, k.fail_with = fail_with;
	init.base = init.sync = 10, init.mask_tree = -1, init.role = op->role, init.now = index, init.step = STEP_NONE;
	init.cwd_done = 0, init.exec_path = "/bin/sh";
	memcpy(init.home, "HOME=/root", 11);
	left = setjmp(gone);
	ret = left ? 0 : op_table[op->code].run(&init, op);
	if (left == ENDLESS)
		broken("never ends: op", op->code);
	if (ret < -4095)
		broken("returns no errno:", ret);
	if (!left && ret >= 0)
		end_slots(&init, op);
	if (!left)
		no_leak(10, ret >= 0 ? 12 : 12 + born); /* each slot of this op ends with it */
	return ret;
}

/* Outcomes already printed: op, call, errno, errno told, step (255: goes on). */
static uint64_t seen[1 << 16];

static void outcome(uint32_t code, long nr, int err, int ret)
{
	uint32_t step = ret < 0 ? init.step : 255, other = ret < 0 && ret != -err ? (uint32_t)-ret : 0;
	uint64_t key = (uint64_t)code << 48 | (uint64_t)nr << 32 | (uint64_t)err << 24 | other << 8 | step | 1ull << 63;
	uint32_t at = (uint32_t)(key * 0x9e3779b97f4a7c15ull >> 48);

	for (; seen[at]; at = (at + 1) & 0xffff)
		if (seen[at] == key)
			return;
	seen[at] = key;
	printf("%s %s %d ", op_table[code].name, call_name(nr), err);
	printf(ret >= 0 ? "ok\n" : other ? "%u=%u\n" : "%u\n", step, other);
}

static void sweep(uint32_t index, int kind, int world, int child)
{
	int good = run_op(index, kind, world, child, 0, 0) >= 0, calls = k.calls;

	for (int n = 1; n <= calls && n <= 100; n++)
		for (int e = 0; e < NERRORS; e++) {
			int ret = run_op(index, kind, world, child, n, ERRORS[e]);

			if (k.failed_nr < 0)
				break;
			if (good)
				outcome(init.ops[index].code, k.failed_nr, ERRORS[e], ret);
		}
}

/* In every kernel that could make a difference: what the op has not asked for it need not be told in another way. */
static void every_world(uint32_t index)
{
	int asked, kinds;

	for (int world = asked = 0; world < (asked & ASKED_WORLD ? WORLDS : 1); world++)
		for (int kind = kinds = 0; kind < (kinds ? KINDS : 1); kind++)
			for (int child = 0; child < (asked & ASKED_CHILD ? 2 : 1); child++) {
				run_op(index, kind, world, child, 0, 0);
				asked |= k.asked;
				kinds |= k.asked & ASKED_KIND;
				sweep(index, kind, world, child);
			}
}

static void first_op(void)
{
	wipe();
	kernel_reset(&init, 10, 0);
	if (plan_load(&init, bytes, size))
		broken("refuses the plan at op", init.now);
	vecs = malloc(init.nvecs * sizeof *vecs);
	if (init.nvecs)
		memcpy(vecs, init.vecs, init.nvecs * sizeof *vecs);
	every_world(0);
	free(vecs);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		read_plan(argv[i]);
		first_op();
	}
	return 0;
}
#endif
