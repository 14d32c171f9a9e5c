/* A descriptor is verified, never a path: what was checked is what will be used. */
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
int verify_char(int fd, uint32_t major, uint32_t minor)
{
	struct statx st;
	int ret = stat_fd(fd, &st);

	if (ret < 0)
		return ret;
	return (st.stx_mode & S_IFMT) == S_IFCHR && st.stx_rdev_major == major && st.stx_rdev_minor == minor ? 0 : -ENODEV;
}

int verify_fs(int fd, long magic)
{
	struct statfs st;
	int ret = (int)SYS2(__NR_fstatfs, fd, &st);

	return ret < 0 ? ret : st.f_type == magic ? 0 : -ENODEV;
}
