/* A descriptor is verified, never a path: so the thing that was checked is the thing that will be used. */
#include <linux/magic.h>
#include "init.h"

static int stat_fd(int fd, struct statx *st)
{
	return (int)SYS5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_TYPE | STATX_MODE | STATX_INO, st);
}

int is_type(int fd, uint32_t type)
{
	struct statx st;
	int ret = stat_fd(fd, &st);

	return ret < 0 ? ret : (st.stx_mode & S_IFMT) == type;
}

/* Type *and* number: a regular file's rdev is 0 and so equals any other regular file's (CVE-2026-88265). */
static int verify_node(int fd, uint32_t type, uint32_t major, uint32_t minor)
{
	struct statx st;
	int ret = stat_fd(fd, &st);

	if (ret < 0)
		return ret;
	return (st.stx_mode & S_IFMT) == type && st.stx_rdev_major == major && st.stx_rdev_minor == minor ? 0 : -ENODEV;
}

int verify_char(int fd, uint32_t major, uint32_t minor)
{
	return verify_node(fd, S_IFCHR, major, minor);
}

/* `dev` as mknod(2) takes it: 12 bits of major among 20 of minor. */
int verify_dev(int fd, uint32_t type, uint32_t dev)
{
	return verify_node(fd, type, dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

int verify_fs(int fd, long magic)
{
	struct statfs st;
	int ret = (int)SYS2(__NR_fstatfs, fd, &st);

	return ret < 0 ? ret : st.f_type == magic ? 0 : -ENODEV;
}

/* The root of a procfs, not a part of one that is bound there: it has inode 1 (linux/proc_ns.h, PROC_ROOT_INO). */
int verify_proc_root(int fd)
{
	struct statx st;
	int ret = verify_fs(fd, PROC_SUPER_MAGIC);

	if (ret == 0)
		ret = stat_fd(fd, &st);
	return ret < 0 ? ret : st.stx_ino == 1 ? 0 : -ENODEV;
}
