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
#include <pthread.h>
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
#include "native_core.h"

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
 * Init is born by a thread. The kernel needs a millisecond for five namespaces and the execve; meanwhile the supervisor makes
 * groups and compiles the plan, which init then waits for on its socket. CLONE_VFORK holds the thread only.
 *
 * No CLONE_VM: the kernel kills all that share memory with what it kills for want of memory, and init is born into the
 * container's group. Instead the program's data and its heap are left out of the child's memory (MADV_DONTFORK): no page table
 * of them is copied, and no page of them becomes write-protected. So the child may touch its stack and `birth`, which is a
 * mapping that both share until execveat, and nothing else that can be written.
 */
#define STACK 65536

void picture_forks(int forks) __attribute__((weak)); /* csrc/picture.c, where there is a picture */

struct birth {
	struct clone_args args;
	int exe, sock, base, stdio[3]; /* what the child is given */
	int pidfd, error; /* -errno for which the child could not become init, or 0: the child says so */
	long pid;	  /* or -errno */
	pthread_t thread;
	int tid, threaded, pending;
	char number[12];
};

static struct birth *birth;

static int make_birth(void)
{
	void *at = mmap(NULL, sizeof *birth, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		return -errno;
	birth = at;
	return 0;
}

/* The socket stands on BASE, and everything else is closed. Preserved descriptors (3 to base-1) lose their CLOEXEC. */
static int arrange(struct birth *b)
{
	int fd, exe = b->exe;

	if (exe <= b->base && (exe = fcntl(exe, F_DUPFD_CLOEXEC, b->base + 1)) < 0)
		return -errno;
	for (fd = 3; fd < b->base; fd++)
		if (fcntl(fd, F_SETFD, 0) < 0)
			return -errno;
	if ((b->sock == b->base ? fcntl(b->base, F_SETFD, 0) : dup2(b->sock, b->base)) < 0)
		return -errno;
	if (exe > b->base + 1)
		syscall(SYS_close_range, b->base + 1, exe - 1, 0);
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

static void child(struct birth *b)
{
	char *argv[] = { "pyrunc:init", b->number, NULL }, *envp[] = { NULL };
	int ret = replace(b->stdio);

	if (ret == 0)
		ret = arrange(b);
	if (ret >= 0) {
		syscall(SYS_execveat, ret, "", argv, envp, AT_EMPTY_PATH);
		ret = -errno;
	}
	b->error = ret;
	for (;;)
		syscall(SYS_exit_group, 255);
}

static void *bear(void *arg)
{
	struct birth *b = arg;
	long pid;

	b->tid = (int)syscall(SYS_gettid);
	if (picture_forks)
		picture_forks(0);
	pid = syscall(SYS_clone3, &b->args, sizeof b->args);
	if (pid == 0)
		child(b);
	b->pid = pid < 0 ? -errno : pid;
	if (picture_forks)
		picture_forks(1);
	return NULL;
}

/* No handler of ours may run in the child; init resets the mask itself. */
static void begin(struct birth *b, int by_thread)
{
	pthread_attr_t attr;
	sigset_t all, old;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	b->threaded = by_thread && pthread_create(&b->thread, &attr, bear, b) == 0;
	pthread_attr_destroy(&attr);
	if (!b->threaded)
		bear(b);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/*
 * Begin: `cgroup` is a directory to be born in (or -1), `flags` the namespaces init is born with; `stdio` what stands on
 * its 0 to 2, -1 for what stands there now. All of these stay open until k_spawn_end. One birth at a time.
 */
int k_spawn_begin(int sock, int cgroup, uint64_t flags, int base, const int stdio[3])
{
	struct birth *b;
	int exe = birth ? 0 : make_birth();

	if (exe == 0)
		exe = image();
	if (exe < 0)
		return exe;
	b = birth;
	*b = (struct birth){ .exe = exe, .sock = sock, .base = base, .pidfd = -1, .pending = 1 };
	memcpy(b->stdio, stdio, sizeof b->stdio);
	snprintf(b->number, sizeof b->number, "%d", base);
	b->args = (struct clone_args){
		.flags = flags | CLONE_VFORK | CLONE_PIDFD | (cgroup >= 0 ? CLONE_INTO_CGROUP : 0),
		.pidfd = (uint64_t)(uintptr_t)&b->pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = cgroup >= 0 ? (uint32_t)cgroup : 0,
	};
	begin(b, 1);
	return 0;
}

/*
 * The end: init's pid and `*pidfd`, or why there is none; -ECHILD when nothing was begun.
 *
 * PR_SET_PDEATHSIG, which init asks for, is about the thread that bore it. So that thread has to be gone for good before
 * init gets to its plan: pthread_join returns a little too early for that, when the kernel has still to make the
 * children of the thread those of the process.
 */
int k_spawn_end(int *pidfd)
{
	struct birth *b = birth;
	if (!b || !b->pending)
		return -ECHILD;
	b->pending = 0;
	if (b->threaded) {
		pthread_join(b->thread, NULL);
		while (syscall(SYS_tgkill, getpid(), b->tid, 0) == 0)
			sched_yield();
		if (b->pid == -EAGAIN) /* the thread may have been the last process that a pids limit allows */
			begin(b, 0);
	}
	close(b->exe);
	if (b->pid > 0 && b->error) {
		while (syscall(SYS_wait4, b->pid, NULL, 0, NULL) < 0 && errno == EINTR)
			;
		close(b->pidfd);
		return b->error;
	}
	*pidfd = b->pidfd;
	return (int)b->pid;
}
