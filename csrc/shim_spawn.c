/*
 * Spawning init: clone3 + execveat of a sealed memfd. No Python runs in the child, and no page of Python is in it once
 * it runs: between the two calls stand only descriptor moves.
 *
 * The image is written anew for each container (24 KB, 0.03 ms) and sealed, so nothing that can be reached as
 * /proc/<pid>/exe from inside is a file of the host (CVE-2019-5736).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "init_image.h"

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u
#endif
#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8u
#endif
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static int write_all(int fd, const uint8_t *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* memfd_create's exec flags are newer (6.3) than the call: ask with, fall back without. */
static int new_memfd(const char *name, unsigned flag)
{
	int fd = (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING | flag);

	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_memfd_create, name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	return fd < 0 ? -errno : fd;
}

int k_memfd(const char *name, const uint8_t *bytes, size_t len, int sealed)
{
	int fd = new_memfd(name, MFD_NOEXEC_SEAL), ret;

	if (fd < 0)
		return fd;
	ret = write_all(fd, bytes, len);
	if (ret == 0 && sealed && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		ret = -errno;
	if (ret == 0 && lseek(fd, 0, SEEK_SET) < 0)
		ret = -errno;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

/* A file without a name, in the first directory that lets us have one and is not mounted noexec (Debian's /run is). */
static int nameless_file(void)
{
	static const char *const places[] = { "/run", "/dev/shm", "/tmp", "/var/tmp" };
	struct statvfs st;
	int fd, error = EACCES;

	for (unsigned i = 0; i < sizeof places / sizeof *places; i++) {
		fd = open(places[i], O_TMPFILE | O_RDWR | O_CLOEXEC, 0500);
		if (fd < 0) {
			error = errno;
			continue;
		}
		if (fstatvfs(fd, &st) == 0 && !(st.f_flag & ST_NOEXEC))
			return fd;
		close(fd);
	}
	return -error;
}

/* vm.memfd_noexec=2 forbids executable memfds: then an unlinked file, reopened read-only so that nobody can write it. */
static int image_file(void)
{
	char path[32];
	int rw = nameless_file(), fd, ret;

	if (rw < 0)
		return rw;
	ret = write_all(rw, init_image, init_image_len);
	snprintf(path, sizeof path, "/proc/self/fd/%d", rw);
	fd = ret < 0 ? ret : open(path, O_RDONLY | O_CLOEXEC);
	if (ret == 0 && fd < 0)
		fd = -errno;
	close(rw);
	return fd;
}

static int image(void)
{
	int fd = new_memfd("pyrunc:init", MFD_EXEC), ret;

	if (fd == -EACCES)
		return image_file();
	if (fd < 0)
		return fd;
	ret = write_all(fd, init_image, init_image_len);
	if (ret == 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		ret = -errno;
	if (ret < 0) {
		close(fd);
		return ret;
	}
	return fd;
}

/*
 * In the child: put `fds` on base, base+1, ... and close everything else. One that another is to take the place of is moved
 * out of its way first; that takes a number above all, but no more than there are such. Preserved descriptors (3 to
 * base-1) lose their CLOEXEC.
 */
static int arrange(int base, int *fds, int nfds, int exe)
{
	int i, j, fd, top = base + nfds;

	if (exe < top)
		exe = fcntl(exe, F_DUPFD_CLOEXEC, top);
	if (exe < 0)
		return -errno;
	for (fd = 3; fd < base; fd++)
		if (fcntl(fd, F_SETFD, 0) < 0)
			return -errno;
	for (i = 0; i < nfds; i++) {
		for (j = i + 1; j < nfds; j++)
			if (fds[j] == base + i && (fds[j] = fcntl(fds[j], F_DUPFD_CLOEXEC, top)) < 0)
				return -errno;
		if ((fds[i] == base + i ? fcntl(fds[i], F_SETFD, 0) : dup2(fds[i], base + i)) < 0)
			return -errno;
		if (fds[i] >= top)
			close(fds[i]);
	}
	if (exe > top)
		syscall(SYS_close_range, top, exe - 1, 0);
	syscall(SYS_close_range, exe + 1, ~0u, 0);
	return exe;
}

/* 0 to 2 are replaced first of all, so no process of a container ever sees the caller's on them. Below 3 nothing else is. */
static int replace(const int stdio[3])
{
	for (int std = 0; std < 3; std++)
		if (stdio[std] >= 0 && dup2(stdio[std], std) < 0)
			return -errno;
	return 0;
}

static void child(int exe, int base, const int *fds, int nfds, const int stdio[3], int report)
{
	char text[12], *argv[] = { "pyrunc:init", text, NULL }, *envp[] = { NULL };
	int high[nfds + 1], ret;

	memcpy(high, fds, sizeof(int) * (size_t)nfds);
	high[nfds] = report; /* the last of the row, closed by execve */
	snprintf(text, sizeof text, "%d", base);
	ret = replace(stdio);
	if (ret == 0)
		ret = arrange(base, high, nfds + 1, exe);
	if (ret >= 0) {
		report = base + nfds;
		if (fcntl(report, F_SETFD, FD_CLOEXEC) == 0) /* or init would have it, and the parent wait for its end */
			syscall(SYS_execveat, ret, "", argv, envp, AT_EMPTY_PATH);
		ret = -errno;
	}
	if (write(report, &ret, sizeof ret) < 0)
		_exit(254);
	_exit(255);
}

/*
 * Returns the child's pid; `*pidfd` its pidfd. `cgroup` is a directory to be born in (or -1), `flags` the namespaces it
 * is born with; `stdio` what stands on 0 to 2, -1 for what stands there now. CLONE_VFORK holds the parent until execveat, so an exec error is here when clone3 returns; CLONE_VM is
 * left out: raw clone3 with it and no stack of its own corrupts the parent.
 */
int k_spawn(int cgroup, uint64_t flags, int base, const int *fds, int nfds,
	    const int stdio[3], int *pidfd)
{
	struct clone_args args = {
		.flags = flags | CLONE_VFORK | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? (uint64_t)cgroup : 0,
	};
	int exe = image(), report[2], err = 0;
	sigset_t all, old;
	long pid;

	if (exe < 0)
		return exe;
	if (pipe2(report, O_CLOEXEC) < 0) {
		err = -errno;
		close(exe);
		return err;
	}
	/* No handler of ours may run in the child; init resets the mask itself. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		child(exe, base, fds, nfds, stdio, report[1]);
	if (pid < 0)
		err = -errno;
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(report[1]);
	close(exe);
	if (pid > 0 && read(report[0], &err, sizeof err) <= 0)
		err = 0;
	close(report[0]);
	if (err && pid > 0) {
		syscall(SYS_wait4, pid, NULL, 0, NULL);
		close(*pidfd);
	}
	return err ? err : (int)pid;
}
