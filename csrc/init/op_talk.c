/* The conversation with the supervisor, the gate, hooks, and the last op of all. */
#include <linux/close_range.h>
#include <linux/poll.h>
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

/* The answer: the same seq, err 0, and a descriptor for each slot of `got`. */
static int receive(struct init *in, struct plan_op *op, uint32_t seq)
{
	struct record rec = { 0 };
	struct iov iov = { &rec, sizeof rec };
	struct cmsg cmsg = { 0 };
	struct msg msg = { .iov = &iov, .iovlen = 1, .control = &cmsg, .controllen = sizeof cmsg };
	const uint32_t *numbers = 0;
	long n;
	int i, got, want = 0;

	if (op->slot[1] != NO_SLOT) {
		numbers = (uint32_t *)arg_blob(in, op->slot[1]);
		want = (int)(arg_len(in, op->slot[1]) / sizeof *numbers);
	}
	do
		n = SYS3(__NR_recvmsg, in->sync, &msg, MSG_CMSG_CLOEXEC);
	while (n == -EINTR);
	if (n != sizeof rec || rec.seq != seq)
		return n < 0 ? (int)n : -ECONNRESET;
	got = msg.controllen && cmsg.type == SCM_RIGHTS ? (int)((cmsg.len - offsetof(struct cmsg, fd)) / sizeof(int)) : 0;
	for (i = 0; i < got && i < want; i++)
		in->slot[numbers[i]] = cmsg.fd[i];
	for (; i < got; i++)
		close_fd(cmsg.fd[i]);
	return rec.err ? rec.err : got == want ? 0 : -ECONNRESET;
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
		if (n != sizeof rec)
			return n < 0 ? (int)n : -EIO;
		in->step = STEP_READ;
		do
			n = SYS3(__NR_read, in->sync, &rec, sizeof rec);
		while (n == -EINTR);
		return n < 0 ? (int)n : n != sizeof rec || rec.seq != op->arg[0] ? -ECONNRESET : rec.err;
	}
	in->step = STEP_WRITE;
	n = send_with(in, &rec, fd);
	if (n < 0)
		return (int)n;
	in->step = STEP_READ;
	return receive(in, op, op->arg[0]);
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

/* --- HOOK --- */

static void hook_child(struct init *in, struct plan_op *op, int *pipe)
{
	int state = slot(in, op, 1), ret = 0;

	/* stdin: the state, from its start for every hook; output goes where the supervisor can read it afterwards */
	SYS3(__NR_lseek, state, 0, 0);
	SYS3(__NR_dup3, state, 0, 0);
	if (op->slot[2] != NO_SLOT)
		SYS3(__NR_dup3, slot(in, op, 2), 1, 0);
	if (op->slot[3] != NO_SLOT)
		SYS3(__NR_dup3, slot(in, op, 3), 2, 0);
	SYS3(__NR_close_range, 3, ~0u, CLOSE_RANGE_CLOEXEC); /* what the caller preserves is the process's, not a hook's */
	if (op->slot[0] != NO_SLOT)
		ret = (int)SYS1(__NR_fchdir, slot(in, op, 0));
	if (ret == 0)
		ret = (int)SYS3(__NR_execve, arg_str(in, op->arg[0]), arg_vec(in, op->arg[1]), arg_vec(in, op->arg[2]));
	SYS3(__NR_write, pipe[1], &ret, sizeof ret);
	for (;;)
		SYS1(__NR_exit_group, 127);
}

static int hook_wait(struct init *in, int pid, int pidfd, uint32_t seconds)
{
	struct __kernel_timespec limit = { .tv_sec = seconds };
	struct pollfd poll = { .fd = pidfd, .events = POLLIN };
	int status = 0, timed_out = 0;
	long n;

	do
		n = SYS5(__NR_ppoll, &poll, 1, seconds ? &limit : 0, 0, 8);
	while (n == -EINTR);
	if (n == 0) {
		timed_out = 1;
		SYS4(__NR_pidfd_send_signal, pidfd, SIGKILL, 0, 0);
	}
	do
		n = SYS4(__NR_wait4, pid, &status, 0, 0);
	while (n == -EINTR);
	if (timed_out) {
		in->step = STEP_TIMEOUT;
		return -ETIMEDOUT;
	}
	if (status == 0)
		return 0;
	in->step = status & 0x7f ? STEP_SIGNALLED : STEP_EXIT;
	return -(status & 0x7f ? status & 0x7f : status >> 8 & 0xff);
}

/* HOOK: createContainer (before the root changes) and startContainer (after the gate, as the process itself). */
int op_HOOK(struct init *in, struct plan_op *op)
{
	int pipe[2], pidfd = -1, ret, failed = 0;
	struct clone_args args = { .flags = CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD };
	long pid;

	in->step = STEP_FORK;
	ret = (int)SYS2(__NR_pipe2, pipe, O_CLOEXEC);
	if (ret < 0)
		return ret;
	pid = SYS2(__NR_clone3, &args, CLONE_ARGS_SIZE_VER0);
	if (pid == 0)
		hook_child(in, op, pipe);
	close_fd(pipe[1]);
	if (pid < 0) {
		close_fd(pipe[0]);
		return (int)pid;
	}
	SYS3(__NR_read, pipe[0], &failed, sizeof failed);
	close_fd(pipe[0]);
	ret = hook_wait(in, (int)pid, pidfd, op->arg[3]);
	close_fd(pidfd);
	if (failed) {
		in->step = STEP_EXEC;
		return failed;
	}
	return ret;
}

/*
 * EXEC: say so first, because then an end of file on the status descriptor means success: execve closes it (CLOEXEC).
 * Everything else that is open is stdio or preserved on purpose (SEAL).
 */
int op_EXEC(struct init *in, struct plan_op *op)
{
	char **argv = arg_vec(in, op->arg[0]), **envp = arg_vec(in, op->arg[1]), **end = envp;

	say(in, SAY_EXEC, 0);
	if (in->home[0]) {
		while (*end)
			end++;
		end[0] = in->home; /* the vec has room for one more, see place_vecs */
	}
	in->step = STEP_EXEC;
	return (int)SYS3(__NR_execve, in->exec_path, argv, envp);
}
