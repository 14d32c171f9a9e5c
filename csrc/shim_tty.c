/*
 * Terminals, and the foreground: wait for one process, pass signals on to it, and copy its terminal or its stdio.
 *
 * `run` and `exec` without --detach spend their life in fg_wait: one poll loop in C, entered with the GIL released.
 * Python's own signal handlers would run between bytecodes only, and never while a call blocks.
 *
 * Who sends what to whom:
 *   SIGCHLD   wait for our children        SIGWINCH  copy the window size        SIGURG  nothing
 *   any other signal goes to the process through its pidfd
 *   fd 0 -> master (EOF just ends it, as in runc: a program with the terminal in raw mode must not see a stray ^D)
 *   master -> fd 1 (once nobody reads fd 1 any more we go on reading, so that the process isn't blocked by that)
 *   fd 0 -> pipe -> its fd 0, its fds 1 and 2 -> pipes -> ours, without a terminal of its own: of each of the caller's
 *   descriptors that it may not have (see harmless); an end on one side is one on the other
 * At the end, what the process has written is copied completely before we return.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "child.h"
#include "native_tty.h"

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* --- modes and sizes --------------------------------------------------------------------------------------------- */

/* Block or unblock SIGTTOU, which setting a mode raises in a background job. */
static void sigttou(int how, sigset_t *before)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGTTOU);
	sigprocmask(how, &set, before);
}

static int set_mode(int fd, const struct termios *mode)
{
	while (tcsetattr(fd, TCSANOW, mode) < 0) /* not TCSADRAIN: output stopped by ^S would hold us */
		if (errno != EINTR)
			return -errno;
	return 0;
}

static int make_raw(int fd, struct termios mode)
{
	cfmakeraw(&mode);
	mode.c_oflag |= OPOST; /* the carriage returns are ours to make, see tty_clear_onlcr; runc does so too */
	return set_mode(fd, &mode);
}

int tty_raw(int fd, char *saved, int size)
{
	struct termios mode;
	sigset_t before;
	if (size < (int)sizeof(mode))
		return -ENOBUFS;
	if (tcgetattr(fd, &mode) < 0)
		return -errno;
	memcpy(saved, &mode, sizeof(mode));
	sigttou(SIG_UNBLOCK, &before); /* in the background: stop here until `fg`, leave the shell's terminal alone */
	int result = make_raw(fd, mode);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return result < 0 ? result : (int)sizeof(mode);
}

/* Whoever stopped us, by SIGSTOP, had a shell that took its terminal back into its own mode: set ours again, if it is
 * ours again. */
static void raw_again(int fd)
{
	struct termios mode;
	if (tcgetpgrp(fd) == getpgrp() && tcgetattr(fd, &mode) == 0)
		make_raw(fd, mode);
}

int tty_restore(int fd, const char *saved, int size)
{
	struct termios mode;
	sigset_t before;
	if (size != (int)sizeof(mode))
		return -EINVAL;
	memcpy(&mode, saved, sizeof(mode));
	sigttou(SIG_BLOCK, &before); /* on the way out: get it done wherever we are */
	int result = set_mode(fd, &mode);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return result;
}

int tty_clear_onlcr(int fd)
{
	struct termios mode;
	if (tcgetattr(fd, &mode) < 0) /* of a master: the slave's */
		return -errno;
	mode.c_oflag &= ~(tcflag_t)ONLCR;
	return set_mode(fd, &mode);
}

int tty_copy_size(int from, int to)
{
	struct winsize size;
	if (ioctl(from, TIOCGWINSZ, &size) < 0)
		return -errno;
	if (size.ws_row == 0 && size.ws_col == 0)
		return 0; /* a terminal that doesn't know its size: keep what process.consoleSize said */
	return ioctl(to, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

/* --- copying ----------------------------------------------------------------------------------------------------- */

/*
 * Our side of fd 0, 1 or 2. O_NONBLOCK belongs to the open file description, which we share with the shell that started
 * us: setting it there breaks other programs. So take a description of our own by opening the same FIFO or terminal
 * again, for no more than the caller's was open for; a socket has MSG_DONTWAIT; a file never makes us wait; for what
 * else there is, and where opening is not permitted, rely on poll and never write more than PIPE_BUF, for which poll(2)
 * promises room in a pipe.
 */
struct end {
	int fd;
	bool socket;
	bool stored; /* a file or a block device: it has an offset, which the caller shares */
	bool waits;
};

static const struct end NO_END = { .fd = -1 };

static bool may_reopen(int fd, const struct stat *st, int access)
{
	int number, flags = fcntl(fd, F_GETFL);
	if (flags < 0 || flags & O_PATH || ((flags & O_ACCMODE) != access && (flags & O_ACCMODE) != O_RDWR))
		return false;
	if (S_ISFIFO(st->st_mode))
		return true;
	/* opening a master again makes another pty */
	return S_ISCHR(st->st_mode) && isatty(fd) && ioctl(fd, TIOCGPTN, &number) < 0;
}

static struct end own_end(int fd, int access)
{
	struct stat st;
	struct end end = NO_END;
	if (fstat(fd, &st) < 0)
		return end;
	end.socket = S_ISSOCK(st.st_mode);
	end.stored = S_ISREG(st.st_mode) || S_ISBLK(st.st_mode);
	if (may_reopen(fd, &st, access)) {
		char path[40];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		end.fd = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (end.fd < 0) {
		end.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		end.waits = !end.socket && !end.stored;
	}
	return end;
}

/* One direction. Reads only into the empty buffer, so nothing is ever overtaken or dropped. */
struct pump {
	struct end from, to;
	int start, len;
	int lost;    /* the errno with which fd 1 or 2 has refused what was written */
	int kept;    /* of input from a file: a reading end of the pipe, to know what nobody has read */
	bool piped;  /* between the caller's descriptor and a pipe; else between it and the pty's master */
	bool deaf;   /* nothing more to read */
	bool paused; /* we're a background job and may not read the terminal now */
	bool mute;   /* nobody reads what we write: throw it away */
	char data[65536];
};

enum { IN, OUT, ERR, PUMPS };

/* One foreground process per pyrunc: its copying state lives here from fg_prepare to fg_cancel. */
static struct {
	struct pump pump[PUMPS];
	bool pty;   /* pumps IN and OUT serve the master */
	bool passed[3]; /* a pipe of the caller's is the process's as it is */
	bool hung;  /* nobody has the slave open just now */
	bool ended; /* the process has been waited for */
	bool quit;  /* told to stop while copying the rest */
	int wstatus;
	uint64_t mask; /* the signals that were blocked before fg_prepare */
} fg;

static void clear(void)
{
	for (struct pump *p = fg.pump; p < fg.pump + PUMPS; p++) {
		p->from = p->to = NO_END;
		p->start = p->len = p->lost = 0;
		p->kept = -1;
		p->deaf = true;
		p->piped = p->paused = p->mute = false;
	}
	fg.pty = fg.hung = fg.ended = fg.quit = false;
	fg.passed[0] = fg.passed[1] = fg.passed[2] = false;
}

static ssize_t read_end(const struct end *end, char *data, size_t size)
{
	return end->socket ? recv(end->fd, data, size, MSG_DONTWAIT) : read(end->fd, data, size);
}

static ssize_t write_end(const struct end *end, const char *data, size_t size)
{
	if (end->waits && size > PIPE_BUF)
		size = PIPE_BUF;
	return end->socket ? send(end->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL) : write(end->fd, data, size);
}

/* Fill the empty buffer. 1 something came, 0 not now, -errno never again (-EPIPE: end of file). */
static int fill(struct pump *p)
{
	ssize_t n;
	do
		n = read_end(&p->from, p->data, sizeof(p->data));
	while (n < 0 && errno == EINTR);
	p->start = 0;
	p->len = n > 0 && !p->mute ? (int)n : 0;
	if (n > 0)
		return 1;
	if (n == 0)
		return -EPIPE;
	return errno == EAGAIN ? 0 : -errno;
}

/* One write of what is in the buffer: poll has promised room for one. */
static int flush(struct pump *p)
{
	ssize_t n = write_end(&p->to, p->data + p->start, (size_t)p->len);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	p->start += (int)n;
	p->len -= (int)n;
	return 0;
}

/* Nothing goes through any more. The other side of a pipe is told by its being closed: end of file, or SIGPIPE. */
static void stop(struct pump *p)
{
	p->deaf = true;
	p->len = 0;
	if (p->piped) {
		close_fd(&p->from.fd);
		close_fd(&p->to.fd);
	}
}

/* The terminal belongs to another job now. SIGTTIN is blocked, so reading it fails with EIO, as if it were gone. */
static bool elsewhere(int tty)
{
	pid_t owner = tcgetpgrp(tty);
	return owner >= 0 && owner != getpgrp();
}

static int take(struct pump *p)
{
	int result = fill(p);
	if (result == -EIO && fg.pty && p == &fg.pump[OUT])
		fg.hung =
		    true; /* no slave is open: for good if the process has ended, else perhaps until it opens /dev/console again */
	else if (result == -EIO && p == &fg.pump[IN] && elsewhere(p->from.fd))
		p->paused = true;
	else if (result < 0)
		stop(p);
	return result;
}

/* Whatever goes wrong on fd 1 or 2 (EPIPE, ENOSPC, EIO) is not a reason to stop the process, but a pipe's writer may know. */
static void give(struct pump *p)
{
	int result = flush(p);
	if (result == 0)
		return;
	if (fg.pty && p == &fg.pump[IN]) {
		fg.hung = fg.hung || result == -EIO;
		return;
	}
	p->lost = -result;
	p->mute = true;
	p->len = 0;
	if (p->piped)
		stop(p);
}

/* --- what stands between the caller's descriptors and the process ------------------------------------------------- */

/*
 * What the process may have as it is: a pipe, a socket, and the null device. Root in a container can do more with a
 * descriptor than its caller has: open it again for writing (/proc/self/fd), change the mode of its file, read a terminal
 * long after. Pipes and sockets without a name are the talk itself and nothing behind it; a FIFO or a socket's file
 * (O_PATH) on some file system has a name, an owner and other users. All else, whatever it is, is only read and written here.
 */
static bool harmless(int fd, const struct stat *st)
{
	struct statfs fs;
	if (S_ISCHR(st->st_mode))
		return st->st_rdev == makedev(1, 3);
	if (!S_ISFIFO(st->st_mode) && !S_ISSOCK(st->st_mode))
		return false;
	return fstatfs(fd, &fs) == 0 && (fs.f_type == PIPEFS_MAGIC || fs.f_type == SOCKFS_MAGIC);
}

/* Our end, which never blocks, goes to the pump, the other one to the process. */
static int make_pipe(struct pump *p, int fd, int theirs[3])
{
	int pair[2], ours = fd == 0;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	struct end caller = own_end(fd, ours ? O_RDONLY : O_WRONLY), end = { .fd = pair[ours] };
	theirs[fd] = pair[!ours];
	if (caller.fd < 0 || fcntl(pair[ours], F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	p->from = ours ? caller : end;
	p->to = ours ? end : caller;
	p->piped = true;
	p->deaf = false;
	if (ours && caller.stored)
		p->kept = fcntl(pair[0], F_DUPFD_CLOEXEC, 3);
	return 0;
}

/* fds 1 and 2 are one thing: what is written to them stays in order if it takes one way. */
static bool same(const struct stat st[3])
{
	return st[1].st_dev == st[2].st_dev && st[1].st_ino == st[2].st_ino && fcntl(1, F_GETFL) == fcntl(2, F_GETFL);
}

/* Until it has its terminal: the ends of a pipe of its own. */
static int placeholder(int theirs[3])
{
	int pair[2];
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	theirs[0] = pair[0];
	theirs[1] = theirs[2] = pair[1];
	return 0;
}

int fg_stdio(int terminal, int theirs[3])
{
	struct stat st[3];
	theirs[0] = theirs[1] = theirs[2] = -1;
	if (terminal)
		return placeholder(theirs);
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st[fd]) < 0)
			return -errno;
		if (harmless(fd, &st[fd])) {
			fg.passed[fd] = S_ISFIFO(st[fd].st_mode);
			continue;
		}
		if (fd == 2 && theirs[1] >= 0 && same(st)) {
			theirs[2] = theirs[1];
			continue;
		}
		int result = make_pipe(&fg.pump[fd], fd, theirs);
		if (result < 0)
			return result;
	}
	return 0;
}

int fg_own(unsigned int uid)
{
	for (int fd = 0; fd < 3; fd++) {
		const struct pump *p = &fg.pump[fd];
		int pipe = p->piped ? (fd == 0 ? p->to.fd : p->from.fd) : fg.passed[fd] ? fd : -1;
		if (pipe >= 0 && fchown(pipe, uid, (gid_t)-1) < 0 && errno != EPERM)
			return -errno;
	}
	return 0;
}

int fg_lost(int fd)
{
	return fg.pump[fd].lost;
}

static void open_pty(const struct fg_task *t)
{
	struct pump *in = &fg.pump[IN], *out = &fg.pump[OUT];
	in->from = own_end(0, O_RDONLY);
	out->to = own_end(1, O_WRONLY);
	in->to.fd = out->from.fd = t->master;
	fcntl(t->master, F_SETFL, O_NONBLOCK); /* the description is ours alone, and has no other flags */
	if (t->tty >= 0)
		tty_copy_size(t->tty, t->master);
	in->deaf = in->from.fd < 0;
	out->mute = out->to.fd < 0;
	out->deaf = false;
	fg.pty = true;
}

/*
 * What was read of a file and nobody inside has read goes back, so that the caller's `while read line; do pyrunc exec …;
 * done < FILE` is not robbed of its lines.
 */
static void put_back(struct pump *in)
{
	int unread = 0;
	if (in->kept < 0)
		return;
	ioctl(in->kept, FIONREAD, &unread);
	unread += in->len;
	if (unread > 0)
		lseek(0, -(off_t)unread, SEEK_CUR);
	close_fd(&in->kept);
}

static void close_ends(void)
{
	put_back(&fg.pump[IN]);
	if (fg.pty) { /* the master is Python's */
		close_fd(&fg.pump[IN].from.fd);
		close_fd(&fg.pump[OUT].to.fd);
	}
	for (int i = 0; i < PUMPS; i++)
		stop(&fg.pump[i]);
	fg.pty = false;
}

/* --- signals ----------------------------------------------------------------------------------------------------- */

int fg_prepare(void)
{
	uint64_t all = ~0ULL; /* raw: glibc's sets leave out 32 and 33 */
	int result = sigchld_default();
	if (result < 0)
		return result;
	int fd = (int)syscall(SYS_signalfd4, -1, &all, sizeof(all), SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, &fg.mask, sizeof(all));
	clear();
	return fd;
}

static void reap(const struct fg_task *t)
{
	int wstatus, pid;
	while (t->reap_all && (pid = waitpid(-1, &wstatus, WNOHANG | __WALL)) > 0) {
		if (pid == t->pid) {
			fg.ended = true;
			fg.wstatus = wstatus;
		}
	}
}

static void handle_signal(const struct fg_task *t, const struct signalfd_siginfo *info)
{
	int number = (int)info->ssi_signo;
	switch (number) {
	case SIGCHLD:
		reap(t);
		return;
	case SIGURG:
		return; /* not forwarded by runc (it is Go's own there); containers have come to live without */
	case SIGWINCH:
		if (t->master >= 0 && t->tty >= 0)
			tty_copy_size(t->tty, t->master);
		return;
	case SIGPIPE:
		if (info->ssi_pid == (uint32_t)getpid())
			return; /* of our own write to a pipe; a blocked signal is queued even where it is ignored */
		break;
	case SIGCONT:
		fg.pump[IN].paused = false;
		if (t->tty >= 0)
			raw_again(t->tty);
		break;
	default:
		break;
	}
	if (fg.ended)
		fg.quit = fg.quit || number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
	else
		syscall(SYS_pidfd_send_signal, t->pidfd, number, NULL, 0U); /* ESRCH: it has ended, the pidfd says so */
}

static void handle_signals(const struct fg_task *t)
{
	struct signalfd_siginfo info[8];
	ssize_t n;
	while ((n = read(t->sigfd, info, sizeof(info))) > 0)
		for (size_t i = 0; i < (size_t)n / sizeof(info[0]); i++)
			handle_signal(t, &info[i]);
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

enum { SIGNALS, PROCESS, EXTRA, READERS, COPIES, WATCHED = COPIES + PUMPS };

/* What a pump waits for: to be rid of what it has, or for more. An fd without interest must be -1: poll(2) reports POLLHUP
 * and POLLERR uninvited, and we'd spin. */
static struct pollfd wish(const struct pump *p)
{
	if (fg.hung && p != &fg.pump[ERR])
		return (struct pollfd){ .fd = -1 };
	if (p->len > 0)
		return (struct pollfd){ .fd = p->to.fd, .events = POLLOUT };
	return (struct pollfd){ .fd = p->deaf || p->paused ? -1 : p->from.fd, .events = POLLIN };
}

static void watch(struct pollfd set[WATCHED], const struct fg_task *t)
{
	const struct pump *in = &fg.pump[IN];
	set[SIGNALS] = (struct pollfd){ .fd = t->sigfd, .events = POLLIN };
	set[PROCESS] = (struct pollfd){ .fd = t->pidfd, .events = POLLIN };
	set[EXTRA] = (struct pollfd){ .fd = t->extra, .events = POLLIN };
	set[READERS] = (struct pollfd){ .fd = in->piped ? in->to.fd : -1 }; /* POLLERR: there are none any more */
	for (int i = 0; i < PUMPS; i++)
		set[COPIES + i] = wish(&fg.pump[i]);
}

/* Do what poll has found possible, and nothing else: an fd may be a blocking one (see own_end). */
static void copy(const struct pollfd set[WATCHED])
{
	struct pump *in = &fg.pump[IN];
	fg.hung = false;
	if (in->paused && !elsewhere(in->from.fd))
		in->paused = false;
	if (set[READERS].revents)
		stop(in);
	for (struct pump *p = fg.pump; p < fg.pump + PUMPS; p++) {
		const struct pollfd *found = &set[COPIES + (p - fg.pump)];
		if (!found->revents || found->fd < 0)
			continue;
		if (found->events & POLLOUT)
			give(p);
		else
			take(p);
	}
}

/*
 * Copy the rest: everything until the kernel says that nobody can write any more (EIO, end of file), or, where a survivor
 * can, that nothing is there now (EAGAIN; n_tty flushes its queue before it says so). Of a pipe it is what was in there at
 * first, or a survivor that writes and writes would hold us. fd 1 and 2 may be slow, and are waited for; only a signal that
 * asks us to end cuts it short.
 */
static void drain_pump(struct pump *p, const struct fg_task *t)
{
	int left = 1;
	if (p->piped && ioctl(p->from.fd, FIONREAD, &left) < 0)
		left = 0;
	while (!fg.quit) {
		if (p->len == 0) {
			if (p->deaf || left <= 0 || take(p) <= 0)
				return;
			if (p->piped)
				left -= p->len;
			continue;
		}
		struct pollfd set[2] = {
			{ .fd = t->sigfd, .events = POLLIN },
			{ .fd = p->to.fd, .events = POLLOUT },
		};
		if (poll(set, 2, -1) <= 0)
			continue;
		if (set[0].revents)
			handle_signals(t);
		if (set[1].revents)
			give(p);
	}
}

static void drain(const struct fg_task *t)
{
	fg.quit = false; /* what came together with the process's end was meant for the process */
	drain_pump(&fg.pump[OUT], t);
	drain_pump(&fg.pump[ERR], t);
}

/* The process is dead or a zombie: take its status, unless reap() has. */
static int finish(const struct fg_task *t, int *wstatus)
{
	int result = 0;
	if (!fg.ended) {
		do
			result = waitpid(t->pid, &fg.wstatus, __WALL);
		while (result < 0 && errno == EINTR);
		result = result < 0 ? -errno : 0;
		fg.ended = true;
	}
	drain(t);
	close_ends();
	*wstatus = fg.wstatus;
	return result;
}

int fg_watch(int file, int other)
{
	struct epoll_event changed = { .events = EPOLLPRI }, readable = { .events = EPOLLIN };
	int set = epoll_create1(EPOLL_CLOEXEC);
	if (set < 0)
		return -errno;
	if (epoll_ctl(set, EPOLL_CTL_ADD, file, &changed) == 0 &&
	    (other < 0 || epoll_ctl(set, EPOLL_CTL_ADD, other, &readable) == 0))
		return set;
	int err = errno;
	close(set);
	return -err;
}

int fg_wait(const struct fg_task *t, int *wstatus)
{
	struct pollfd set[WATCHED];
	if (t->master >= 0 && !fg.pty)
		open_pty(t);
	for (;;) {
		watch(set, t);
		/* Without a slave POLLHUP stands on the master, and nobody says when a terminal has become ours: look now and then. */
		if (poll(set, WATCHED, fg.hung || fg.pump[IN].paused ? 100 : -1) < 0 && errno != EINTR)
			return -errno;
		if (set[SIGNALS].revents)
			handle_signals(t);
		copy(set);
		if (fg.ended || set[PROCESS].revents)
			return finish(t, wstatus);
		if (set[EXTRA].revents)
			return 1;
	}
}

int fg_cancel(int sigfd)
{
	struct fg_task t = { .sigfd = sigfd, .pidfd = -1, .master = -1, .tty = -1, .extra = -1 };
	fg.ended = true; /* or it has never been, and what a hook has said is to be read */
	drain(&t);
	close_ends();
	close_fd(&sigfd);
	return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &fg.mask, NULL, sizeof(fg.mask)) < 0 ? -errno : 0;
}
