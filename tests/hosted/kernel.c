/*
 * A scripted kernel under init's own sources (PYRUNC_HOSTED), for ASan, UBSan and libFuzzer.
 *
 * It answers every system call plausibly: descriptors are numbers that it tracks, so that using one after its end, or
 * closing it twice, is a failure; what the kernel would write is written; strings and buffers that init hands over are
 * read whole, so that a bad pointer is found. Which call fails instead, kernel.h says.
 */
#include <linux/sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "kernel.h"

static const struct { uint32_t mode, major, minor; long magic; } KIND[KINDS] = {
	{ 0040755, 0, 0, 0x9fa0 }, { 0100644, 0, 0, 0x01021994 }, { 0020666, 1, 3, 0x01021994 }, { 0120777, 0, 0, 0xef53 },
	{ 0020620, 136, 0, 0x1cd1 }, { 0020666, 5, 2, 0x1cd1 }, { 0040755, 0, 0, 0x63677270 }, { 0010644, 0, 0, 0x62656572 },
	{ 0100644, 0, 0, 0x9fa0 }, { 0140755, 0, 0, 0xef53 },
};
static const int ERRNOS[] = { 1, 2, 4, 5, 9, 11, 12, 13, 16, 17, 20, 21, 22, 24, 28, 30, 38, 40, 95, 104 };

struct kernel k;
jmp_buf gone;

#ifndef __NR_dup2 /* aarch64 has dup3 alone */
#define __NR_dup2 511
#endif

/* Every call init makes: its name, and where it takes descriptors (a first, b second, c third argument). */
#define CALLS(X) \
	X(capset, "") X(chdir, "") X(chroot, "") X(clock_gettime, "") X(clock_nanosleep, "") X(clone, "") \
	X(clone3, "") X(close, "") X(close_range, "") X(dup2, "a") X(dup3, "a") X(execve, "") X(exit, "") \
	X(exit_group, "") X(faccessat2, "a") X(fchdir, "a") X(fchmod, "a") X(fchmodat, "a") X(fchmodat2, "a") X(fchown, "a") X(fsetxattr, "a") \
	X(fchownat, "a") X(fsconfig, "a") X(fsmount, "a") X(fsopen, "") X(fstatfs, "a") X(getcwd, "") X(getdents64, "a") \
	X(ioctl, "a") X(ioprio_set, "") X(keyctl, "") X(kill, "") X(lseek, "a") X(mkdirat, "a") X(mknodat, "a") X(mmap, "") \
	X(mount, "") X(mount_setattr, "a") X(move_mount, "ac") X(munmap, "") X(nanosleep, "") X(open_tree, "a") X(openat, "a") \
	X(openat2, "a") X(personality, "") X(pivot_root, "") X(ppoll, "") X(prctl, "") X(prlimit64, "") X(read, "a") \
	X(readlinkat, "a") X(recvmsg, "a") X(rt_sigaction, "") X(rt_sigprocmask, "") X(sched_setaffinity, "") \
	X(sched_setattr, "") X(seccomp, "") X(sendmsg, "a") X(set_mempolicy, "") X(setdomainname, "") X(setgroups, "") \
	X(sethostname, "") X(setns, "a") X(setresgid, "") X(setresuid, "") X(setsid, "") X(socket, "") X(statx, "a") \
	X(symlinkat, "b") X(umask, "") X(umount2, "") X(unlinkat, "a") X(unshare, "") X(wait4, "") X(write, "a")

static const struct call { long nr; const char *name, *fds; } TABLE[] = {
#define X(name, fds) { __NR_##name, #name, fds },
	CALLS(X)
#undef X
};

static const struct call *call_of(long nr)
{
	static const struct call *by_nr[512];

	if (!by_nr[__NR_read])
		for (size_t i = 0; i < sizeof TABLE / sizeof *TABLE; i++)
			by_nr[TABLE[i].nr] = &TABLE[i];
	if (nr < 0 || nr >= 512 || !by_nr[nr])
		broken("unknown system call", nr);
	return by_nr[nr];
}

const char *call_name(long nr)
{
	return call_of(nr)->name;
}

void broken(const char *what, long n)
{
	fprintf(stderr, "init: %s %ld (op %u, call %d, kind %d, world %d, fail_at %d with %d)\n", what, n, k.in ? k.in->now : 0,
		k.calls, k.kind, k.world, k.fail_at, k.fail_with);
	abort();
}

static volatile char sink;
static void reads(const void *at, size_t n) { for (size_t i = 0; i < n; i++) sink = ((const char *)at)[i]; }
static void reads_str(long p) { if (p) reads((const char *)p, strlen((const char *)p) + 1); }
static void reads_vec(long p) { for (char **v = (char **)p; *v; v++) reads_str((long)*v); }

static long new_fd(void)
{
	if (k.next_fd >= FDS)
		longjmp(gone, ENDLESS);
	k.open[k.next_fd] = 1;
	return k.next_fd++;
}

static int bad_fd(long fd)
{
	if (fd == AT_FDCWD || (fd >= 0 && fd < FDS && k.open[fd]))
		return 0;
	if (fd >= 0 && k.strict && !k.sealed)
		broken("uses a descriptor that is not open:", fd);
	return 1;
}

static size_t short_of(size_t n) { return k.world == SHORT && n > 1 ? n - 1 : n; }

/* --- files --- */

/* Whether nothing is at `path` yet: as many components are there as have been made. */
static int absent(const char *path)
{
	int components = 0;

	for (const char *at = path; *at; at++)
		if (*at != '/' && (at == path || at[-1] == '/') && strncmp(at, "..", 2) && strcmp(at, "."))
			components++;
	k.asked |= ASKED_WORLD;
	return k.world >= MISSING && k.world <= LOOP && components > k.depth;
}

static long take_readlink(char *to, size_t n)
{
	static const char *const TEXT[] = { "../y", "/z/w", "x" };

	if (k.world == FULL) {
		memset(to, 'x', n);
		return (long)n;
	}
	if (k.world != LOOP && (k.world != LINKS || k.links <= 0) && KIND[k.kind].mode >> 12 != 012)
		return -EINVAL;
	k.links--;
	memcpy(to, TEXT[k.calls % 3], strlen(TEXT[k.calls % 3]));
	return (long)strlen(TEXT[k.calls % 3]);
}

/* passwd(5): 4095 bytes of home are the most that is taken. */
static size_t passwd(const char **text)
{
	static char lines[12000];

	if (!lines[0]) {
		char *at = lines;

		at += sprintf(at, "bad:x:0x:0::/bad:\nempty:x::0::/empty:\nbig:x:99999999999999999999:0::/big:\n");
		at += sprintf(at, "long:x:1000:0::%05000d:/bin/sh\n", 0);
		at += sprintf(at, "root:x:0:0:root:/%04094d:/bin/sh\n", 0);
		sprintf(at, "user:x:5:5::/home/user");
	}
	*text = lines;
	return strlen(lines);
}

/* proc(5): the host's procfs, which is gone the second time, and what is no concern of anybody's. */
static long take_mountinfo(long fd, char *to)
{
	static const char LINES[] = "1 0 0:1 / / rw - rootfs none rw\n2 1 0:2 / /pr\\040oc rw shared:1 master:2 - proc proc rw\n"
				    "3 2 0:3 /x /pr\\040oc/x rw - proc proc rw\n4 1 0:2 / /proc rw - proc proc rw\n5 4 0:4 / /proc rw - tmpfs t rw\n";
	size_t n = k.world == SHORT ? 40 : sizeof LINES - 1;

	if (k.served[fd]++ % 2)
		return 0;
	memcpy(to, LINES, n);
	if (k.tables++ && n > 40)
		memcpy(strstr(to, "proc proc"), "none", 4);
	return (long)n;
}

static long take_read(long fd, char *to, size_t n)
{
	struct record rec = { .seq = k.seq };
	const char *text;
	size_t have = passwd(&text), at = (size_t)k.served[fd] * 4096;

	k.asked |= ASKED_WORLD;
	if (fd == k.in->sync && n == sizeof rec) {
		memcpy(to, &rec, short_of(n));
		return (long)short_of(n);
	}
	if (n == 1)
		return k.world == SHORT ? 0 : (*to = '0', 1);
	memset(to, 0, n); /* all of the buffer must be init's */
	if (n > 65536)
		return take_mountinfo(fd, to);
	if (at >= have)
		return 0;
	k.served[fd]++;
	have = have - at < 4096 ? have - at : 4096;
	have = have < n ? have : n;
	memcpy(to, text + at, have);
	return (long)have;
}

static long take_getdents(long fd, char *to, size_t n)
{
	struct entry { uint64_t ino, off; uint16_t len; uint8_t type; char name[]; };
	size_t at = 0;

	k.asked |= ASKED_WORLD;
	if (k.served[fd]++)
		return 0;
	for (int i = 0; i < (k.world == FULL ? 1000 : 3); i++) {
		struct entry *e = (struct entry *)(to + at);
		size_t name = i < 3 ? (size_t)(i == 2 ? 4 : i + 1) : 255, len = (19 + name + 1 + 7) & ~7ul;

		if (at + len > n)
			break;
		memset(e, 0, len);
		e->ino = 2, e->off = at + len, e->len = (uint16_t)len;
		memset(e->name, i < 2 ? '.' : 'f', name);
		at += len;
	}
	return (long)at;
}

static void take_statx(struct statx *st)
{
	k.asked |= ASKED_KIND;
	memset(st, 0, sizeof *st);
	st->stx_mask = 0xfff;
	st->stx_mode = (uint16_t)KIND[k.kind].mode;
	st->stx_rdev_major = KIND[k.kind].major, st->stx_rdev_minor = KIND[k.kind].minor;
	st->stx_ino = k.kind == 5 ? 2 : 1; /* ptmx */
	st->stx_nlink = 1;
	st->stx_uid = 7;
	st->stx_mnt_id = k.world == FULL ? 1 : k.tables ? 2 : 9; /* all is the container's; what take_mountinfo has; its root */
}

static long take_describe(char *to, size_t n)
{
	k.asked |= ASKED_WORLD;
	memset(to, 'f', n);
	if (k.world == FULL)
		return (long)n + 1000;
	memcpy(to, "keyring;0;0;3f1F0000;_ses", 26);
	return 26;
}

/* --- the conversation --- */

struct iov { void *base; size_t len; };
struct msg { void *name; int namelen; struct iov *iov; size_t iovlen; void *control; size_t controllen; unsigned flags; };
struct cmsg { size_t len; int level, type; int fd[BATCH]; };

/* What init begins with: the plan, which stands behind the socket, and what stands behind that. */
static long take_beginning(struct msg *m)
{
	struct record rec = { 0 };
	struct cmsg c = { .level = 1, .type = 1, .len = 16 + 4 * BATCH };

	for (int i = 0; i < BATCH; i++)
		c.fd[i] = k.in->sync + 1 + k.begun++;
	memcpy(m->iov[0].base, &rec, short_of(sizeof rec));
	memcpy(m->control, &c, sizeof c);
	m->controllen = c.fd[BATCH - 1] < k.next_fd ? sizeof c : 0;
	return (long)short_of(sizeof rec);
}

/* As many descriptors as the op has slots for; one more in a FULL world. */
static long take_recvmsg(struct msg *m)
{
	if (!k.in->role)
		return take_beginning(m);
	struct record rec = { .seq = k.seq };
	struct plan_op *op = &k.in->ops[k.in->now];
	uint32_t n = op->slot[1] == NO_SLOT ? 0 : arg_len(k.in, op->slot[1]) / 4;
	struct cmsg c = { .level = 1, .type = 1 };

	k.asked |= ASKED_WORLD;
	memcpy(m->iov[0].base, &rec, short_of(sizeof rec));
	n += k.world == FULL && n < BATCH;
	if (k.world == SHORT || !n || !m->control || m->controllen < sizeof c) {
		m->controllen = 0;
		return (long)short_of(sizeof rec);
	}
	c.len = 16 + 4 * n;
	for (uint32_t i = 0; i < n; i++)
		c.fd[i] = (int)new_fd();
	memcpy(m->control, &c, sizeof c);
	m->controllen = sizeof c;
	return sizeof rec;
}

static long take_write(long fd, const void *from, size_t n)
{
	struct record rec;

	reads(from, n);
	if (fd != k.in->sync || n != sizeof rec) {
		k.asked |= ASKED_WORLD;
		return (long)short_of(n);
	}
	memcpy(&rec, from, n);
	if (rec.seq == SAY_FAIL && rec.err) /* without an errno it is a SYNC to which a changed plan gave this number */
		k.told = rec, k.fails++;
	k.execs += rec.seq == SAY_EXEC;
	k.seq = rec.seq;
	return (long)n;
}

static long take_clone(struct clone_args *args, size_t n)
{
	reads(args, n);
	k.asked |= ASKED_CHILD;
	return k.child & 2 ? 0 : 4242;
}

struct program { uint16_t len; void *filter; };

static long take_seccomp(const struct program *prog, long flags)
{
	reads(prog->filter, 8u * prog->len);
	return flags & 8 /* NEW_LISTENER */ ? new_fd() : 0;
}

static long take_mmap(long fd, size_t n)
{
	void **at = &k.plan;

	for (int i = 0; fd < 0 && i < AREAS && (i == 0 || *at); i++)
		at = &k.areas[i];

	free(*at);
	*at = calloc(1, n); /* exactly that much */
	if (fd >= 0)
		memcpy(*at, k.image, k.image_size < n ? k.image_size : n);
	return (long)*at;
}

static long take_munmap(void *at)
{
	for (int i = 0; i < AREAS; i++)
		if (k.areas[i] == at) {
			free(at);
			k.areas[i] = 0;
		}
	return 0;
}

static long take_close(long fd)
{
	if (fd < 0 || fd >= FDS)
		return -EBADF;
	if (!k.open[fd] && k.strict && !k.sealed)
		broken("closes a descriptor that is not open:", fd);
	k.open[fd] = k.served[fd] = 0;
	return 0;
}

static long take_close_range(unsigned from, unsigned to, unsigned flags)
{
	for (unsigned fd = from; !flags && fd <= to && fd < FDS; fd++)
		k.open[fd] = 0;
	k.sealed |= !flags;
	return 0;
}

/* What this call shall fail with: 0, or an errno. A failure meant for a call that cannot fail is lost. */
static int verdict(long nr)
{
	int s = 0;

	if (nr == __NR_close || nr == __NR_exit_group)
		return 0;
	if (k.left)
		s = *k.script++, k.left--;
	if (s && s < 128)
		k.kind = s % KINDS, k.world = s / KINDS % WORLDS;
	if (s >= 128)
		return ERRNOS[s % (int)(sizeof ERRNOS / sizeof *ERRNOS)];
	return k.calls == k.fail_at || (k.fail_with == EAGAIN && nr == k.failed_nr) ? k.fail_with : 0;
}

static long answer(long nr, long a, long b, long c, long d, long e)
{
	switch (nr) {
	case __NR_close: return take_close(a);
	case __NR_close_range: return take_close_range((unsigned)a, (unsigned)b, (unsigned)c);
	case __NR_openat: reads_str(b); return new_fd();
	case __NR_openat2: reads_str(b), reads((void *)c, (size_t)d); return absent((char *)b) ? -ENOENT : new_fd();
	case __NR_open_tree: reads_str(b); return new_fd();
	case __NR_fsopen: reads_str(a); return new_fd();
	case __NR_fsmount: case __NR_socket: return new_fd();
	case __NR_dup2: case __NR_dup3: if (b >= 0 && b < FDS) k.open[b] = 1; return b;
	case __NR_lseek: return c == 2 /* SEEK_END */ ? (long)k.image_size : 0;
	case __NR_mmap: return take_mmap(e, (size_t)b);
	case __NR_munmap: return take_munmap((void *)a);
	case __NR_mount: reads_str(a), reads_str(b), reads_str(c), reads_str(e); return 0;
	case __NR_read: return take_read(a, (char *)b, (size_t)c);
	case __NR_write: return take_write(a, (void *)b, (size_t)c);
	case __NR_recvmsg: return take_recvmsg((struct msg *)b);
	case __NR_sendmsg: {
		struct msg *m = (struct msg *)b;
		if (m->control)
			reads(m->control, m->controllen);
		return take_write(a, m->iov[0].base, m->iov[0].len);
	}
	case __NR_statx: reads_str(b); take_statx((struct statx *)e); return 0;
	case __NR_fstatfs:
		k.asked |= ASKED_KIND;
		memset((void *)b, 0, sizeof(struct statfs));
		((struct statfs *)b)->f_type = KIND[k.kind].magic;
		return 0;
	case __NR_readlinkat: reads_str(b); return take_readlink((char *)c, (size_t)d);
	case __NR_getcwd:
		k.asked |= ASKED_WORLD;
		memset((void *)a, k.world == SHORT ? '(' : '/', (size_t)b);
		((char *)a)[k.world == FULL ? b - 1 : 1] = 0;
		return k.world == FULL ? b : 2;
	case __NR_getdents64: return take_getdents(a, (char *)b, (size_t)c);
	case __NR_wait4: 
		k.asked |= ASKED_WORLD;
		if (k.world == LOOP && c /* WNOHANG */)
			return 0;
		*(int *)b = k.world == SHORT ? 9 : k.world == FULL ? 3 << 8 : 0;
		return a;
	case __NR_ppoll: reads((void *)c, 16); return 0;
	case __NR_clone3: return take_clone((void *)a, (size_t)b);
	case __NR_clone: k.asked |= ASKED_CHILD; return a & CLONE_THREAD ? -ENOSYS : k.child & 1 ? 0 : 4242;
	case __NR_clock_gettime: memset((void *)b, 0, 16); *(int64_t *)b = k.seconds += 1 << 24; return 0;
	case __NR_nanosleep: reads((void *)a, 16); return 0;
	case __NR_clock_nanosleep: reads((void *)c, 16); return 0;
	case __NR_execve: reads_str(a), reads_vec(b), reads_vec(c); longjmp(gone, EXECUTED);
	case __NR_ioctl: return b == 0x5441 /* TIOCGPTPEER */ ? new_fd() : 0;
	case __NR_mkdirat: case __NR_mknodat: reads_str(b); k.depth++; return 0;
	case __NR_unlinkat: case __NR_fchmodat: case __NR_fchmodat2: case __NR_faccessat2: case __NR_fchownat:
		reads_str(b); return 0;
	case __NR_mount_setattr: reads_str(b), reads((void *)d, (size_t)e); return 0;
	case __NR_symlinkat: reads_str(a), reads_str(c); return 0;
	case __NR_fsetxattr: reads_str(b), reads((void *)c, (size_t)d); return 0;
	case __NR_chdir: case __NR_chroot: case __NR_umount2: reads_str(a); return 0;
	case __NR_pivot_root: reads_str(a), reads_str(b); return 0;
	case __NR_move_mount: reads_str(b), reads_str(d); return 0;
	case __NR_fsconfig: reads_str(c); if (b == 1 /* SET_STRING */) reads_str(d); return 0;
	case __NR_sethostname: case __NR_setdomainname: reads((void *)a, (size_t)b); return 0;
	case __NR_setgroups: reads((void *)b, 4 * (size_t)a); return 0;
	case __NR_sched_setaffinity: reads((void *)c, (size_t)b); return 0;
	case __NR_prlimit64:
		if (c)
			reads((void *)c, 16);
		if (d)
			memset((void *)d, 1, 16);
		return 0;
	case __NR_capset: reads((void *)a, 8), reads((void *)b, 24); return 0;
	case __NR_set_mempolicy: if (c > 1 + 8 * 4096) return -EINVAL; reads((void *)b, (size_t)(c + 6) / 8); return 0;
	case __NR_seccomp: return take_seccomp((struct program *)c, b);
	case __NR_keyctl:
		if (a == 1 /* JOIN_SESSION_KEYRING */)
			reads_str(b);
		return a == 6 /* DESCRIBE */ ? take_describe((char *)c, (size_t)d) : 7;
	case __NR_umask: return 022;
	case __NR_prctl: return a == 24 /* CAPBSET_DROP */ && b >= 40 ? -EINVAL : 0;
	case __NR_exit: case __NR_exit_group: longjmp(gone, EXITED);
	default: return 0;
	}
}

long sys_call(long nr, long a, long b, long c, long d, long e, long f)
{
	const struct call *call = call_of(nr);
	int err;

	(void)f;
	if (++k.calls > CALLS_MAX)
		longjmp(gone, ENDLESS);
	for (const char *fd = call->fds; *fd; fd++)
		if (bad_fd(*fd == 'a' ? a : *fd == 'b' ? b : c)) {
			k.deaf |= nr == __NR_write && a == k.in->sync; /* a changed plan has closed it; strict has ended the test */
			return -EBADF;
		}
	err = verdict(nr);
	if (!err)
		return answer(nr, a, b, c, d, e);
	k.failed_nr = nr, k.failed_op = k.in->now;
	k.deaf |= nr == __NR_write && a == k.in->sync;
	return -err;
}

/* As the supervisor leaves it: stdio and more up to `base`, the sync socket, the plan, `nslots` descriptors. */
void kernel_reset(struct init *in, int base, int nslots)
{
	free(k.plan);
	for (int i = 0; i < AREAS; i++)
		free(k.areas[i]);
	memset(&k, 0, sizeof k);
	k.in = in;
	k.failed_nr = -1;
	k.links = 3;
	k.next_fd = base + 2 + nslots;
	memset(k.open, 1, (size_t)k.next_fd);
}
