/* The terminal: a pty of the container's own devpts, made and passed on as descriptors only. */
#include <asm/termbits.h>
#include <asm/ioctls.h>
#include <linux/magic.h>
#include "init.h"

struct winsize {
	uint16_t rows, cols, x, y;
};

/* ptmx is proved to be *the* ptmx: devpts, inode 2, character 5:2 (runc checks the same since CVE-2025-52565). */
static int verify_ptmx(int fd)
{
	struct statx st;
	int ret = verify_fs(fd, DEVPTS_SUPER_MAGIC);

	if (ret == 0)
		ret = verify_char(fd, 5, 2);
	if (ret == 0)
		ret = (int)SYS5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_INO, &st);
	return ret < 0 ? ret : st.stx_ino == 2 ? 0 : -ENODEV;
}

static int set_up(struct init *in, struct plan_op *op, int master)
{
	struct winsize size = { .rows = (uint16_t)op->arg[0], .cols = (uint16_t)op->arg[1] };
	int zero = 0, peer, ret;

	in->step = STEP_IOCTL;
	ret = (int)SYS3(__NR_ioctl, master, TIOCSPTLCK, &zero);
	if (ret == 0 && size.rows && size.cols)
		ret = (int)SYS3(__NR_ioctl, master, TIOCSWINSZ, &size);
	if (ret < 0)
		return ret;
	/* The peer comes from the master itself: no /dev/pts/N is ever looked up. */
	in->step = STEP_PEER;
	peer = (int)SYS3(__NR_ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (peer < 0)
		return peer;
	in->step = STEP_CHOWN;
	ret = (int)SYS3(__NR_fchown, peer, op->arg[2], -1);
	if (ret < 0 && ret != -EPERM && ret != -EINVAL && ret != -EROFS) {
		close_fd(peer);
		return ret;
	}
	return peer;
}

/* PTY: master (goes to the supervisor by the next SYNC) and peer (becomes stdio). */
int op_PTY(struct init *in, struct plan_op *op)
{
	int root = slot(in, op, 0), master, peer;

	in->step = STEP_OPEN;
	master = open_in(root, "dev/pts/ptmx", O_RDWR | O_NOCTTY | O_NOFOLLOW, ROOT_RESOLVE | RESOLVE_NO_SYMLINKS);
	if (master < 0)
		return master;
	in->step = STEP_VERIFY;
	peer = verify_ptmx(master);
	if (peer == 0)
		peer = set_up(in, op, master);
	if (peer < 0) {
		close_fd(master);
		return peer;
	}
	produce(in, op, 1, master);
	produce(in, op, 2, peer);
	return 0;
}

/* CTTY: the session's controlling terminal and its stdio. */
int op_CTTY(struct init *in, struct plan_op *op)
{
	int fd = slot(in, op, 0), std, ret;

	in->step = STEP_IOCTL;
	ret = (int)SYS3(__NR_ioctl, fd, TIOCSCTTY, 0);
	in->step = STEP_DUP;
	for (std = 0; std < 3 && ret >= 0; std++)
		ret = (int)SYS3(__NR_dup3, fd, std, 0);
	return ret;
}
