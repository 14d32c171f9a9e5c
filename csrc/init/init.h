/* What every op of init sees: the loaded plan, the slots, and a handful of helpers. No libc, no allocation. */
#ifndef PYRUNC_INIT_H
#define PYRUNC_INIT_H

#include <asm/errno.h>
#include <asm/fcntl.h>
#include <asm/signal.h>
#include <asm/statfs.h>
#include <linux/fcntl.h>
#include <linux/openat2.h>
#include <linux/stat.h>
#include "../plan.h"
#include "../sys.h"

#define MNT_DETACH 2 /* umount2(2); the kernel's own header has it not */

#ifdef PYRUNC_HOSTED /* tests: red zones, so that a buffer that runs into its neighbour is found */
#define GAP(name) uint8_t gap_##name[64] __attribute__((aligned(8)));
#else
#define GAP(name)
#endif

struct init {
	uint8_t *plan; /* mapped private and writable: the vec words of its ops are replaced */
	struct plan_header *head;
	struct plan_op *ops;
	uint32_t now;  /* index of the running op */
	uint32_t step; /* where inside it: set by the op before each call that can fail */
	int base;      /* first descriptor that is ours; below it are stdio and what the caller preserves */
	int sync;      /* socket to the supervisor */
	int role;      /* 'M' or 'I' */
	int *slot;     /* head->nslots descriptors, 0 where there is none: that is stdin */
	char **vecs;   /* the pointers of all vecs, see place_vecs */
	uint32_t nvecs;
	uint32_t open; /* slots, while the plan is loaded */
	uint32_t pdeathsig;
	uint64_t nofile;         /* soft limit before NOFILE raised it */
	int cwd_done;            /* CHDIR has succeeded */
	const char *exec_path;   /* found by LOOKUP */
	int mask_tree;           /* the one read-only tmpfs every masked directory shows */
	uint8_t *failed;         /* a bit for each op */
	char home[4200];         /* "HOME=...", filled by HOME */
	GAP(home)
	char path[2][8192];      /* scratch of path.c */
	GAP(path)
	uint8_t buf[4096] __attribute__((aligned(8))); /* scratch of one op, never kept across ops */
	GAP(buf)
	uint8_t stack[2][16384] __attribute__((aligned(16))); /* of a hook before its execve, and of the courier: see born */
	GAP(stack)
	struct { struct record rec; int fd, up; } courier; /* of a filter's listener, see op_talk.c */
};

typedef int op_fn(struct init *in, struct plan_op *op);

#define OP(name, roles, slots, args, sealed) op_fn op_##name;
#include "../ops.def"
#undef OP

/* Operands. plan_load has checked kinds and bounds of all of them. */
static inline const char *arg_str(struct init *in, uint32_t off) { return (const char *)in->plan + off + 4; }
static inline uint32_t arg_len(struct init *in, uint32_t off) { return *(uint32_t *)(in->plan + off); }
static inline uint8_t *arg_blob(struct init *in, uint32_t off) { return in->plan + off + 4; }
static inline char **arg_vec(struct init *in, uint32_t at) { return in->vecs + at; }
static inline uint64_t arg_u64(const uint32_t *word) { return word[0] | (uint64_t)word[1] << 32; }
static inline int slot(struct init *in, struct plan_op *op, int i)
{
	return op->slot[i] == NO_SLOT || !in->slot[op->slot[i]] ? -EBADF : in->slot[op->slot[i]];
}
/* Single assignment: a produced slot is always empty (the verifier and plan_load see to it). */
static inline void produce(struct init *in, struct plan_op *op, int i, int fd)
{
	if (op->slot[i] != NO_SLOT)
		in->slot[op->slot[i]] = fd;
	else if (fd >= 0)
		SYS1(__NR_close, fd);
}

/* load.c */
int plan_load(struct init *in, uint8_t *bytes, uint32_t size);
void *zeroes(uint64_t size); /* memory that stays ours, or 0 */
extern const struct op_info { const char *name, *roles, *slots, *args; op_fn *run; uint8_t sealed; } op_table[];
extern const uint32_t op_count;

/* interp.c */
int plan_run(struct init *in);
void end_slots(struct init *in, const struct plan_op *op);
void say(struct init *in, uint32_t seq, int err);

/*
 * born.c: clone(2) with a stack of its own for a child that shares our memory: it runs run(arg), which never returns.
 * The call is the one of old, with the same meaning in every filter that lets a process fork.
 */
#define born(flags, stack, run, arg) born_on((flags), (stack) + sizeof(stack), (run), (arg))
long born_on(unsigned long flags, void *top, void (*run)(void *), void *arg);
__attribute__((noreturn)) void die(int code);
void start_courier(struct init *in);

/* op_talk.c */
int receive(struct init *in, uint32_t seq, int fds[BATCH]);

/* path.c: every path below a root slot */
#define ROOT_RESOLVE (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
int open_in(int root, const char *path, uint64_t flags, uint64_t resolve);
int open_or_make(struct init *in, int root, const char *path, uint32_t type, uint32_t mode);
int open_parent(struct init *in, int root, const char *path, const char **last);

/* op_sys.c: a read-only tmpfs of one inode, to cover something with */
int new_mask_tree(struct init *in, const char *label);

/* verify.c: a descriptor is what we think it is */
int is_type(int fd, uint32_t type);
int verify_char(int fd, uint32_t major, uint32_t minor);
int verify_dev(int fd, uint32_t type, uint32_t dev);
int verify_proc_root(int fd);
int verify_fs(int fd, long magic);

/* guard.c */
void guard_stack(const long *stack);

/* str.c */
uint32_t str_len(const char *s);
void mem_copy(void *to, const void *from, uint64_t n);
void *mem_zero(void *at, uint64_t n);
int str_same(const char *a, const char *b);
uint32_t dec(const char *s, uint32_t limit); /* decimal, UINT32_MAX when it is none */

#define close_fd(fd) SYS1(__NR_close, (fd))

#endif
