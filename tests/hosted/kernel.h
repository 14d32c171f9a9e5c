/* The scripted kernel's state: what a test sets before init runs, and what it may look at afterwards. */
#ifndef PYRUNC_TEST_KERNEL_H
#define PYRUNC_TEST_KERNEL_H

#include <setjmp.h>
#include "init.h"

#define FDS       4096
#define AREAS     4     /* of memory: the slots, the vecs, two of an op */
#define KINDS     10    /* of files: see kernel.c */
#define CALLS_MAX 20000

/* How it answers: all is there; no path below a root is, until made; the first links dangle; all do; replies are as long
 * as the buffer; replies are shorter than asked. */
enum world { WHOLE, MISSING, LINKS, LOOP, FULL, SHORT, WORLDS };
enum { EXITED = 1, EXECUTED, ENDLESS }; /* how init left through `gone` */
enum { ASKED_KIND = 1, ASKED_WORLD = 2, ASKED_CHILD = 4 };

extern struct kernel {
	/* set before */
	int strict;              /* to use or close a descriptor that is not open is a failure of the test */
	int kind, world;
	int child;               /* which side of a clone this is: 1 of a hook's, 2 of FORK's */
	int fail_at, fail_with;  /* the n-th call from 1, and the errno; EAGAIN lasts */
	const uint8_t *script;   /* or a byte per call: from 128 on an errno, else kind and world from here on */
	size_t left;
	const uint8_t *image;    /* what the plan's descriptor holds */
	size_t image_size;
	struct init *in;
	/* told after */
	int calls, asked;
	long failed_nr;          /* the call that failed, -1 none; and the op that made it */
	uint32_t failed_op;
	int fails, execs, deaf;  /* records of failure and of "about to execute"; deaf: a record could not be written */
	struct record told;
	int sealed;              /* close_range has closed descriptors behind init's back */
	uint8_t open[FDS];
	/* its own */
	uint8_t served[FDS];
	int next_fd, depth, links, seconds, tables, begun;
	uint32_t seq;
	void *plan, *areas[AREAS];
} k;
extern jmp_buf gone;

void kernel_reset(struct init *in, int base, int nslots);
const char *call_name(long nr);
__attribute__((noreturn)) void broken(const char *what, long n);

#endif
