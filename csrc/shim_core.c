/*
 * The system calls of kernel.py: small, flat, no callbacks into Python. cffi drops the GIL around every one of them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include "native_core.h"
#include "tree.h"

static int ret_errno(long ret)
{
	return ret < 0 ? -errno : (int)ret;
}

int k_socketpair(int pair[2])
{
	int one = 1;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	/* The kernel says who speaks: the pid of init is taken from this, never from what the child claims (docs/security.md, C8). */
	return ret_errno(setsockopt(pair[0], SOL_SOCKET, SO_PASSCRED, &one, sizeof one));
}

int k_send(int sock, uint32_t seq, int32_t err, const int *fds, int nfds)
{
	struct record rec = { .seq = seq, .err = err };
	struct iovec iov = { &rec, sizeof rec };
	union {
		char buf[CMSG_SPACE(BATCH * sizeof(int))];
		struct cmsghdr align;
	} control = { { 0 } };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (nfds > BATCH)
		return -EINVAL;
	if (nfds) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE((size_t)nfds * sizeof(int));
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN((size_t)nfds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, (size_t)nfds * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return ret_errno(n);
}

/* The descriptors of one SCM_RIGHTS: the room that we give takes four, and a longer message is not ours. */
static int take_fds(struct message *out, struct cmsghdr *c)
{
	int n = (int)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int)), fd, i;

	for (i = 0; i < n; i++) {
		memcpy(&fd, CMSG_DATA(c) + (size_t)i * sizeof fd, sizeof fd);
		if (out->nfds < 4)
			out->fd[out->nfds++] = fd;
		else
			close(fd);
	}
	return n <= 4;
}

/* 0 at the end of file, 1 with a record, -errno: EPROTO for what is longer, shorter or holds more than a record of init's. */
int k_recv(int sock, struct message *out)
{
	struct iovec iov = { &out->record, sizeof out->record };
	union {
		char buf[CMSG_SPACE(4 * sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof control.buf
	};
	struct cmsghdr *c;
	int whole = 1;
	ssize_t n;

	out->nfds = 0;
	out->pid = 0;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? 0 : -errno;
	for (c = CMSG_FIRSTHDR(&msg); c && n; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			whole &= take_fds(out, c);
		} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred cred;

			memcpy(&cred, CMSG_DATA(c), sizeof cred);
			out->pid = cred.pid;
		}
	}
	if (n == sizeof out->record && whole && !(msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
		return 1;
	while (out->nfds)
		close(out->fd[--out->nfds]);
	return n == 0 ? 0 : -EPROTO;
}

int k_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .mode = mode, .resolve = resolve };
	int tries = 0;
	long fd;

	do
		fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);
	while (fd < 0 && errno == EAGAIN && ++tries < 64);
	return ret_errno(fd);
}

int k_tree_open(int dirfd, const char *path, uint32_t flags, uint32_t set, uint32_t clear, uint32_t propagation,
		uint32_t explicit, uint32_t *step)
{
	return tree_open(dirfd, path, flags, set, clear, propagation, explicit, step);
}

int k_tree_setattr(int fd, uint32_t flags, uint32_t set, uint32_t clear, uint32_t propagation, uint32_t explicit, uint32_t *step)
{
	int ret = tree_setattr(fd, 0, 0, propagation, (flags & TREE_ATTR_REC) != 0);

	*step = STEP_ATTR;
	return ret < 0 ? ret : tree_attr(fd, flags, set, clear, explicit, step);
}

int k_tree_idmap(int fd, int userns, int recursive)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP, .userns_fd = (uint32_t)userns };

	return (int)SYS5(__NR_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

static int write_proc(int pid, const char *name, const char *text)
{
	char path[64];
	int fd, ret;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = ret_errno(write(fd, text, strlen(text)));
	close(fd);
	return ret < 0 ? ret : 0;
}

/* A user namespace with the given maps and nobody in it: what an idmapped mount is mapped by. */
int k_userns(const char *uid_map, const char *gid_map)
{
	struct clone_args args = { .flags = CLONE_NEWUSER, .exit_signal = SIGCHLD };
	char path[64];
	int fd, ret;
	long pid = syscall(SYS_clone3, &args, sizeof args);

	if (pid == 0)
		for (;;) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pause();
		}
	if (pid < 0)
		return -errno;
	ret = write_proc((int)pid, "uid_map", uid_map);
	if (ret == 0)
		ret = write_proc((int)pid, "gid_map", gid_map);
	snprintf(path, sizeof path, "/proc/%d/ns/user", (int)pid);
	fd = ret < 0 ? ret : ret_errno(open(path, O_RDONLY | O_CLOEXEC));
	kill((pid_t)pid, SIGKILL);
	while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
		;
	return fd;
}

static int read_proc(int pid, const char *name, char *text, size_t size)
{
	char path[64];
	int fd;
	ssize_t n;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	close(fd);
	text[n < 0 ? 0 : n] = 0;
	return n < 0 ? -errno : 0;
}

/* The maps of a user namespace: only a process in it shows them, so one goes in, is looked at and ended. */
int k_userns_maps(int userns, char *uid_map, char *gid_map, size_t size)
{
	struct clone_args args = { .exit_signal = SIGCHLD };
	int in[2], ret; /* the child may touch no more than its stack: init may be being born, see picture_forks */
	long pid;

	if (pipe2(in, O_CLOEXEC) < 0)
		return -errno;
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		prctl(PR_SET_DUMPABLE, 0); /* root in there must not look at this copy of us */
		ret = setns(userns, CLONE_NEWUSER) < 0 ? -errno : 0;
		for (;;)
			if (write(in[1], &ret, sizeof ret) == sizeof ret)
				pause();
	}
	ret = pid < 0 ? -errno : 0;
	close(in[1]);
	if (pid > 0) {
		if (read(in[0], &ret, sizeof ret) != sizeof ret)
			ret = -EIO;
		if (ret == 0)
			ret = read_proc((int)pid, "uid_map", uid_map, size);
		if (ret == 0)
			ret = read_proc((int)pid, "gid_map", gid_map, size);
		kill((pid_t)pid, SIGKILL);
		while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	close(in[0]);
	return ret;
}

/* By the descriptor: the magic link leads to its very mount, whatever lies under the names that led there. */
int k_umount(int fd)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return ret_errno(syscall(SYS_umount2, path, 2 /* MNT_DETACH */));
}

/* The id that mountinfo shows, and the one that is never used again (Linux 6.8), 0 before that. */
int k_mount_ids(int fd, uint64_t ids[2])
{
	const unsigned int want[2] = { 0x1000 /* STATX_MNT_ID */, 0x4000 /* STATX_MNT_ID_UNIQUE */ };
	struct statx st;

	for (int i = 0; i < 2; i++) {
		if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, want[i], &st) < 0)
			return -errno;
		ids[i] = st.stx_mask & want[i] ? st.stx_mnt_id : 0;
	}
	return 0;
}

int k_statfs_magic(const char *path, int64_t *magic)
{
	struct statfs st;

	if (statfs(path, &st) < 0)
		return -errno;
	*magic = st.f_type;
	return 0;
}

int k_fstatfs_magic(int fd, int64_t *magic)
{
	struct statfs st;

	if (fstatfs(fd, &st) < 0)
		return -errno;
	*magic = st.f_type;
	return 0;
}

int k_prlimit(int pid, int resource, uint64_t soft, uint64_t hard)
{
	struct rlimit64 limit = { soft, hard };

	return ret_errno(syscall(SYS_prlimit64, pid, resource, &limit, NULL));
}

int k_getrlimit(int pid, int resource, uint64_t out[2])
{
	return ret_errno(syscall(SYS_prlimit64, pid, resource, NULL, out));
}

/* flock with a limit: the lock is held by commands that end; a hook that hangs must not hang everybody else. */
int k_flock(int fd, int exclusive, int wait_ms)
{
	struct timespec nap = { 0, 2000000 };
	int mode = exclusive ? LOCK_EX : LOCK_SH;

	for (;;) {
		if (flock(fd, mode | LOCK_NB) == 0)
			return 0;
		if ((errno != EWOULDBLOCK && errno != EINTR) || wait_ms <= 0)
			return -errno;
		nanosleep(&nap, NULL);
		wait_ms -= 2;
	}
}

int k_unlock(int fd)
{
	return ret_errno(flock(fd, LOCK_UN));
}

static int poll_in(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int n;

	do
		n = poll(&p, 1, timeout_ms);
	while (n < 0 && errno == EINTR && timeout_ms < 0);
	return ret_errno(n);
}

/* 1 when the process has ended, 0 on timeout. */
int k_wait_pid(int pidfd, int timeout_ms)
{
	return poll_in(pidfd, timeout_ms);
}

/* Waits until one of up to 8 descriptors has something to say (an error counts). A bit for each that has; 0 on timeout. */
int k_wait_any(const int *fds, int n, int timeout_ms)
{
	struct pollfd set[8];
	int i, found = 0, ret;

	if (n > 8)
		return -EINVAL;
	for (i = 0; i < n; i++)
		set[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	do
		ret = poll(set, (nfds_t)n, timeout_ms);
	while (ret < 0 && errno == EINTR);
	for (i = 0; ret > 0 && i < n; i++)
		found |= set[i].revents ? 1 << i : 0;
	return ret < 0 ? -errno : found;
}

/* The CLONE_NEW* flag of a namespace's descriptor. The link text of a bind-mounted one is just its path. */
int k_nstype(int fd)
{
	return ret_errno(ioctl(fd, _IO(0xb7, 3) /* NS_GET_NSTYPE */));
}

int k_subreaper(int on)
{
	return ret_errno(prctl(PR_SET_CHILD_SUBREAPER, on, 0, 0, 0));
}
