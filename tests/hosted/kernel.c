/*
 * A scripted kernel under init's own sources (PYRUNC_HOSTED), for ASan, UBSan and libFuzzer.
 *
 * It answers every system call plausibly: descriptors are numbers that it tracks, so that closing one twice, or one that
 * was never open, is a failure; what the kernel would write is written; strings and buffers that init hands over are read
 * whole, so that a bad pointer is found. A script (fuzzing) or a number (the sweep) says which call fails instead.
 *
 *     ops PLAN...   every op of the plans alone: with all kinds of files, then with each of its calls failing
 *     built as a fuzz target: the first bytes of the input are the script, the rest is the plan
 */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "init.h"

struct file_reply { uint32_t mode, major, minor; long magic; };
static const struct file_reply KINDS[] = {
	{ 0040755, 0, 0, 0x9fa0 }, { 0100644, 0, 0, 0x01021994 }, { 0020666, 1, 3, 0x01021994 }, { 0120777, 0, 0, 0xef53 },
	{ 0020620, 136, 0, 0x1cd1 }, { 0020666, 5, 2, 0x1cd1 }, { 0040755, 0, 0, 0x63677270 }, { 0010644, 0, 0, 0x62656572 },
	{ 0100644, 0, 0, 0x9fa0 }, { 0140755, 0, 0, 0xef53 },
};
#define NKINDS ((int)(sizeof KINDS / sizeof *KINDS))
#define FDS 4096
#define CALLS_MAX 20000

static jmp_buf gone;
static void *mapped;
static struct {
	unsigned char open[FDS], served[FDS];
	int next_fd, calls, fail_at, fail_with, failed, kind, child;
	const uint8_t *script;
	size_t left;
	uint32_t seq;            /* of the last record written, answered by the next read */
	struct record told;      /* the last failure init reported */
	int has_told, deaf;      /* deaf: a write has failed, so nothing can be told */
} k;

static void broken(const char *what, long n)
{
	fprintf(stderr, "init: %s %ld\n", what, n);
	abort();
}

static long new_fd(void)
{
	if (k.next_fd >= FDS)
		longjmp(gone, 3);
	k.open[k.next_fd] = 1;
	return k.next_fd++;
}

static volatile char sink;
static void reads(const void *at, size_t n) { for (size_t i = 0; i < n; i++) sink = ((const char *)at)[i]; }
static void reads_str(long p) { if (p) reads((const char *)p, strlen((const char *)p) + 1); }

static int script(int otherwise)
{
	if (!k.left)
		return otherwise;
	k.left--;
	return *k.script++;
}

static const int ERRNOS[] = { 1, 2, 4, 5, 9, 11, 12, 13, 16, 17, 20, 21, 22, 24, 28, 30, 38, 40, 95, 104 };

static long take_read(long fd, char *to, size_t n)
{
	static const char text[] = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
	struct record rec = { .seq = k.seq };
	size_t have = sizeof text - 1;

	if (n == sizeof rec) {
		memcpy(to, &rec, n);
		return (long)n;
	}
	if (n == 1)
		return *to = '0', 1;
	memset(to, 0, n); /* all of the buffer must be init's */
	if (fd >= 0 && fd < FDS && k.served[fd]++)
		return 0;
	have = have < n ? have : n;
	memcpy(to, text, have);
	return n == sizeof(int) ? 0 : (long)have; /* a pipe that tells of a failed execve: closed */
}

struct iov { void *base; size_t len; };
struct msg { void *name; int namelen; struct iov *iov; size_t iovlen; void *control; size_t controllen; unsigned flags; };
struct cmsg { size_t len; int level, type; int fd[2]; };

static long take_recvmsg(struct msg *m)
{
	struct record rec = { .seq = k.seq };
	struct cmsg c = { .len = 24, .level = 1, .type = 1 };

	memcpy(m->iov[0].base, &rec, sizeof rec);
	if (m->control && m->controllen >= sizeof c) {
		c.fd[0] = (int)new_fd(), c.fd[1] = (int)new_fd();
		memcpy(m->control, &c, sizeof c);
		m->controllen = sizeof c;
	}
	return sizeof rec;
}

static void take_statx(struct statx *st)
{
	const struct file_reply *f = &KINDS[k.kind % NKINDS];

	memset(st, 0, sizeof *st);
	st->stx_mask = 0xfff;
	st->stx_mode = (uint16_t)f->mode;
	st->stx_rdev_major = f->major, st->stx_rdev_minor = f->minor;
	st->stx_ino = k.kind % NKINDS == 5 ? 2 : 1;
	st->stx_nlink = 1;
}

static long take_getdents(long fd, char *to, size_t n)
{
	struct { uint64_t ino, off; uint16_t len; uint8_t type; char name[5]; } e = { 2, 1, 24, 8, "file" };

	if (n < sizeof e || (fd >= 0 && fd < FDS && k.served[fd]++))
		return 0;
	memcpy(to, &e, sizeof e);
	return sizeof e;
}

static long take_write(const void *from, size_t n)
{
	struct record rec;

	reads(from, n);
	if (n == sizeof rec) {
		memcpy(&rec, from, n);
		if (rec.seq == SAY_FAIL)
			k.told = rec, k.has_told = 1;
		k.seq = rec.seq;
	}
	return (long)n;
}

long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	int s;

	(void)e, (void)f;
	if (++k.calls > CALLS_MAX)
		longjmp(gone, 3);
	if (nr == __NR_exit_group)
		longjmp(gone, 1);
	if (nr == __NR_close) {
		if (a >= FDS || (a >= 0 && !k.open[a]))
			broken("closes a descriptor that is not open:", a);
		if (a < 0)
			return -EBADF;
		k.open[a] = k.served[a] = 0;
		return 0;
	}
	s = script(0);
	if (s >= 128 || k.calls == k.fail_at) {
		k.failed = s >= 128 ? ERRNOS[s % (int)(sizeof ERRNOS / sizeof *ERRNOS)] : k.fail_with;
		k.deaf |= nr == __NR_write;
		return -k.failed;
	}
	if (s)
		k.kind = s;
	switch (nr) {
	case __NR_openat: case __NR_openat2: case __NR_open_tree:
		reads_str(b);
		return new_fd();
	case __NR_fsopen: reads_str(a); return new_fd();
	case __NR_fsmount: case __NR_socket: return new_fd();
	case __NR_pipe2: ((int *)a)[0] = (int)new_fd(), ((int *)a)[1] = (int)new_fd(); return 0;
	case __NR_read: return take_read(a, (char *)b, (size_t)c);
	case __NR_write: return take_write((void *)b, (size_t)c);
	case __NR_recvmsg: return take_recvmsg((struct msg *)b);
	case __NR_sendmsg: {
		struct msg *m = (struct msg *)b;
		if (m->control)
			reads(m->control, m->controllen);
		return take_write(m->iov[0].base, m->iov[0].len);
	}
	case __NR_statx: reads_str(b); take_statx((struct statx *)e); return 0;
	case __NR_fstatfs: memset((void *)b, 0, sizeof(struct statfs)); ((struct statfs *)b)->f_type = KINDS[k.kind % NKINDS].magic; return 0;
	case __NR_readlinkat: reads_str(b); if (d > 0) memset((void *)c, 'x', (size_t)d < 7 ? (size_t)d : 7); return d < 7 ? d : 7;
	case __NR_getcwd: if (b < 2) return -ERANGE; memcpy((void *)a, "/", 2); return 2;
	case __NR_getdents64: return take_getdents(a, (char *)b, (size_t)c);
	case __NR_wait4: if (b) *(int *)b = 0; return a;
	case __NR_ppoll: return 1;
	case __NR_clone3: reads((void *)a, (size_t)b); return k.child ? 0 : 4242;
	case __NR_execve: reads_str(a); for (char **p = (char **)b; *p; p++) reads_str((long)*p); for (char **p = (char **)c; *p; p++) reads_str((long)*p); longjmp(gone, 2);
	case __NR_ioctl: return b == 0x5441 /* TIOCGPTPEER */ ? new_fd() : 0;
	case __NR_dup3: if (b >= 0 && b < FDS) k.open[b] = 1; return b;
	case __NR_mkdirat: case __NR_mknodat: case __NR_unlinkat: case __NR_fchmodat: case __NR_faccessat2: case __NR_mount_setattr: case __NR_fchownat:
		reads_str(b); return 0;
	case __NR_symlinkat: reads_str(a), reads_str(c); return 0;
	case __NR_chdir: case __NR_chroot: case __NR_umount2: reads_str(a); return 0;
	case __NR_move_mount: reads_str(b), reads_str(d); return 0;
	case __NR_fsconfig: reads_str(c); if (b == 1) reads_str(d); return 0;
	case __NR_sethostname: case __NR_setdomainname: reads((void *)a, (size_t)b); return 0;
	case __NR_setgroups: reads((void *)b, 4 * (size_t)a); return 0;
	case __NR_sched_setaffinity: reads((void *)c, (size_t)b); return 0;
	case __NR_mmap: free(mapped); return (long)(mapped = calloc(1, (size_t)b)); /* exactly that much */
	case __NR_keyctl: return 7;
	default: return 0;
	}
}

/* The kernel and init's state as a loaded plan finds them: `nslots` slots filled. */
static void fresh(struct init *in, int nslots)
{
	memset(&k, 0, sizeof k);
	for (int i = 0; i < 10; i++)
		k.open[i] = 1;
	k.next_fd = 12 + nslots;
	in->base = in->sync = 10;
	k.open[10] = 1;
	in->mask_tree = -1;
	for (int i = 0; i < SLOTS; i++)
		in->slot[i] = -1;
	for (int i = 0; i < nslots; i++)
		in->slot[i] = 12 + i, k.open[12 + i] = 1;
}

#ifdef FUZZ
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct init in;
	size_t script_size;
	uint8_t *plan;

	if (size < 2)
		return 0;
	script_size = data[0];
	if (script_size + 2 > size)
		return 0;
	plan = malloc(size - script_size - 1);
	memcpy(plan, data + 1 + script_size, size - script_size - 1);
	memset(&in, 0, sizeof in);
	fresh(&in, 0);
	if (plan_load(&in, plan, (uint32_t)(size - script_size - 1)) == 0) {
		fresh(&in, (int)in.head->nslots);
		k.script = data + 1, k.left = script_size;
		k.child = data[0] & 1;
		in.role = data[0] & 2 ? 'M' : 'I';
		if (!setjmp(gone)) {
			int ret = plan_run(&in);
			if (ret < 0 && !k.deaf && (!k.has_told || k.told.err != ret || k.told.op != in.now))
				broken("fails without telling:", ret);
		}
	}
	free(plan);
	return 0;
}
#else
enum { OPS = 128 };
static int good[OPS], bad[OPS];

/* One op of a loaded plan, alone: every slot holds an open descriptor. */
static int one(uint8_t *bytes, uint32_t size, uint32_t index, int kind, int child, int fail_at, int fail_with, int *calls)
{
	static struct init in;
	uint8_t *plan = malloc(size);
	int ret, left;

	memcpy(plan, bytes, size);
	memset(&in, 0, sizeof in);
	fresh(&in, 0);
	if (plan_load(&in, plan, size))
		broken("refuses a plan of the compiler at op", (long)in.now);
	fresh(&in, SLOTS);
	k.next_fd = 12 + SLOTS;
	in.role = in.ops[index].role;
	in.now = index;
	in.exec_path = "/bin/sh";
	memcpy(in.home, "HOME=/root", 11);
	k.kind = kind, k.child = child, k.fail_at = fail_at, k.fail_with = fail_with;
	left = setjmp(gone);
	ret = left ? 0 : op_table[in.ops[index].code].run(&in, &in.ops[index]);
	if (left == 3)
		broken("never ends: op", (long)in.ops[index].code);
	if (ret < -4095)
		broken("returns no errno:", ret);
	(ret < 0 ? bad : good)[in.ops[index].code]++;
	*calls = k.calls;
	free(plan);
	return ret;
}

int main(int argc, char **argv)
{
	for (int arg = 1; arg < argc; arg++) {
		FILE *file = fopen(argv[arg], "rb");
		static uint8_t bytes[1 << 22];
		uint32_t size = file ? (uint32_t)fread(bytes, 1, sizeof bytes, file) : 0, nops;

		if (!size)
			broken("no plan in argument", arg);
		fclose(file);
		nops = ((struct plan_header *)bytes)->nops;
		for (uint32_t i = 0; i < nops; i++)
			for (int kind = 0; kind < NKINDS; kind++)
				for (int child = 0; child < 2; child++) {
					int calls, ignored;

					one(bytes, size, i, kind, child, 0, 0, &calls);
					for (int n = 1; n <= calls && n < 80; n++)
						for (int e = 0; e < 4; e++)
							one(bytes, size, i, kind, child, n, (int[]){ 1, 2, 5, 38 }[e], &ignored);
				}
	}
	for (uint32_t code = 0; code < op_count; code++)
		printf("%s %d %d\n", op_table[code].name, good[code], bad[code]);
	return 0;
}
#endif
