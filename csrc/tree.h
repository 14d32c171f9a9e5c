/*
 * A bind source as a detached tree: open_tree(2), then its flags by mount_setattr(2), all on the descriptor.
 *
 * A mount namespace of another user namespace holds its mounts' read-only, nosuid, nodev, noexec and access times locked
 * (mount_namespaces(7)). Where that is so already, the kernel refuses to clear one, with EPERM. Where the host opens a tree
 * for a container in a user namespace nothing is locked, and TREE_KEEP asks for what the kernel would insist on there.
 *
 * Includers bring fcntl.h and statfs (libc's or the kernel's: they do not mix).
 * The same function serves the host side (shim_core.c, when privileged: in the host's view the container's tree is not
 * there, so that nothing in it can redirect a source, CVE-2021-30465) and init (op TREE, rootless).
 */
#ifndef PYRUNC_TREE_H
#define PYRUNC_TREE_H

#include <linux/mount.h>
#include "plan.h"
#include "sys.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif
#ifndef OPEN_TREE_CLOEXEC
#define OPEN_TREE_CLOEXEC 02000000
#endif

/* MS_* bits that mount_setattr takes as `propagation`. linux/mount.h and sys/mount.h disagree on who defines them. */
#define PROP_PRIVATE    (1u << 18)
#define PROP_SLAVE      (1u << 19)
#define PROP_SHARED     (1u << 20)
#define PROP_UNBINDABLE (1u << 17)

static inline int tree_setattr(int fd, uint32_t set, uint32_t clear, uint32_t propagation, int recursive)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clear, .propagation = propagation };

	if (!set && !clear && !propagation)
		return 0;
	return (int)SYS5(__NR_mount_setattr, fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

#define ATTR_LOCKABLE (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)
#define ATTR_ATIMES   (MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME)

/* The flags of the mount behind `fd`, as MOUNT_ATTR_*, or -errno. The lockable ones are the same bits in f_flags (statfs(2)). */
static inline int tree_flags(int fd)
{
	struct statfs st;
	int ret = (int)SYS2(__NR_fstatfs, fd, &st), atime;

	if (ret < 0)
		return ret;
	atime = st.f_flags & 0x400 ? MOUNT_ATTR_NOATIME : st.f_flags & 0x1000 ? MOUNT_ATTR_RELATIME : MOUNT_ATTR_STRICTATIME;
	return (int)(st.f_flags & ATTR_LOCKABLE) | atime | (st.f_flags & 0x800 ? MOUNT_ATTR_NODIRATIME : 0);
}

#define TREE_READONLY 0x80000000u /* of tree_attr's flags, not of a plan: the mount is read-only, whatever statfs(2) says */

/* Whether the mount at a path is read-only itself: 1, 0, or -errno before Linux 6.8. statfs(2) says so of the file system, too. */
static inline int tree_readonly(int dirfd, const char *path, int atflags)
{
	struct {
		uint32_t size, spare;
		uint64_t id, mask;
	} req = { sizeof req, 0, 0, 2 /* STATMOUNT_MNT_BASIC */ };
	uint64_t stx[32] = { 0 }, reply[64] = { 0 }; /* struct statx, struct statmount */
	int ret = (int)SYS5(__NR_statx, dirfd, path, atflags, 0x4000 /* STATX_MNT_ID_UNIQUE */, stx);

	req.id = stx[18]; /* stx_mnt_id */
	if (ret == 0)
		ret = stx[0] & 0x4000 ? (int)SYS4(457 /* statmount */, &req, reply, sizeof reply, 0) : -ENOSYS;
	return ret < 0 ? ret : (reply[8] & MOUNT_ATTR_RDONLY) != 0; /* mnt_attr */
}

/*
 * Sets flags; locked flags that would be lost are put back, or refused if the opposite was asked for
 * (`explicit`). A read-only file system shows as read-only whatever its mount is: so not what was there counts, but what
 * goes, and whether the mount was read-only (TREE_READONLY). *step holds the flags that are refused above its low byte.
 */
static inline int tree_attr(int fd, uint32_t flags, uint32_t set, uint32_t clear, uint32_t explicit, uint32_t *step)
{
	int recursive = (flags & TREE_ATTR_REC) != 0, keep = clear && flags & TREE_KEEP, ret, before = 0, after;
	uint32_t lost;

	*step = STEP_STAT;
	if (keep && (before = tree_flags(fd)) < 0)
		return before;
	*step = STEP_ATTR;
	ret = tree_setattr(fd, set, clear, 0, recursive);
	if (ret < 0 ? ret != -EPERM || !clear : !keep)
		return ret;
	*step = STEP_STAT;
	if (ret < 0 && (before = tree_flags(fd)) < 0)
		return before;
	after = ret < 0 ? (int)(((uint32_t)before & ~clear) | set) : tree_flags(fd);
	if (after < 0)
		return after;
	if (flags & TREE_READONLY && !(set & MOUNT_ATTR_RDONLY))
		after &= ~MOUNT_ATTR_RDONLY;
	*step = STEP_ATTR;
	lost = (uint32_t)(before & ~after) & ATTR_LOCKABLE;
	explicit &= lost;
	if ((before ^ after) & ATTR_ATIMES)
		explicit |= ATTR_ATIMES;
	if (explicit) {
		*step = STEP_LOCKED | explicit << 8;
		return -EPERM;
	}
	return lost ? tree_setattr(fd, set | lost, clear & ~lost, 0, recursive) : ret;
}

/* Returns the tree's descriptor or -errno; *step says which call failed. */
static inline int tree_open(int dirfd, const char *path, uint32_t flags, uint32_t set, uint32_t clear, uint32_t propagation,
			    uint32_t explicit, uint32_t *step)
{
	int recursive = (flags & TREE_RECURSIVE) != 0;
	int atflags = (*path ? 0 : AT_EMPTY_PATH) | (flags & TREE_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0), ret, fd;

	*step = STEP_OPEN;
	fd = (int)SYS3(__NR_open_tree, dirfd, path,
		       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | atflags | (recursive ? AT_RECURSIVE : 0));
	if (fd < 0)
		return fd;
	if (flags & TREE_KEEP && clear & MOUNT_ATTR_RDONLY) {
		ret = tree_readonly(dirfd, path, atflags);
		if (ret < 0) /* not known: what shows as read-only stays so, but nothing is refused */
			explicit &= ~(uint32_t)MOUNT_ATTR_RDONLY;
		flags |= ret ? TREE_READONLY : 0;
	}
	*step = STEP_ATTR;
	/* Propagation first and over the whole tree: a private or slave mount no longer carries our changes out. */
	ret = tree_setattr(fd, 0, 0, propagation, 1);
	if (ret == 0)
		ret = tree_attr(fd, flags, set, clear, explicit, step);
	if (ret < 0) {
		SYS1(__NR_close, fd);
		return ret;
	}
	return fd;
}

#endif
