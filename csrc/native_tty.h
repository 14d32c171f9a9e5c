#pragma once

/* Terminals and waiting in the foreground. See shim_tty.c. Plain C, read by cffi. Results: >= 0, or -errno. */

/* Set a terminal raw; its former state (of the returned length) goes to saved. A background job is stopped first. */
int tty_raw(int fd, char *saved, int size);
int tty_restore(int fd, const char *saved, int size);
/* Let "\n" leave the pty as "\n": the host's terminal makes the carriage return. */
int tty_clear_onlcr(int fd);
int tty_copy_size(int from, int to);

struct fg_task {
	int sigfd;    /* from fg_prepare, or -1: signals have to wait */
	int pidfd;    /* the process we wait for, or -1: only for `extra` */
	int pid;
	int master;   /* its pty, or -1 */
	int tty;      /* our caller's terminal, for the size, or -1 */
	int reap_all; /* we're a subreaper: wait for every child */
	int extra;    /* return 1 when this fd is readable, or -1 */
};

/* Block all signals, return the signalfd that has them. Before spawn: what arrives from then on isn't lost. */
int fg_prepare(void);
/* Undo fg_prepare: copy what is still to be copied, close all, and let signals have their usual effect again. */
int fg_cancel(int sigfd);
/* What the process gets on 0 to 2 (or -1: ours as it is), which the caller closes after its spawn. Ours to be copied by
 * fg_wait; with `terminal` they only stand in for what it will have. */
int fg_stdio(int terminal, int theirs[3]);
/* Give the pipes on the process's 0 to 2 to a user, who may then open them again (/dev/stdout). */
int fg_own(unsigned int uid);
/* The errno with which 1 or 2 refused what was written to it, or 0. */
int fg_lost(int fd);
/* For `extra`: readable when a kernel's file has changed since it was read (POLLPRI), or when `other` (or -1) is readable. */
int fg_watch(int file, int other);
/* 0 the process has ended (wstatus), 1 task->extra is readable (call again), -errno. */
int fg_wait(const struct fg_task *task, int *wstatus);
