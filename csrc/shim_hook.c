/*
 * Run one program of the host to its end, without Python between fork and exec.
 *
 * What subprocess would do, minus its 20 ms of import, its Python in the child and its habit of handing down what the
 * interpreter ignores (SIGPIPE, SIGXFSZ). The child gets exactly argv, envp, cwd, three fds and
 * default signals. The GIL is released meanwhile; nothing here may call back into Python.
 *
 * stdin is a memfd (any length, no writer to serve, a hook that never reads it costs nothing). stdout and stderr are
 * pipes, of which the last 4 KiB are kept: memory stays bounded however much a hook prints, and unlike with a memfd
 * `echo >/dev/stderr` (O_TRUNC) doesn't wipe what was written before. We listen until the hook itself is dead, not
 * until its pipes are closed: a daemon it left behind can't hold us up (it holds up runc, which waits for EOF).
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "native_hook.h"

enum { STEP_EXEC = 0, STEP_CHDIR = 1 };

/* One captured stream: the read end, and where its tail goes. */
struct stream {
	int fd;
	int cap;
	char *kept;
	int *len;
	long long *total;
};

/* What the child needs, prepared by the parent, and what it has to say, which the parent reads: they share memory. */
struct child {
	const char *path;
	char *const *argv;
	char *const *envp;
	const char *cwd;
	int in, out, err;
	int step, error;
};

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int sigchld_default(void)
{
	struct sigaction action;
	if (sigaction(SIGCHLD, NULL, &action) < 0)
		return -errno;
	if (action.sa_handler != SIG_IGN && !(action.sa_flags & SA_NOCLDWAIT))
		return 0;
	memset(&action, 0, sizeof(action));
	action.sa_handler = SIG_DFL;
	return sigaction(SIGCHLD, &action, NULL) < 0 ? -errno : 0;
}

/*
 * --- the child: only system calls ---
 *
 * CLONE_VM, because copying Python's page tables and the faults afterwards cost more than all the rest. So it runs on a
 * stack of its own (CLONE_VM without one corrupts the parent), and CLONE_VFORK holds the parent until it has become the
 * program or has ended: what it wrote to struct child is there then. Signal handlers and descriptors are copies.
 */

/* Every disposition to default, raw: SIG_IGN survives execve, and glibc keeps 32 and 33 to itself. */
static void reset_signals(void)
{
	static const char zero[64]; /* struct kernel_sigaction with SIG_DFL, however long it is here */
	static const uint64_t none;
	for (int number = 1; number <= 64; number++)
		syscall(SYS_rt_sigaction, number, zero, NULL, sizeof(none)); /* SIGKILL and SIGSTOP: EINVAL, fine */
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* Move an fd out of the way of 0 to 2, where the child's final table goes. */
static int lift(int *fd)
{
	if (*fd < 0 || *fd > 2)
		return 0;
	*fd = fcntl(*fd, F_DUPFD_CLOEXEC, 3);
	return *fd < 0 ? -1 : 0;
}

static int arrange_fds(struct child *c)
{
	if (lift(&c->in) || lift(&c->out) || lift(&c->err))
		return -1;
	if (c->in >= 0 && dup2(c->in, 0) < 0)
		return -1;
	if (dup2(c->out, 1) < 0 || dup2(c->err, 2) < 0)
		return -1;
	return (int)syscall(SYS_close_range, 3U, ~0U, 0U);
}

static int run_child(void *arg)
{
	struct child *c = arg;
	reset_signals();
	if (arrange_fds(c) == 0) {
		if (c->cwd && chdir(c->cwd) < 0)
			c->step = STEP_CHDIR;
		else
			execve(c->path, c->argv, c->envp);
	}
	c->error = errno;
	_exit(127);
}

/* --- the parent -------------------------------------------------------------------------------------------------- */

/*
 * Start it; all signals are blocked meanwhile, for none of Python's handlers may run in the child before it has reset
 * them. Returns the pid, or -errno with c->step telling where.
 */
static int spawn(struct child *c, int *pidfd)
{
	_Alignas(16) char stack[16384];
	uint64_t all = ~0ULL, before = 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof(all));
	int pid = clone(run_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, c, pidfd);
	if (pid < 0)
		c->error = errno;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof(before));
	return pid;
}

static int reap(int pid, int *wstatus)
{
	while (waitpid(pid, wstatus, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* Keep the last `cap` bytes of what was written. */
static void keep(struct stream *s, const char *data, int n)
{
	int drop = *s->len + n - s->cap;
	*s->total += n;
	if (n >= s->cap) {
		memcpy(s->kept, data + n - s->cap, (size_t)s->cap);
		*s->len = s->cap;
		return;
	}
	if (drop > 0) {
		memmove(s->kept, s->kept + drop, (size_t)(*s->len - drop));
		*s->len -= drop;
	}
	memcpy(s->kept + *s->len, data, (size_t)n);
	*s->len += n;
}

/* Read what is there, at most `reads` times; at EOF stop listening. */
static void listen_to(struct stream *s, int reads)
{
	char data[4096];
	while (s->fd >= 0 && reads-- > 0) {
		ssize_t n = read(s->fd, data, sizeof(data));
		if (n > 0)
			keep(s, data, (int)n);
		else if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		else
			close_fd(&s->fd);
	}
}

static int64_t now_ms(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* How long poll(2) may wait: -1 for ever, 0 the time is up. */
static int left_ms(int64_t deadline)
{
	if (deadline < 0)
		return -1;
	int64_t left = deadline - now_ms();
	return left <= 0 ? 0 : left > 60000 ? 60000 : (int)left;
}

/*
 * Listen until the hook is dead; 1 if we had to kill it. Only the hook is killed, as runc does: a process group of its
 * own, which would allow killing its children too, makes it a background job of the caller's terminal (SIGTTOU where
 * it sets a mode, no ^C for it).
 */
static int follow(int pidfd, struct stream streams[2], uint32_t timeout_seconds)
{
	int64_t deadline = timeout_seconds > 0 ? now_ms() + (int64_t)timeout_seconds * 1000 : -1;
	int killed = 0;
	for (;;) {
		struct pollfd watch[3] = {
			{ .fd = pidfd, .events = POLLIN },
			{ .fd = streams[0].fd, .events = POLLIN },
			{ .fd = streams[1].fd, .events = POLLIN },
		};
		int left = left_ms(deadline);
		int n = poll(watch, 3, left);
		if (n < 0 && errno != EINTR) { /* ENOMEM: stop watching, but never leave it running */
			syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0U);
			return killed;
		}
		if (n > 0) {
			listen_to(&streams[0], 1);
			listen_to(&streams[1], 1);
			if (watch[0].revents)
				return killed;
		}
		if (left == 0 && !killed) { /* not n == 0: a hook that prints without end has its time too */
			syscall(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0U);
			killed = 1;
			deadline = -1;
		}
	}
}

static int read_end(const int pipe_fds[2])
{
	return fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);
}

int hook_run(const char *path, char *const argv[], char *const envp[], int stdin_fd, const char *cwd, uint32_t timeout_seconds,
	     struct hook_report *r)
{
	int out[2] = { -1, -1 }, err[2] = { -1, -1 }, pidfd = -1, pid, result;
	memset(r, 0, sizeof(*r));
	result = sigchld_default();
	if (result < 0)
		return result;
	if (pipe2(out, O_CLOEXEC) < 0 || pipe2(err, O_CLOEXEC) < 0 || read_end(out) < 0 || read_end(err) < 0) {
		result = -errno;
		goto done;
	}
	struct child child = { path, argv, envp, cwd, stdin_fd, out[1], err[1], STEP_EXEC, 0 };
	pid = spawn(&child, &pidfd);
	close_fd(&out[1]);
	close_fd(&err[1]);
	if (child.error) {
		r->step = child.step;
		result = -child.error;
		if (pid > 0)
			reap(pid, &r->wstatus);
		goto done;
	}
	struct stream streams[2] = {
		{ out[0], sizeof(r->out), r->out, &r->out_len, &r->out_total },
		{ err[0], sizeof(r->err), r->err, &r->err_len, &r->err_total },
	};
	int killed = follow(pidfd, streams, timeout_seconds);
	result = reap(pid, &r->wstatus);
	if (result == 0)
		result = killed;
	for (int i = 0; i < 2; i++) { /* what still lies in the pipes (64 KiB each), but no survivor's endless stream */
		listen_to(&streams[i], 32);
		*(i ? &err[0] : &out[0]) = streams[i].fd;
	}
done:
	close_fd(&out[0]);
	close_fd(&out[1]);
	close_fd(&err[0]);
	close_fd(&err[1]);
	close_fd(&pidfd);
	return result;
}
