/*
 * Phase `fs`: the container's tree, built on detached mounts and descriptors.
 *
 * The one path outside a root slot is "/" itself. Targets are opened inside the root and used as descriptors; mounts are
 * made detached (fsmount, open_tree) and moved onto them, so that a rename between check and use finds nothing to
 * redirect (CVE-2021-30465, CVE-2025-52881).
 */
#include <linux/magic.h>
#include "init.h"
#include "../tree.h"

int op_SLAVE(struct init *in, struct plan_op *op)
{
	struct mount_attr attr = { .propagation = op->arg[0] };

	(void)in;
	return (int)SYS5(__NR_mount_setattr, AT_FDCWD, "/", AT_RECURSIVE, &attr, sizeof attr);
}

/* TREE: a bind source; with a root slot one that an earlier mount of the container brings, looked up below the root. */
int op_TREE(struct init *in, struct plan_op *op)
{
	const char *path = arg_str(in, op->arg[0]);
	int from = AT_FDCWD, fd;

	if (op->slot[1] != NO_SLOT) {
		in->step = STEP_OPEN;
		from = open_in(slot(in, op, 1), path, O_PATH, ROOT_RESOLVE);
		if (from < 0)
			return from;
		path = "";
	}
	fd = tree_open(from, path, op->arg[1], op->arg[2], op->arg[3], op->arg[4], op->arg[5], &in->step);
	if (from != AT_FDCWD)
		close_fd(from);
	if (fd >= 0)
		produce(in, op, 0, fd);
	return fd;
}

/* VERIFY_DEV: a node of the host's that stands for a device is that device, whatever its path led to. */
int op_VERIFY_DEV(struct init *in, struct plan_op *op)
{
	in->step = STEP_VERIFY;
	return verify_dev(slot(in, op, 0), op->arg[0] & S_IFMT, op->arg[1]);
}

/* One option of a file system: `key=value`, or a bare `key` that is a flag. `path` is scratch for the key. */
static int set_option(struct init *in, int fs, const char *option)
{
	char *key = in->path[0];
	uint32_t n = 0;

	while (option[n] && option[n] != '=' && n < 255) {
		key[n] = option[n];
		n++;
	}
	key[n] = 0;
	if (option[n] == '=')
		return (int)SYS5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, key, option + n + 1, 0);
	return (int)SYS5(__NR_fsconfig, fs, FSCONFIG_SET_FLAG, key, 0, 0);
}

static int make_fs(struct init *in, const char *type, char *const *options, uint32_t attr, const char *mode)
{
	int fs, fd, ret = 0;

	in->step = STEP_FSOPEN;
	fs = (int)SYS2(__NR_fsopen, type, FSOPEN_CLOEXEC);
	if (fs < 0)
		return fs;
	in->step = STEP_FSCONFIG;
	if (mode)
		ret = (int)SYS5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "mode", mode, 0);
	while (ret >= 0 && options && *options)
		ret = set_option(in, fs, *options++);
	if (ret >= 0) {
		in->step = STEP_FSCREATE;
		ret = (int)SYS5(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
	}
	if (ret >= 0) {
		in->step = STEP_FSMOUNT;
		ret = (int)SYS3(__NR_fsmount, fs, FSMOUNT_CLOEXEC, attr);
	}
	fd = ret;
	close_fd(fs);
	return fd;
}

/* The permissions of the directory a tmpfs will cover, in octal, so that covering it does not change them. */
static const char *mode_of(int root, const char *path, char *text)
{
	struct statx st;
	int fd = open_in(root, path, O_PATH | O_DIRECTORY, ROOT_RESOLVE), i;
	long ret;

	if (fd < 0)
		return 0;
	ret = SYS5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_MODE, &st);
	close_fd(fd);
	if (ret < 0)
		return 0;
	for (i = 3; i >= 0; i--, st.stx_mode >>= 3)
		text[i] = (char)('0' + (st.stx_mode & 7));
	text[4] = 0;
	return text;
}

int op_FSMOUNT(struct init *in, struct plan_op *op)
{
	char text[5];
	const char *mode = op->slot[1] == NO_SLOT ? 0 : mode_of(slot(in, op, 1), arg_str(in, op->arg[3]), text);
	int fd = make_fs(in, arg_str(in, op->arg[0]), arg_vec(in, op->arg[1]), op->arg[2], mode);

	if (fd >= 0)
		produce(in, op, 0, fd);
	return fd;
}

/* "mode=0755,size=1m", the mode only if there is one; -E2BIG above what mount(2) reads. */
static int page_of(char *page, const char *mode, const char *data)
{
	uint32_t n = 0, len = str_len(data);

	if (mode) {
		mem_copy(page, "mode=", 5);
		mem_copy(page + 5, mode, 4);
		page[9] = ',';
		n = len ? 10 : 9;
	}
	if (n + len > 4095)
		return -E2BIG;
	mem_copy(page + n, data, len);
	page[n + len] = 0;
	return 0;
}

/*
 * MOUNT: as FSMOUNT, for what fsconfig(2) does not take: a string above 255 bytes, a comma in a value. mount(2) wants a
 * place, and it is "/" itself, in our copy of the host's tree: a process whose root is there does not see what lies over it, nobody
 * else is in this namespace, and all of it is the host's, so there is no path that an image could redirect. "/.." leads to
 * the topmost mount on the root (path_resolution(7)), which is cloned, and then taken away again.
 */
int op_MOUNT(struct init *in, struct plan_op *op)
{
	char text[5], *page = in->path[0];
	const char *mode = op->slot[1] == NO_SLOT ? 0 : mode_of(slot(in, op, 1), arg_str(in, op->arg[5]), text);
	uint32_t attr = op->arg[4];
	int fd, ret;

	in->step = STEP_FSCONFIG;
	ret = page_of(page, mode, arg_str(in, op->arg[3]));
	if (ret < 0)
		return ret;
	in->step = STEP_FSCREATE;
	ret = (int)SYS5(__NR_mount, arg_str(in, op->arg[1]), "/", arg_str(in, op->arg[0]), op->arg[2], page);
	if (ret < 0)
		return ret;
	in->step = STEP_CLONE;
	fd = (int)SYS3(__NR_open_tree, AT_FDCWD, "/..", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0)
		return fd;
	in->step = STEP_UMOUNT;
	ret = (int)SYS2(__NR_umount2, "/..", MNT_DETACH);
	if (ret == 0) {
		in->step = STEP_ATTR;
		ret = tree_setattr(fd, attr, attr & MOUNT_ATTR__ATIME ? MOUNT_ATTR__ATIME : 0, 0, 0);
	}
	if (ret < 0) {
		close_fd(fd);
		return ret;
	}
	produce(in, op, 0, fd);
	return 0;
}

/* RELABEL: SELinux's label of a file system that takes no context= (mqueue). */
int op_RELABEL(struct init *in, struct plan_op *op)
{
	int fd, ret;

	in->step = STEP_OPEN;
	fd = open_in(slot(in, op, 0), ".", O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	in->step = STEP_LABEL;
	ret = (int)SYS5(__NR_fsetxattr, fd, "security.selinux", arg_str(in, op->arg[0]), arg_len(in, op->arg[0]), 0);
	close_fd(fd);
	return ret;
}

int op_SETATTR(struct init *in, struct plan_op *op)
{
	int tree = slot(in, op, 0);
	int ret = tree_setattr(tree, 0, 0, op->arg[3], (op->arg[0] & TREE_ATTR_REC) != 0);

	return ret < 0 ? ret : tree_attr(tree, op->arg[0], op->arg[1], op->arg[2], op->arg[4], &in->step);
}

static int move_to(struct init *in, int tree, int target)
{
	in->step = STEP_MOVE;
	return (int)SYS5(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/*
 * ROOT: attach the root file system's tree where it lies on the host, in our own copy of the host's tree: that is where
 * hooks that enter this mount namespace before the root changes look for it. The path is resolved once, below "/", before
 * anything of the container is mounted, and through no symlink. "." lays the tree over "/" itself, for a place that root
 * of a user namespace may not reach. The descriptor stays the root slot until the root is changed.
 */
int op_ROOT(struct init *in, struct plan_op *op)
{
	int top, target, ret, tree = slot(in, op, 0);

	in->step = STEP_OPEN;
	top = open_in(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
	if (top < 0)
		return top;
	ret = target = open_in(top, arg_str(in, op->arg[0]), O_PATH | O_DIRECTORY, ROOT_RESOLVE | RESOLVE_NO_SYMLINKS);
	if (target >= 0) {
		ret = move_to(in, tree, target);
		close_fd(target);
	}
	close_fd(top);
	if (ret < 0)
		return ret;
	in->step = STEP_OPEN;
	ret = open_in(tree, ".", O_PATH | O_DIRECTORY, 0);
	if (ret >= 0)
		produce(in, op, 1, ret);
	return ret;
}

int op_OPENROOT(struct init *in, struct plan_op *op)
{
	int fd = open_in(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);

	if (fd >= 0)
		produce(in, op, 0, fd);
	return fd;
}

/* NEWPROC: a procfs of our own that is attached nowhere, so nothing can be mounted over any part of it (docs/security.md, C2). */
int op_NEWPROC(struct init *in, struct plan_op *op)
{
	int fd = make_fs(in, "proc", 0, 0, 0), ret;

	if (fd < 0)
		return fd;
	in->step = STEP_VERIFY;
	ret = verify_fs(fd, PROC_SUPER_MAGIC);
	if (ret < 0) {
		close_fd(fd);
		return ret;
	}
	produce(in, op, 0, fd);
	return 0;
}

/*
 * OPENPROC: the container's /proc, where a procfs of our own is not to be had: in a user namespace that does not own its
 * pid namespace. It is proved to be the root of a procfs; a write beneath it crosses no mount, so what was mounted over a
 * part of it is refused and not written to (CVE-2025-52881).
 */
int op_OPENPROC(struct init *in, struct plan_op *op)
{
	int fd, ret;

	in->step = STEP_OPEN;
	fd = open_in(slot(in, op, 1), "proc", O_PATH | O_DIRECTORY, ROOT_RESOLVE | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return fd;
	in->step = STEP_NOTPROC;
	ret = verify_proc_root(fd);
	if (ret < 0) {
		close_fd(fd);
		return ret;
	}
	produce(in, op, 0, fd);
	return 0;
}

/* The directory something is to be mounted on that must be no symlink, nor lie behind one: /proc, /sys. */
static int open_real_dir(struct init *in, int root, const char *path)
{
	uint64_t strict = ROOT_RESOLVE | RESOLVE_NO_SYMLINKS;
	int fd = open_in(root, path, O_PATH, strict);

	if (fd == -ENOENT) {
		fd = open_or_make(in, root, path, S_IFDIR, 0755);
		if (fd < 0)
			return fd;
		close_fd(fd);
		in->step = STEP_OPEN;
		fd = open_in(root, path, O_PATH, strict);
	}
	if (fd == -ELOOP)
		in->step = STEP_SYMLINK;
	if (fd >= 0) {
		int directory = is_type(fd, S_IFDIR);

		if (directory == 1)
			return fd;
		close_fd(fd);
		in->step = directory < 0 ? STEP_STAT : STEP_NOTDIR;
		return directory < 0 ? directory : -ENOTDIR;
	}
	return fd;
}

static int open_target(struct init *in, struct plan_op *op, int tree)
{
	const char *path = arg_str(in, op->arg[0]);
	int dir, root = slot(in, op, 1);

	in->step = STEP_OPEN;
	if (op->arg[1] & ATTACH_REAL_DIR)
		return open_real_dir(in, root, path);
	dir = op->arg[1] & ATTACH_FILE ? 0 : is_type(tree, S_IFDIR);
	if (dir < 0)
		return dir;
	return open_or_make(in, root, path, dir ? S_IFDIR : S_IFREG, dir ? 0755 : op->arg[2]);
}

/* ATTACH: move a detached mount onto a path below the root; the target is made if it is missing. */
int op_ATTACH(struct init *in, struct plan_op *op)
{
	int tree = slot(in, op, 0), target, ret, clone = -1;

	if (op->arg[1] & ATTACH_CLONE) {
		in->step = STEP_CLONE;
		clone = tree = (int)SYS3(__NR_open_tree, tree, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		if (tree < 0)
			return tree;
	}
	if (op->arg[1] & ATTACH_PROC && verify_fs(tree, PROC_SUPER_MAGIC) < 0) {
		in->step = STEP_NOTPROC;
		return -EINVAL;
	}
	ret = target = open_target(in, op, tree);
	if (target >= 0) {
		/* No link of the image leads a mount into proc, where it would cover what decides over us (CVE-2015-3631). */
		if (!(op->arg[1] & ATTACH_IN_PROC) && verify_fs(target, PROC_SUPER_MAGIC) == 0) {
			in->step = STEP_VERIFY;
			ret = -EXDEV;
		} else {
			ret = move_to(in, tree, target);
			if (ret == -EINVAL && is_type(tree, S_IFDIR) != is_type(target, S_IFDIR))
				/* a file on a directory: mount(2)'s errno, from which managers know the mistake */
				ret = -ENOTDIR;
		}
		close_fd(target);
	}
	if (clone >= 0)
		close_fd(clone);
	return ret;
}

/* Makes one node without following anything, and checks on a descriptor that what stands there is what was asked for. */
static int make_node(struct init *in, int dir, const char *name, struct plan_op *op)
{
	uint32_t mode = op->arg[1], type = mode & S_IFMT, dev = op->arg[2];
	struct statx st;
	int fd, ret, mask;

	in->step = STEP_CREATE;
	mask = (int)SYS1(__NR_umask, 0); /* so that the mode is right at birth and no chmod is needed */
	ret = (int)SYS4(__NR_mknodat, dir, name, mode, dev);
	SYS1(__NR_umask, mask);
	if (ret < 0 && ret != -EEXIST)
		return ret;
	in->step = STEP_OPEN;
	fd = open_in(dir, name, O_PATH | O_NOFOLLOW, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fd;
	in->step = STEP_STAT;
	ret = (int)SYS5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE, &st);
	if (ret == 0 && ((st.stx_mode & S_IFMT) != type ||
			 (type != S_IFIFO && (st.stx_rdev_major != (dev >> 8 & 0xfff) ||
					      st.stx_rdev_minor != ((dev & 0xff) | (dev >> 12 & 0xfff00)))))) {
		in->step = STEP_VERIFY;
		ret = -EEXIST; /* another node stands there: the spec says error, and so do we */
	}
	if (ret == 0) {
		in->step = STEP_CHOWN;
		ret = (int)SYS5(__NR_fchownat, fd, "", op->arg[3], op->arg[4], AT_EMPTY_PATH);
	}
	if (ret == 0 && (st.stx_mode & 07777) != (mode & 07777)) {
		/* A node that was there. fchmodat2 (6.6) works on the descriptor; before it, on the parent and the one component
		 * just checked: a swap needs write access to a directory no process of the container can reach yet. */
		in->step = STEP_CHMOD;
		ret = (int)SYS4(__NR_fchmodat2, fd, "", mode & 07777, AT_EMPTY_PATH);
		if (ret == -ENOSYS)
			ret = (int)SYS3(__NR_fchmodat, dir, name, mode & 07777);
	}
	close_fd(fd);
	return ret;
}

int op_NODE(struct init *in, struct plan_op *op)
{
	const char *name;
	int dir = open_parent(in, slot(in, op, 0), arg_str(in, op->arg[0]), &name), ret;

	if (dir < 0)
		return dir;
	ret = make_node(in, dir, name, op);
	close_fd(dir);
	return ret;
}

int op_LINK(struct init *in, struct plan_op *op)
{
	const char *name;
	int dir = open_parent(in, slot(in, op, 0), arg_str(in, op->arg[0]), &name), ret;

	if (dir < 0)
		return dir;
	if (op->arg[2])
		SYS3(__NR_unlinkat, dir, name, 0);
	in->step = STEP_CREATE;
	ret = (int)SYS3(__NR_symlinkat, arg_str(in, op->arg[1]), dir, name);
	close_fd(dir);
	return ret;
}

int op_MKDIR(struct init *in, struct plan_op *op)
{
	int fd = open_or_make(in, slot(in, op, 0), arg_str(in, op->arg[0]), S_IFDIR, op->arg[1]);

	if (fd < 0)
		return fd;
	close_fd(fd);
	return 0;
}

/*
 * PIVOT: pivot_root(".", ".") puts the old root on top of the new one's directory, where it is detached at once; no
 * directory in the image is needed for it (pivot_root(2), NOTES).
 */
int op_PIVOT(struct init *in, struct plan_op *op)
{
	int ret;

	in->step = STEP_CHDIR;
	ret = (int)SYS1(__NR_fchdir, slot(in, op, 0));
	if (ret < 0)
		return ret;
	in->step = STEP_MOVE;
	ret = (int)SYS2(__NR_pivot_root, ".", ".");
	if (ret < 0)
		return ret;
	in->step = STEP_UMOUNT;
	ret = (int)SYS2(__NR_umount2, ".", MNT_DETACH);
	if (ret < 0)
		return ret;
	in->step = STEP_CHDIR;
	return (int)SYS1(__NR_chdir, "/");
}

/* CHROOT: after MOVEROOT; or there is no mount namespace of our own, and the root is changed for this process only. */
int op_CHROOT(struct init *in, struct plan_op *op)
{
	int ret;

	in->step = STEP_CHDIR;
	ret = (int)SYS1(__NR_fchdir, slot(in, op, 0));
	if (ret == 0) {
		in->step = STEP_MOVE;
		ret = (int)SYS1(__NR_chroot, ".");
	}
	return ret < 0 ? ret : (int)SYS1(__NR_chdir, "/");
}

/*
 * MOVEROOT (--no-pivot, the host's root is a ramfs): the tree is moved over "/"; CHROOT enters it. The tree below
 * stays reachable to someone who may chroot and unmount, as with runc: that is the price of the option. It must not
 * cost more, and PURGE sees to that.
 */
int op_MOVEROOT(struct init *in, struct plan_op *op)
{
	int top = open_in(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0), ret;

	if (top < 0)
		return top;
	ret = move_to(in, slot(in, op, 0), top);
	close_fd(top);
	return ret;
}
