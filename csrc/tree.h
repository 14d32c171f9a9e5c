/*
 * A bind source as a detached tree: open_tree(2), then its flags by mount_setattr(2), all on the descriptor.
 *
 * Includers bring fcntl.h (libc's or the kernel's: they do not mix).
 * The same function serves the host side (shim_core.c, when privileged: in the host's view the container's tree is not
 * there, so that nothing in it can redirect a source, security.md CVE-2021-30465) and init (op TREE, rootless).
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

/* Returns the tree's descriptor or -errno; *step says which call failed. */
static inline int tree_open(int dirfd, const char *path, uint32_t flags, uint32_t set, uint32_t clear,
			    uint32_t propagation, uint32_t *step)
{
	int recursive = (flags & TREE_RECURSIVE) != 0;
	int ret, fd;

	*step = STEP_OPEN;
	fd = (int)SYS3(__NR_open_tree, dirfd, path,
		       OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH) |
			       (recursive ? AT_RECURSIVE : 0) | (flags & TREE_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0));
	if (fd < 0)
		return fd;
	*step = STEP_ATTR;
	/* Propagation first and over the whole tree: what is private or slave no longer carries our changes out. */
	ret = tree_setattr(fd, 0, 0, propagation, 1);
	if (ret == 0)
		ret = tree_setattr(fd, set, clear, 0, (flags & TREE_ATTR_REC) != 0);
	if (ret < 0) {
		SYS1(__NR_close, fd);
		return ret;
	}
	return fd;
}

#endif
