/* Phase `cred`: what the process may do. Which op comes before which is the compiler's (pyrunc/plan/security.py). */
#include <linux/capability.h>
#include <linux/close_range.h>
#include <linux/prctl.h>
#include <linux/securebits.h>
#include <linux/seccomp.h>
#include "init.h"

int op_SCHED(struct init *in, struct plan_op *op)
{
	return (int)SYS3(__NR_sched_setattr, 0, arg_blob(in, op->arg[0]), 0);
}

int op_IOPRIO(struct init *in, struct plan_op *op)
{
	(void)in;
	return (int)SYS3(__NR_ioprio_set, 1 /* IOPRIO_WHO_PROCESS */, 0, op->arg[0]);
}

int op_PERSONALITY(struct init *in, struct plan_op *op)
{
	(void)in;
	return (int)SYS1(__NR_personality, op->arg[0]);
}

int op_MEMPOLICY(struct init *in, struct plan_op *op)
{
	uint32_t len = arg_len(in, op->arg[1]);

	mem_zero(in->buf, sizeof in->buf);
	mem_copy(in->buf, arg_blob(in, op->arg[1]), len > sizeof in->buf ? sizeof in->buf : len);
	/* maxnode counts one more than the bits, set_mempolicy(2) BUGS */
	return (int)SYS3(__NR_set_mempolicy, op->arg[0], len ? in->buf : 0, len ? len * 8 + 1 : 0);
}

int op_AFFINITY(struct init *in, struct plan_op *op)
{
	return (int)SYS3(__NR_sched_setaffinity, 0, arg_len(in, op->arg[0]), arg_blob(in, op->arg[0]));
}

int op_NNP(struct init *in, struct plan_op *op)
{
	(void)in, (void)op;
	return (int)SYS5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/*
 * CHDIR is tried before the user changes (a volume may be root's only) and again after (a home may be the user's only);
 * a success is final. Magic links are refused, so /proc/self/fd/N cannot be a working directory (CVE-2024-21626).
 */
int op_CHDIR(struct init *in, struct plan_op *op)
{
	int fd, ret;

	if (in->cwd_done)
		return 0;
	in->step = STEP_OPEN;
	fd = open_in(slot(in, op, 0), arg_str(in, op->arg[0]), O_PATH | O_DIRECTORY, ROOT_RESOLVE);
	if (fd < 0)
		return fd;
	in->step = STEP_CHDIR;
	ret = (int)SYS1(__NR_fchdir, fd);
	close_fd(fd);
	in->cwd_done = ret == 0;
	return ret;
}

/* VERIFY_CWD: the raw call says "(unreachable)/..." when the directory lies outside the root; libc hides that. */
int op_VERIFY_CWD(struct init *in, struct plan_op *op)
{
	long n = SYS2(__NR_getcwd, in->buf, sizeof in->buf);

	(void)op;
	if (n < 0)
		return (int)n;
	in->step = STEP_VERIFY;
	return in->buf[0] == '/' ? 0 : -EXDEV;
}

/* --- HOME: the home directory of a uid, from the container's own /etc/passwd --- */

struct passwd {
	uint32_t field, uid;
	uint8_t bad, empty;
	uint32_t len;
};

/* One byte of passwd(5). Returns 1 when a line with the uid has ended; its home then stands in `home`. */
static int passwd_byte(struct passwd *p, char c, uint32_t uid, char *home, uint32_t size)
{
	int hit = 0;

	if (c == '\n') {
		hit = p->field >= 5 && !p->bad && !p->empty && p->uid == uid && p->len > 0 && p->len < size;
		if (hit)
			home[p->len] = 0;
		*p = (struct passwd){ .empty = 1 };
		return hit;
	}
	if (c == ':') {
		p->field++;
	} else if (p->field == 2) { /* the uid column, ASCII digits only; a name "1000" is not uid 1000 (CVE-2016-3697) */
		p->empty = 0;
		if (c < '0' || c > '9' || p->uid > (UINT32_MAX - 9) / 10)
			p->bad = 1;
		else
			p->uid = p->uid * 10 + (uint32_t)(c - '0');
	} else if (p->field == 5) {
		if (p->len < size)
			home[p->len] = c;
		p->len++;
	}
	return 0;
}

static int find_home(struct init *in, int fd, uint32_t uid)
{
	struct passwd p = { .empty = 1 };
	char *home = in->home + 5;
	long n, i, total = 0;

	while ((n = SYS3(__NR_read, fd, in->buf, sizeof in->buf)) > 0 && total < 16 << 20) {
		for (i = 0; i < n; i++)
			if (passwd_byte(&p, (char)in->buf[i], uid, home, 4096))
				return 1;
		total += n;
	}
	return passwd_byte(&p, '\n', uid, home, 4096);
}

int op_HOME(struct init *in, struct plan_op *op)
{
	int fd = open_in(slot(in, op, 0), "etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, ROOT_RESOLVE), found = 0;

	if (fd >= 0) {
		if (is_type(fd, S_IFREG) == 1)
			found = find_home(in, fd, op->arg[0]);
		close_fd(fd);
	}
	mem_copy(in->home, "HOME=", 5);
	if (!found)
		mem_copy(in->home + 5, "/", 2);
	return 0;
}

/* BOUND: drop every capability of the bounding set that is not kept, up to the last this kernel knows (EINVAL). */
int op_BOUND(struct init *in, struct plan_op *op)
{
	uint64_t keep = arg_u64(op->arg);
	int cap, ret;

	(void)in;
	for (cap = 0; cap < 64; cap++) {
		if (keep >> cap & 1)
			continue;
		ret = (int)SYS5(__NR_prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (ret == -EINVAL)
			return 0;
		if (ret == -EPERM && SYS5(__NR_prctl, PR_CAPBSET_READ, cap, 0, 0, 0) == 0)
			continue; /* not there to be dropped */
		if (ret < 0)
			return ret;
	}
	return 0;
}

/* RLIMIT: only ever lowers; raising was the supervisor's. NOFILE is set here, last, when nothing more is to be opened. */
int op_RLIMIT(struct init *in, struct plan_op *op)
{
	uint64_t limit[2] = { arg_u64(op->arg + 1), arg_u64(op->arg + 3) };

	(void)in;
	return (int)SYS4(__NR_prlimit64, 0, op->arg[0], limit, 0);
}

int op_KEEPCAPS(struct init *in, struct plan_op *op)
{
	(void)in, (void)op;
	return (int)SYS5(__NR_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
}

int op_SETGROUPS(struct init *in, struct plan_op *op)
{
	return (int)SYS2(__NR_setgroups, arg_len(in, op->arg[0]) / 4, arg_blob(in, op->arg[0]));
}

int op_SETID(struct init *in, struct plan_op *op)
{
	int ret = (int)SYS3(__NR_setresgid, op->arg[1], op->arg[1], op->arg[1]);

	(void)in;
	return ret < 0 ? ret : (int)SYS3(__NR_setresuid, op->arg[0], op->arg[0], op->arg[0]);
}

/* CAPS: effective, permitted, inheritable as 64-bit masks in this order. */
int op_CAPS(struct init *in, struct plan_op *op)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];
	uint8_t *at = arg_blob(in, op->arg[0]);
	uint32_t word[6];
	int i;

	if (arg_len(in, op->arg[0]) != sizeof word)
		return -EINVAL;
	mem_copy(word, at, sizeof word);
	for (i = 0; i < 2; i++)
		data[i] = (struct __user_cap_data_struct){ word[i], word[2 + i], word[4 + i] };
	return (int)SYS2(__NR_capset, &head, data);
}

/* AMBIENT: cleared, then what is asked; EINVAL is a kernel without it, EPERM one it may not raise: runc warns, no more. */
int op_AMBIENT(struct init *in, struct plan_op *op)
{
	uint64_t caps = arg_u64(op->arg);
	int cap, ret = (int)SYS5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);

	(void)in;
	if (ret < 0)
		return ret == -EINVAL ? 0 : ret;
	for (cap = 0; cap < 64; cap++)
		if (caps >> cap & 1)
			SYS5(__NR_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	return 0;
}

/* What execve would say of `path`: 0 when it is a regular file this process may execute. */
static int executable(struct init *in, int root, const char *path)
{
	int fd, ret;

	fd = *path == '/' ? open_in(root, path, O_PATH, ROOT_RESOLVE) : open_in(AT_FDCWD, path, O_PATH, RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fd;
	ret = is_type(fd, S_IFREG);
	if (ret == 1)
		ret = (int)SYS4(__NR_faccessat2, fd, "", 1 /* X_OK */, AT_EMPTY_PATH | AT_EACCESS);
	else if (ret == 0)
		ret = is_type(fd, S_IFDIR) == 1 ? -EISDIR : -EACCES;
	close_fd(fd);
	(void)in;
	return ret;
}

/* LOOKUP: the first candidate that can be executed. EACCES of an earlier one is what is reported if none can. */
int op_LOOKUP(struct init *in, struct plan_op *op)
{
	char **candidate = arg_vec(in, op->arg[0]);
	int worst = -ENOENT, ret;

	in->step = STEP_NOTFOUND;
	for (; *candidate; candidate++) {
		ret = executable(in, slot(in, op, 0), *candidate);
		if (ret == 0) {
			in->exec_path = *candidate;
			return 0;
		}
		if (!candidate[1] && worst == -ENOENT)
			worst = ret; /* the only one, or the last of a PATH on which nothing else was */
		else if (ret != -ENOENT && ret != -ENOTDIR && worst == -ENOENT)
			worst = ret;
	}
	return worst;
}

/* SEAL: everything from `first` on is closed but three descriptors, all of them pipes or sockets, all of them CLOEXEC. */
int op_SEAL(struct init *in, struct plan_op *op)
{
	int keep[4] = { in->sync, -1, -1, -1 }, i, ret = 0;
	uint32_t from = op->arg[0];

	for (i = 0; i < 3; i++)
		if (op->slot[i] != NO_SLOT)
			keep[i + 1] = slot(in, op, i);
	for (;;) {
		uint32_t next = ~0u;

		for (i = 0; i < 4; i++)
			if (keep[i] >= 0 && (uint32_t)keep[i] >= from && (uint32_t)keep[i] < next)
				next = (uint32_t)keep[i];
		if (next > from)
			ret = (int)SYS3(__NR_close_range, from, next == ~0u ? next : next - 1, 0);
		if (ret < 0 || next == ~0u)
			return ret;
		from = next + 1;
	}
}

int op_SECCOMP(struct init *in, struct plan_op *op)
{
	struct {
		uint16_t len;
		void *filter;
	} prog;
	int ret;

	prog.len = (uint16_t)(arg_len(in, op->arg[0]) / 8);
	prog.filter = arg_blob(in, op->arg[0]);
	if (op->arg[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER)
		start_courier(in);
	ret = (int)SYS3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, op->arg[1], &prog);
	if (ret >= 0 && (op->arg[1] & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		produce(in, op, 0, ret);
	return ret;
}
