/* Phases `clean` and `ns`: shed what was inherited, then enter and make namespaces. */
#include <linux/if.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/resource.h>
#include <linux/sched.h>
#include <linux/sockios.h>
#include <linux/wait.h>
#include "init.h"

struct disposition {
	void (*handler)(int);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

/*
 * SIGRESET: CPython ignores SIGPIPE and SIGXFSZ, and an ignored signal stays ignored across execve, so all 64
 * dispositions and the mask are put back first of all.
 */
int op_SIGRESET(struct init *in, struct plan_op *op)
{
	struct disposition dfl = { 0 };
	unsigned long none = 0;
	int sig;

	for (sig = 1; sig <= 64; sig++)
		SYS4(__NR_rt_sigaction, sig, &dfl, 0, 8); /* SIGKILL and SIGSTOP refuse: nothing to reset */
	(void)in, (void)op;
	return (int)SYS4(__NR_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, 0, 8);
}

static void never(void)
{
	die(255);
}

static void end_by(int sig)
{
	die(128 + sig);
}

/*
 * SIGEND: the kernel keeps from pid 1 of a pid namespace every signal that it has not asked for. Init at the gate is one,
 * and what would end any process shall end it: so it asks, and ends with the status that a shell gives such an end. What
 * is ignored, stops or continues by default stays as it is; execve puts all of it back. No handler returns, so there is
 * nothing to restore, but without a restorer x86-64 delivers none.
 */
int op_SIGEND(struct init *in, struct plan_op *op)
{
	static const uint8_t others[] = { SIGKILL, SIGSTOP, SIGCHLD, SIGCONT, SIGTSTP, SIGTTIN, SIGTTOU, SIGURG, SIGWINCH };
	struct disposition end = { end_by, 0x04000000 /* SA_RESTORER */, never, ~0ul };
	uint32_t sig, i;
	long ret = 0;

	(void)in, (void)op;
	for (sig = 1; sig <= 64 && ret == 0; sig++) {
		for (i = 0; i < sizeof others && others[i] != sig; i++)
			;
		if (i == sizeof others)
			ret = SYS4(__NR_rt_sigaction, sig, &end, 0, 8);
	}
	return (int)ret;
}

/*
 * PDEATHSIG: a killed supervisor takes the half-made container with it. It is lifted before the last SYNC; from there on
 * the end of file on the socket says that nobody is left to answer.
 */
int op_PDEATHSIG(struct init *in, struct plan_op *op)
{
	in->pdeathsig = op->arg[0];
	return (int)SYS5(__NR_prctl, PR_SET_PDEATHSIG, in->pdeathsig, 0, 0, 0);
}

/*
 * JOIN: into a group of a v1 hierarchy, by the `tasks` file the host opened. A thread that names itself, as 0, is moved
 * without the lock that holds up every fork and exit of the machine; moving a process from outside takes it (7 ms).
 */
int op_JOIN(struct init *in, struct plan_op *op)
{
	long n = SYS3(__NR_write, slot(in, op, 0), "0", 1);

	return n == 1 ? 0 : n < 0 ? (int)n : -EIO;
}

/*
 * NOFILE: as many descriptors as the caller may have, while trees are held that only this process can open; then again as
 * many as it had. The limit that the process will have is not ours to change.
 */
int op_NOFILE(struct init *in, struct plan_op *op)
{
	uint64_t limit[2];
	long ret = SYS4(__NR_prlimit64, 0, RLIMIT_NOFILE, 0, limit);

	if (ret < 0)
		return (int)ret;
	if (op->arg[0])
		in->nofile = limit[0];
	limit[0] = op->arg[0] || limit[1] < in->nofile ? limit[1] : in->nofile;
	in->step = STEP_WRITE;
	return (int)SYS4(__NR_prlimit64, 0, RLIMIT_NOFILE, limit, 0);
}

int op_DUMPABLE(struct init *in, struct plan_op *op)
{
	(void)in;
	return (int)SYS5(__NR_prctl, PR_SET_DUMPABLE, op->arg[0], 0, 0, 0);
}

int op_SETNS(struct init *in, struct plan_op *op)
{
	return (int)SYS2(__NR_setns, slot(in, op, 0), op->arg[0]);
}

int op_UNSHARE(struct init *in, struct plan_op *op)
{
	(void)in;
	return (int)SYS1(__NR_unshare, op->arg[0]);
}

/*
 * FORK: init is born into the pid (and time) namespace as a child of the *supervisor* (CLONE_PARENT), so that the
 * supervisor can wait for it; the first process has done its part and goes.
 */
int op_FORK(struct init *in, struct plan_op *op)
{
	struct clone_args args = { .flags = CLONE_PARENT };
	long pid;

	(void)op;
	pid = SYS2(__NR_clone3, &args, CLONE_ARGS_SIZE_VER0);
	if (pid < 0)
		return (int)pid;
	if (pid > 0)
		for (;;)
			SYS1(__NR_exit_group, 0);
	in->role = 'I';
	return (int)SYS5(__NR_prctl, PR_SET_PDEATHSIG, in->pdeathsig, 0, 0, 0);
}

int op_SETSID(struct init *in, struct plan_op *op)
{
	(void)in, (void)op;
	return (int)SYS0(__NR_setsid);
}

/* KEYRING: a session keyring of the container's own; perms are *added* to what the kernel gave it. */
int op_KEYRING(struct init *in, struct plan_op *op)
{
	long id = SYS2(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, arg_str(in, op->arg[0])), n;
	const char *at;
	uint32_t perms = 0, field = 0;

	if (id < 0 || !op->arg[1])
		return (int)(id < 0 ? id : 0);
	n = SYS4(__NR_keyctl, KEYCTL_DESCRIBE, id, in->buf, sizeof in->buf - 1);
	if (n < 0)
		return (int)n;
	in->buf[n < (long)sizeof in->buf ? n : (long)sizeof in->buf - 1] = 0;
	/* "type;uid;gid;perm;description", perm in hexadecimal */
	for (at = (char *)in->buf; *at && field < 4; at++) {
		if (*at == ';')
			field++;
		else if (field == 3)
			perms = perms << 4 | (uint32_t)(*at <= '9' ? *at - '0' : (*at | 32) - 'a' + 10);
	}
	return (int)SYS3(__NR_keyctl, KEYCTL_SETPERM, id, perms | op->arg[1]);
}

int op_LOOPBACK(struct init *in, struct plan_op *op)
{
	struct ifreq req = { .ifr_ifrn.ifrn_name = "lo" };
	int sock = (int)SYS3(__NR_socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */ | O_CLOEXEC, 0), ret;

	(void)op;
	if (sock < 0)
		return sock;
	in->step = STEP_IOCTL;
	ret = (int)SYS3(__NR_ioctl, sock, SIOCGIFFLAGS, &req);
	if (ret == 0) {
		req.ifr_ifru.ifru_flags |= IFF_UP;
		ret = (int)SYS3(__NR_ioctl, sock, SIOCSIFFLAGS, &req);
	}
	close_fd(sock);
	return ret;
}

/* BECOME: take root's ids of a user namespace just entered; groups are left, they may not be settable there. */
int op_BECOME(struct init *in, struct plan_op *op)
{
	int ret = (int)SYS3(__NR_setresgid, op->arg[1], op->arg[1], op->arg[1]);

	(void)in;
	return ret < 0 ? ret : (int)SYS3(__NR_setresuid, op->arg[0], op->arg[0], op->arg[0]);
}
