/*
 * Terminals, and the foreground: wait for one process, pass signals on to it, and copy its terminal.
 *
 * `run` and `exec` without --detach spend their life in fg_wait: one poll loop in C, entered with the GIL released.
 * Python's own signal handlers would run between bytecodes only, and never while a call blocks (security.md section 8).
 * Called by pyrunc/kernel_tty.py.
 *
 * Who sends what to whom (compat.md 1.7, 1.8):
 *   SIGCHLD   wait for our children        SIGWINCH  copy the window size        SIGURG  nothing
 *   any other signal goes to the process through its pidfd
 *   fd 0 -> master (EOF just ends it, as in runc: a program with the terminal in raw mode must not see a stray ^D)
 *   master -> fd 1 (once nobody reads fd 1 any more we go on reading, so that the process isn't blocked by that)
 * At the end, what the process has written is copied completely before we return.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
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
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "native_hook.h"
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

int tty_set_size(int fd, int rows, int cols)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};
	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
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
 * Our side of fd 0 or 1. O_NONBLOCK belongs to the open file description, which we share with the shell that started
 * us: setting it there breaks other programs. So take a description of our own by opening the same pipe or terminal
 * again; a socket has MSG_DONTWAIT; for what else there is (files), and where opening is not permitted, rely on poll
 * and never write more than PIPE_BUF, for which poll(2) promises room in a pipe.
 */
struct end {
	int fd;
	bool socket;
};

static struct end own_end(int fd, int access)
{
	struct stat st;
	struct end end = {-1, false};
	int number;
	if (fstat(fd, &st) < 0)
		return end;
	end.socket = S_ISSOCK(st.st_mode);
	bool terminal = S_ISCHR(st.st_mode) && isatty(fd);
	if (terminal && ioctl(fd, TIOCGPTN, &number) == 0)
		terminal = false; /* a master: opening it again makes another pty */
	if (S_ISFIFO(st.st_mode) || terminal) {
		char path[40];
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		end.fd = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	if (end.fd < 0)
		end.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return end;
}

/* One direction of the terminal. Reads only into the empty buffer, so nothing is ever overtaken or dropped. */
struct pump {
	struct end from, to;
	int start, len;
	bool deaf;   /* nothing more to read */
	bool paused; /* we're a background job and may not read the terminal now */
	bool mute;   /* nobody reads what we write: throw it away */
	char data[4096];
};

/* One foreground process per pyrunc: its copying state lives here across calls of fg_wait. */
static struct {
	struct pump in, out;
	bool open;  /* the pumps have their ends */
	bool hung;  /* nobody has the slave open just now */
	bool ended; /* the process has been waited for */
	bool quit;  /* told to stop while copying the rest */
	int wstatus;
	uint64_t mask; /* the signals that were blocked before fg_prepare */
} fg;

static ssize_t read_end(const struct end *end, char *data, size_t size)
{
	return end->socket ? recv(end->fd, data, size, MSG_DONTWAIT) : read(end->fd, data, size);
}

static ssize_t write_end(const struct end *end, const char *data, size_t size)
{
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
	p->len = n > 0 ? (int)n : 0;
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

static void read_input(void)
{
	int result = fill(&fg.in);
	if (result == -EIO)
		fg.in.paused = true; /* the terminal is another job's now (SIGTTIN is blocked), SIGCONT says when not */
	else if (result < 0)
		fg.in.deaf = true;
}

/* -EIO: no slave is open. For good if the process has ended, else perhaps until it opens /dev/console again. */
static int read_master(void)
{
	int result = fill(&fg.out);
	if (result == -EIO)
		fg.hung = true;
	else if (result < 0)
		fg.out.deaf = true;
	if (fg.out.mute)
		fg.out.len = 0;
	return result;
}

static void write_master(void)
{
	if (flush(&fg.in) == -EIO)
		fg.hung = true;
}

/* Whatever goes wrong on fd 1 (EPIPE, ENOSPC, EIO) is no reason to stop the process. */
static void write_output(void)
{
	if (flush(&fg.out) < 0) {
		fg.out.mute = true;
		fg.out.len = 0;
	}
}

static void open_ends(const struct fg_task *t)
{
	uint64_t mask = fg.mask;
	memset(&fg, 0, sizeof(fg));
	fg.mask = mask;
	fg.in.from = fg.out.to = (struct end){-1, false};
	fg.in.to = fg.out.from = (struct end){t->master, false};
	if (t->master >= 0) {
		fg.in.from = own_end(0, O_RDONLY);
		fg.out.to = own_end(1, O_WRONLY);
		fcntl(t->master, F_SETFL, O_NONBLOCK); /* the description is ours alone, and has no other flags */
		if (t->tty >= 0)
			tty_copy_size(t->tty, t->master);
	}
	fg.in.deaf = fg.in.from.fd < 0;
	fg.out.mute = fg.out.to.fd < 0;
	fg.out.deaf = t->master < 0;
	fg.open = true;
}

static void close_ends(void)
{
	close_fd(&fg.in.from.fd);
	close_fd(&fg.out.to.fd);
	fg.open = false;
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
	return fd;
}

int fg_cancel(int sigfd)
{
	close_fd(&sigfd);
	if (fg.open)
		close_ends();
	return syscall(SYS_rt_sigprocmask, SIG_SETMASK, &fg.mask, NULL, sizeof(fg.mask)) < 0 ? -errno : 0;
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
			return; /* of our own write to fd 1; a blocked signal is queued even where it is ignored */
		break;
	case SIGCONT:
		fg.in.paused = false;
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

enum { SIGNALS, PROCESS, EXTRA, INPUT, OUTPUT, MASTER, WATCHED };

/* An fd without interest must be -1: poll(2) reports POLLHUP and POLLERR uninvited, and we'd spin. */
static void watch(struct pollfd set[WATCHED], const struct fg_task *t)
{
	bool input = fg.in.len == 0 && !fg.in.deaf && !fg.in.paused && !fg.hung;
	short master = 0;
	if (!fg.hung)
		master = (short)((fg.out.len == 0 && !fg.out.deaf ? POLLIN : 0) | (fg.in.len > 0 ? POLLOUT : 0));
	set[SIGNALS] = (struct pollfd){.fd = t->sigfd, .events = POLLIN};
	set[PROCESS] = (struct pollfd){.fd = t->pidfd, .events = POLLIN};
	set[EXTRA] = (struct pollfd){.fd = t->extra, .events = POLLIN};
	set[INPUT] = (struct pollfd){.fd = input ? fg.in.from.fd : -1, .events = POLLIN};
	set[OUTPUT] = (struct pollfd){.fd = fg.out.len > 0 ? fg.out.to.fd : -1, .events = POLLOUT};
	set[MASTER] = (struct pollfd){.fd = master ? t->master : -1, .events = master};
}

/* Do what poll has found possible, and nothing else: an fd may be a blocking one (see own_end). */
static void copy(const struct pollfd set[WATCHED])
{
	short master = set[MASTER].revents;
	if (master & POLLOUT || (master && !(set[MASTER].events & POLLIN)))
		write_master();
	if (master && set[MASTER].events & POLLIN)
		read_master();
	if (set[INPUT].revents)
		read_input();
	if (set[OUTPUT].revents)
		write_output();
}

/*
 * Copy the rest: everything until the kernel says that nobody can write any more (EIO), or, where a survivor has the
 * slave open, that nothing is there now (EAGAIN; n_tty flushes its queue before it says so). fd 1 may be slow, and is
 * waited for; only a signal that asks us to end cuts it short.
 */
static void drain(const struct fg_task *t)
{
	fg.quit = false; /* what came together with the process's end was meant for the process */
	while (!fg.quit) {
		if (fg.out.len == 0) {
			if (fg.out.deaf || read_master() <= 0)
				return;
			continue;
		}
		struct pollfd set[2] = {
			{.fd = t->sigfd, .events = POLLIN},
			{.fd = fg.out.to.fd, .events = POLLOUT},
		};
		if (poll(set, 2, -1) <= 0)
			continue;
		if (set[0].revents)
			handle_signals(t);
		if (set[1].revents)
			write_output();
	}
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
	if (t->master >= 0)
		drain(t);
	close_ends();
	*wstatus = fg.wstatus;
	return result;
}

int fg_watch(int file, int other)
{
	struct epoll_event changed = {.events = EPOLLPRI}, readable = {.events = EPOLLIN};
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
	if (!fg.open)
		open_ends(t);
	for (;;) {
		watch(set, t);
		/* Without a slave POLLHUP stands on the master: look again now and then whether one has been opened. */
		if (poll(set, WATCHED, fg.hung ? 100 : -1) < 0 && errno != EINTR)
			return -errno;
		fg.hung = false;
		if (set[SIGNALS].revents)
			handle_signals(t);
		copy(set);
		if (fg.ended || set[PROCESS].revents)
			return finish(t, wstatus);
		if (set[EXTRA].revents)
			return 1;
	}
}
