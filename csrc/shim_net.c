/*
 * An rtnetlink socket in another network namespace, without going there.
 *
 * A child enters it, that shares our descriptor table and nothing else (CLONE_FILES): it puts its socket in the place of
 * one of ours and ends. So the supervisor is never in a namespace of a container, not even for a moment and not if it is
 * killed meanwhile; and the socket acts with the supervisor's rights (netlink asks for those of its opener too), which one
 * made by init would not: root of a user namespace may not touch a network namespace that is older than it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "native_net.h"

static int rtnetlink(void)
{
	return socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_ROUTE);
}

/* In the child: the errno, 0 for none, is its exit status. */
static void replace(int fd, int netns)
{
	int inside = -1;

	if (setns(netns, CLONE_NEWNET) == 0 && (inside = rtnetlink()) >= 0 && dup3(inside, fd, O_CLOEXEC) >= 0)
		errno = 0;
	if (inside >= 0)
		syscall(SYS_close, inside);
	_exit(errno);
}

int net_socket(int netns)
{
	struct clone_args args = { .flags = CLONE_FILES }; /* no signal at its end: nobody's SIGCHLD is touched by it */
	uint64_t all = ~0ULL, before = 0;
	int fd = rtnetlink(), status = 0;
	long pid;

	if (fd < 0)
		return -errno;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
	pid = syscall(SYS_clone3, &args, sizeof args);
	if (pid == 0)
		replace(fd, netns);
	status = pid < 0 ? errno << 8 : 0;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
	while (pid > 0 && waitpid((pid_t)pid, &status, __WALL) < 0)
		if (errno != EINTR) {
			status = errno << 8;
			break;
		}
	if (WIFSIGNALED(status) || WEXITSTATUS(status)) {
		close(fd);
		return WIFSIGNALED(status) ? -EINTR : -WEXITSTATUS(status);
	}
	return fd;
}
