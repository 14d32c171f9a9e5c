/* The conversation with the supervisor, the gate, hooks, and the last op of all. */
#include <linux/sched.h>
#include <linux/time_types.h>
#include <linux/wait.h>
#include "init.h"

struct iov { void *base; size_t len; };
struct msg { void *name; int namelen; struct iov *iov; size_t iovlen; void *control; size_t controllen; unsigned flags; };
struct cmsg { size_t len; int level, type; int fd[BATCH]; };

#define SOL_SOCKET       1
#define SCM_RIGHTS       1
#define MSG_CMSG_CLOEXEC 0x40000000
#define MSG_NOSIGNAL     0x4000

static int send_with(struct init *in, struct record *rec, int fd)
{
	struct iov iov = { rec, sizeof *rec };
	struct cmsg cmsg = { .len = offsetof(struct cmsg, fd) + sizeof(int), .level = SOL_SOCKET, .type = SCM_RIGHTS };
	struct msg msg = { .iov = &iov, .iovlen = 1 };

	if (fd >= 0) {
		cmsg.fd[0] = fd;
		msg.control = &cmsg;
		msg.controllen = (sizeof(size_t) + 2 * sizeof(int) + sizeof(int) + 7) & ~7ul;
	}
	return (int)SYS3(__NR_sendmsg, in->sync, &msg, MSG_NOSIGNAL);
}

/* A record of the supervisor's with this seq; the descriptors that came with it. Returns their number. */
int receive(struct init *in, uint32_t seq, int fds[BATCH])
{
	struct record rec = { 0 };
	struct iov iov = { &rec, sizeof rec };
	struct cmsg cmsg = { 0 };
	struct msg msg = { .iov = &iov, .iovlen = 1, .control = &cmsg, .controllen = sizeof cmsg };
	long n;
	int got;

	do
		n = SYS3(__NR_recvmsg, in->sync, &msg, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	if (n != sizeof rec || rec.seq != seq)
		return n < 0 ? (int)n : -ECONNRESET;
	got = msg.controllen && cmsg.type == SCM_RIGHTS ? (int)((cmsg.len - offsetof(struct cmsg, fd)) / sizeof(int)) : 0;
	mem_copy(fds, cmsg.fd, (uint64_t)got * sizeof *fds);
	return rec.err ? rec.err : got;
}

/* The answer: the same seq, err 0, and a descriptor for each slot that the op fills. */
static int receive_slots(struct init *in, struct plan_op *op, uint32_t seq)
{
	const uint32_t *numbers = 0;
	int fds[BATCH], i, got, want = 0;

	if (op->slot[1] != NO_SLOT) {
		numbers = (uint32_t *)arg_blob(in, op->slot[1]);
		want = (int)(arg_len(in, op->slot[1]) / sizeof *numbers);
	}
	got = receive(in, seq, fds);
	for (i = 0; i < got && i < want; i++)
		in->slot[numbers[i]] = fds[i];
	for (; i < got; i++)
		close_fd(fds[i]);
	return got < 0 ? got : got == want ? 0 : -ECONNRESET;
}

/* The answer without descriptors. */
static int await_answer(struct init *in, struct plan_op *op)
{
	struct record rec;
	long n;

	in->step = STEP_READ;
	do
		n = SYS3(__NR_read, in->sync, &rec, sizeof rec);
	while (n == -EINTR);
	return n < 0 ? (int)n : n != sizeof rec || rec.seq != op->arg[0] ? -ECONNRESET : rec.err;
}

/*
 * The courier: a thread of ours, made before the filter and so free of it. The listener of a filter leaves init by
 * sendmsg(2); a filter that asks its agent about that call would hold init before the agent can hear of it.
 */
static void courier(void *arg)
{
	struct init *in = arg;
	struct __kernel_timespec time = { .tv_nsec = 20000 };
	int fd, ret;

	while ((fd = __atomic_load_n(&in->courier.fd, __ATOMIC_ACQUIRE)) < 0)
		SYS2(__NR_nanosleep, &time, 0);
	ret = send_with(in, &in->courier.rec, fd);
	if (ret < 0)
		say(in, SAY_FAIL, ret);
	for (;;)
		SYS1(__NR_exit, 0);
}

/* Where there can be no thread (a pids limit of one), init sends for itself. */
void start_courier(struct init *in)
{
	in->courier.fd = -1;
	in->courier.up = born(CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM, in->stack[1],
			      courier, in) > 0;
}

/* SYNC: "I am here"; the supervisor does what *its* plan says for this number and answers. With nothing to hand over
 * or receive it is one write and one read, which is all a seccomp filter may have left us. */
int op_SYNC(struct init *in, struct plan_op *op)
{
	struct record rec = { .seq = op->arg[0], .op = in->now };
	int fd = op->slot[0] == NO_SLOT ? -1 : slot(in, op, 0);
	long n;

	if (fd < 0 && op->slot[1] == NO_SLOT) {
		in->step = STEP_WRITE;
		n = SYS3(__NR_write, in->sync, &rec, sizeof rec);
		return n == sizeof rec ? await_answer(in, op) : n < 0 ? (int)n : -EIO;
	}
	in->step = STEP_WRITE;
	if (in->courier.up) {
		in->courier.rec = rec;
		__atomic_store_n(&in->courier.fd, fd, __ATOMIC_RELEASE);
		in->courier.up = 0;
		return await_answer(in, op);
	}
	n = send_with(in, &rec, fd);
	if (n < 0)
		return (int)n;
	in->step = STEP_READ;
	return receive_slots(in, op, op->arg[0]);
}

/*
 * GATE: the container is "created"; init waits for one byte on a fifo that it holds open both ways, so the read blocks
 * for ever and the supervisor can be long gone. From here errors go to the status fifo, whose other end `start` reads.
 */
int op_GATE(struct init *in, struct plan_op *op)
{
	char byte;
	long n;

	if (in->head->status != NO_SLOT) {
		close_fd(in->sync);
		in->sync = in->slot[in->head->status];
	}
	in->step = STEP_READ;
	do
		n = SYS3(__NR_read, slot(in, op, 0), &byte, 1);
	while (n == -EINTR);
	return n < 0 ? (int)n : n == 1 ? 0 : -ECONNRESET;
}

/* What HOME has found, behind the environment's last entry: the vec has room for one more, see place_vecs. */
static void add_home(struct init *in, char **env)
{
	while (*env)
		env++;
	if (in->home[0])
		*env = in->home;
}

/* --- HOOK --- */

struct hook { struct init *in; struct plan_op *op; int error; };

static long put_on(int fd, int std)
{
	long ret = SYS3(__NR_dup3, fd, std, 0);

#ifdef __NR_dup2 /* a filter may know the older one only */
	if (ret < 0)
		ret = SYS2(__NR_dup2, fd, std);
#endif
	return ret;
}

/* stdin: the state, from its start for every hook; output goes where the supervisor can read it afterwards. */
static long hook_stdio(struct init *in, struct plan_op *op)
{
	long ret = SYS3(__NR_lseek, slot(in, op, 1), 0, 0);
	int i;

	for (i = 0; i < 3 && ret >= 0; i++)
		if (op->slot[i + 1] != NO_SLOT)
			ret = put_on(slot(in, op, i + 1), i);
	return ret;
}

static void hook_child(void *arg)
{
	struct hook *hook = arg;
	struct init *in = hook->in;
	struct plan_op *op = hook->op;
	char **env = arg_vec(in, op->arg[2]);
	long ret = hook_stdio(in, op);
	int fd;

	for (fd = 3; fd < in->base; fd++) /* preserved descriptors are the process's, not a hook's */
		close_fd(fd);
	if (op->arg[4])
		add_home(in, env);
	if (ret >= 0 && op->slot[0] != NO_SLOT)
		ret = SYS1(__NR_fchdir, slot(in, op, 0));
	if (ret >= 0)
		ret = SYS3(__NR_execve, arg_str(in, op->arg[0]), arg_vec(in, op->arg[1]), env);
	hook->error = (int)ret;
	die(127);
}

/* 5 ms, by the first call of those that sleep which the filter allows. Without any, we spin until the time is up. */
static void nap(void)
{
	struct __kernel_timespec time = { .tv_nsec = 5000000 };

	if (SYS2(__NR_nanosleep, &time, 0) < 0 && SYS4(__NR_clock_nanosleep, 1 /* CLOCK_MONOTONIC */, 0, &time, 0) < 0)
		SYS5(__NR_ppoll, 0, 0, &time, 0, 8);
}

/* The hook's status when it ends within `seconds`: 1. 0 when it does not, -errno. */
static int ended_in_time(int pid, int *status, uint32_t seconds)
{
	struct __kernel_timespec start, now;
	long n, ret = SYS2(__NR_clock_gettime, 1 /* CLOCK_MONOTONIC */, &start);

	while (ret == 0) {
		n = SYS4(__NR_wait4, pid, status, WNOHANG, 0);
		if (n && n != -EINTR)
			return n < 0 ? (int)n : 1;
		ret = SYS2(__NR_clock_gettime, 1, &now);
		if (ret == 0 && (now.tv_sec - start.tv_sec) * 1000000000 + now.tv_nsec - start.tv_nsec >= seconds * 1000000000ll)
			return 0;
		nap();
	}
	return (int)ret;
}

static int hook_wait(struct init *in, int pid, uint32_t seconds)
{
	int status = 0, ret = seconds ? ended_in_time(pid, &status, seconds) : 0;
	long n;

	in->step = STEP_FORK;
	if (ret < 0 || (seconds && ret == 0)) {
		in->step = ret < 0 ? STEP_FORK : STEP_TIMEOUT;
		ret = ret < 0 ? ret : -ETIMEDOUT;
		if (SYS2(__NR_kill, pid, SIGKILL) < 0) /* our own end is near, which in a pid namespace of ours is its end too */
			return ret;
	}
	do
		n = ret > 0 ? pid : SYS4(__NR_wait4, pid, &status, 0, 0);
	while (n == -EINTR);
	if (ret < 0)
		return ret;
	if (n < 0 || status == 0)
		return n < 0 ? (int)n : 0;
	in->step = status & 0x7f ? STEP_SIGNALLED : STEP_EXIT;
	return -(status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
}

/*
 * HOOK: createContainer (before the root changes) and startContainer (after the gate, as the process itself). The latter
 * runs under the container's filter: so it is started and waited for by calls that old libcs make, and the child, which
 * holds us until it has become the hook or has ended, says through our memory why it has not.
 */
int op_HOOK(struct init *in, struct plan_op *op)
{
	struct hook hook = { in, op, 0 };
	int ret;
	long pid;

	in->step = STEP_FORK;
	pid = born(CLONE_VM | CLONE_VFORK | SIGCHLD, in->stack[0], hook_child, &hook);
	if (pid < 0)
		return (int)pid;
	ret = hook_wait(in, (int)pid, op->arg[3]);
	if (hook.error) {
		in->step = STEP_EXEC;
		return hook.error;
	}
	return ret;
}

/*
 * EXEC: say so first, because then an end of file on the status descriptor means success: execve closes it (CLOEXEC).
 * Everything else that is open is stdio or preserved on purpose (SEAL).
 */
int op_EXEC(struct init *in, struct plan_op *op)
{
	char **argv = arg_vec(in, op->arg[0]), **envp = arg_vec(in, op->arg[1]);

	say(in, SAY_EXEC, 0);
	add_home(in, envp);
	in->step = STEP_EXEC;
	return (int)SYS3(__NR_execve, in->exec_path, argv, envp);
}
