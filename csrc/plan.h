/*
 * The plan as bytes: what `pyrunc/plan/encode.py` writes into a sealed memfd and init reads.
 *
 *     header, then `nops` records of 52 bytes, then the pool.
 *
 * Everything is little endian and 32 bits wide; an offset counts from the start of the plan. In the pool stand
 *   str   u32 length, bytes, NUL           (length without the NUL)
 *   blob  u32 length, bytes
 *   vec   u32 count, u32 0, count u64 offsets of strs   (8-aligned; the loader makes a char *[] of it)
 * A slot holds a descriptor from the op that fills it to the op that it ends with; its number is then used again, so
 * there are as many numbers as slots are open at once. Nothing is trusted: `plan_load` checks every offset, length and
 * slot, and that each slot has an end, before the first op runs.
 */
#ifndef PYRUNC_PLAN_H
#define PYRUNC_PLAN_H

#include <stdint.h>
#include "record.h"

#define PLAN_MAGIC   0x4e555250u /* "PRUN" */
#define PLAN_VERSION 4u
#define PLAN_MAX     (256u << 20)
#define VECS_MAX     (8u << 20) /* pointers of all vecs */
#define NO_SLOT      0xffffffffu
#define BATCH        16 /* descriptors that a SYNC hands over at most; few, for who may have only 64 open */

struct plan_header {
	uint32_t magic, version;
	uint32_t total;   /* bytes, all of it */
	uint32_t nops;
	uint32_t born;    /* the first slots, which are filled with what comes with the plan */
	uint32_t status;  /* slot errors are written to; NO_SLOT: the sync socket */
	uint32_t nslots;  /* numbers of slots */
	uint32_t reserved;
};

struct plan_op {
	uint16_t code;
	uint8_t  role;        /* 'M' or 'I' */
	uint8_t  ends;        /* bit i: slot[i] is closed after this op, whether it has run or not */
	uint8_t  tolerate[4]; /* errnos that are not a failure; 0 none */
	uint32_t unless;      /* 1 + index of the op that must have failed for this one to run; 0 always */
	uint32_t slot[4];     /* of a list: offset of a blob of u32 numbers */
	uint32_t arg[6];
};

/* seq of a struct record that is no SYNC's number */
#define SAY_EXEC 0xfffffff0u /* about to execve: from here an end of file means success */
#define SAY_FAIL 0xffffffffu

/* The step inside an op at which it failed: Python turns it into words (pyrunc/plan/words.py). */
enum step {
	STEP_NONE, STEP_LOAD, STEP_OPEN, STEP_CREATE, STEP_CLONE, STEP_MOVE, STEP_ATTR, STEP_FSOPEN, STEP_FSCONFIG,
	STEP_FSCREATE, STEP_FSMOUNT, STEP_STAT, STEP_VERIFY, STEP_READ, STEP_WRITE, STEP_UNLINK, STEP_CHOWN, STEP_CHMOD,
	STEP_IOCTL, STEP_DUP, STEP_FORK, STEP_EXEC, STEP_TIMEOUT, STEP_EXIT, STEP_SIGNALLED, STEP_UMOUNT, STEP_CHDIR,
	STEP_PEER, STEP_NOTFOUND, STEP_SYMLINK, STEP_NOTDIR, STEP_NOTPROC,
	STEP_LOCKED, STEP_LABEL,
};

/* ATTACH flags */
#define ATTACH_REAL_DIR 1u /* no symlink anywhere in the path, and the target is a directory */
#define ATTACH_CLONE    2u /* the slot is an open file: clone it into a mount first */
#define ATTACH_FILE     4u /* make the target as a file even if ... the tree is unknown (device binds) */
#define ATTACH_IN_PROC  8u /* the target may lie on procfs: /proc itself, and the few files lxcfs covers */
#define ATTACH_PROC     16u /* the slot must be a procfs (CVE-2019-16884) */

/* TREE flags */
#define TREE_RECURSIVE  1u
#define TREE_NOFOLLOW   2u
#define TREE_ATTR_REC   4u /* set/clear go to the whole tree, not only its top */
#define TREE_KEEP       8u /* flags that the container's user namespace will lock stay, unless cleared explicitly */

#endif
