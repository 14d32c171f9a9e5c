/* Phase `sys`: what is set once the container's root is ours. */
#include <linux/prctl.h>
#include "init.h"
#include "../tree.h"

/* DEVNULL: the container's /dev/null, proved to be one, as a descriptor everything that needs it uses (docs/security.md, C3). */
int op_DEVNULL(struct init *in, struct plan_op *op)
{
	int fd, ret;

	in->step = STEP_OPEN;
	fd = open_in(slot(in, op, 0), "dev/null", O_PATH | O_NOFOLLOW, ROOT_RESOLVE | RESOLVE_NO_SYMLINKS);
	if (fd < 0)
		return fd;
	in->step = STEP_VERIFY;
	ret = verify_char(fd, 1, 3);
	if (ret < 0) {
		close_fd(fd);
		return ret;
	}
	produce(in, op, 1, fd);
	return 0;
}

/*
 * NULLFD: stdio that is the host's /dev/null becomes the container's, so that no descriptor of the host's /dev remains.
 * The new descriptor is verified as the old one was: type and number (CVE-2015-3627, CVE-2026-88265).
 */
int op_NULLFD(struct init *in, struct plan_op *op)
{
	int fd, std, ret = 0;

	for (std = 0; std < 3 && ret >= 0; std++) {
		if (verify_char(std, 1, 3) < 0)
			continue;
		in->step = STEP_OPEN;
		fd = open_in(slot(in, op, 0), "dev/null", O_RDWR, ROOT_RESOLVE | RESOLVE_NO_SYMLINKS);
		if (fd < 0)
			return fd;
		in->step = STEP_VERIFY;
		ret = verify_char(fd, 1, 3);
		if (ret == 0) {
			in->step = STEP_DUP;
			ret = (int)SYS3(__NR_dup3, fd, std, 0);
		}
		close_fd(fd);
	}
	return ret;
}

/*
 * CHOWN_STDIO: the process may reopen its own stdio (/dev/stdout). /dev/null is everybody's and is left alone; a
 * terminal or a file is here only if a manager has left it to the container (the foreground copies those).
 */
int op_CHOWN_STDIO(struct init *in, struct plan_op *op)
{
	struct statx st;
	int std, ret;

	(void)in;
	for (std = 0; std < 3; std++) {
		if (verify_char(std, 1, 3) == 0 || SYS5(__NR_statx, std, "", AT_EMPTY_PATH, STATX_UID, &st) < 0 ||
		    st.stx_uid == op->arg[0])
			continue;
		ret = (int)SYS3(__NR_fchown, std, op->arg[0], -1);
		if (ret < 0 && ret != -EINVAL && ret != -EPERM && ret != -EROFS)
			return ret;
	}
	return 0;
}

int op_HOSTNAME(struct init *in, struct plan_op *op)
{
	return (int)SYS2(__NR_sethostname, arg_str(in, op->arg[0]), arg_len(in, op->arg[0]));
}

int op_DOMAINNAME(struct init *in, struct plan_op *op)
{
	return (int)SYS2(__NR_setdomainname, arg_str(in, op->arg[0]), arg_len(in, op->arg[0]));
}

/* A write below the detached proc: beneath it, on the same mount, through no link of any kind (CVE-2025-52881). */
static int proc_write(struct init *in, int proc, const char *path, const char *value, uint32_t len)
{
	int fd;
	long n;

	in->step = STEP_OPEN;
	fd = open_in(proc, path, O_WRONLY, RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS);
	if (fd < 0)
		return fd;
	in->step = STEP_WRITE;
	n = SYS3(__NR_write, fd, value, len);
	close_fd(fd);
	return n < 0 ? (int)n : n == (long)len ? 0 : -EIO;
}

static int op_proc_write(struct init *in, struct plan_op *op)
{
	return proc_write(in, slot(in, op, 0), arg_str(in, op->arg[0]), arg_str(in, op->arg[1]), arg_len(in, op->arg[1]));
}

int op_SYSCTL(struct init *in, struct plan_op *op)
{
	return op_proc_write(in, op);
}

int op_LABEL(struct init *in, struct plan_op *op)
{
	return op_proc_write(in, op);
}

/* OOM: through the host's proc, handed down as a descriptor: there is no other yet when this has to be done. */
int op_OOM(struct init *in, struct plan_op *op)
{
	return proc_write(in, slot(in, op, 0), "self/oom_score_adj", arg_str(in, op->arg[0]), arg_len(in, op->arg[0]));
}

/* READONLY: a recursive clone of the path, its top read-only, mounted where it came from. */
int op_READONLY(struct init *in, struct plan_op *op)
{
	int target, tree, ret;

	in->step = STEP_OPEN;
	target = open_in(slot(in, op, 0), arg_str(in, op->arg[0]), O_PATH, ROOT_RESOLVE);
	if (target < 0)
		return target == -ENOENT ? 0 : target; /* nothing there that could be written */
	in->step = STEP_CLONE;
	ret = tree = (int)SYS3(__NR_open_tree, target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (tree >= 0) {
		in->step = STEP_ATTR;
		ret = tree_setattr(tree, MOUNT_ATTR_RDONLY, 0, 0, 0);
		if (ret == 0) {
			in->step = STEP_MOVE;
			ret = (int)SYS5(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
		}
		close_fd(tree);
	}
	close_fd(target);
	return ret;
}

int new_mask_tree(struct init *in, const char *label)
{
	int fs, fd = -EINVAL, ret;
	const char *inodes = "1";

	/* nr_inodes=1 is refused by newer kernels, which count one more: then 2 */
	for (;; inodes = "2") {
		in->step = STEP_FSOPEN;
		fs = (int)SYS2(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC);
		if (fs < 0)
			return fs;
		in->step = STEP_FSCONFIG;
		SYS5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "source", "tmpfs", 0);
		SYS5(__NR_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", 0, 0);
		SYS5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "nr_blocks", "1", 0);
		SYS5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", inodes, 0);
		ret = *label ? (int)SYS5(__NR_fsconfig, fs, FSCONFIG_SET_STRING, "context", label, 0) : 0;
		if (ret == 0) {
			in->step = STEP_FSCREATE;
			ret = (int)SYS5(__NR_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0);
		}
		if (ret == 0)
			ret = fd = (int)SYS3(__NR_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
		close_fd(fs);
		if (ret != -EINVAL || *inodes == '2')
			return ret < 0 ? ret : fd;
	}
}

/*
 * What covers a masked path: a directory is covered by one read-only tmpfs that all of them share (one superblock), a
 * file by the verified /dev/null. Cloned from the descriptor, never from a path (CVE-2025-31133).
 */
static int mask_source(struct init *in, struct plan_op *op, int directory)
{
	int from = slot(in, op, 1);

	if (directory && in->mask_tree < 0)
		return in->mask_tree = new_mask_tree(in, arg_str(in, op->arg[1]));
	in->step = STEP_CLONE;
	return (int)SYS3(__NR_open_tree, directory ? in->mask_tree : from, "",
			 OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
}

int op_MASK(struct init *in, struct plan_op *op)
{
	int target, cover, ret, directory;

	in->step = STEP_OPEN;
	target = open_in(slot(in, op, 0), arg_str(in, op->arg[0]), O_PATH, ROOT_RESOLVE);
	if (target == -ENOENT)
		return 0; /* only the absence of the target is not an error */
	if (target < 0)
		return target;
	directory = is_type(target, S_IFDIR);
	ret = cover = mask_source(in, op, directory);
	if (cover >= 0) {
		in->step = STEP_MOVE;
		ret = (int)SYS5(__NR_move_mount, cover, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
		if (cover != in->mask_tree)
			close_fd(cover);
	}
	close_fd(target);
	return ret;
}

int op_UMASK(struct init *in, struct plan_op *op)
{
	(void)in;
	return (int)SYS1(__NR_umask, op->arg[0]);
}
