/*
 * COPYUP (mount option tmpcopyup): what the image has at the destination is copied into the tmpfs before it covers it.
 *
 * No recursion and no allocation: a fixed stack of directory pairs. A directory is left in the middle by remembering its
 * position (d_off) in the descriptor itself, so one buffer serves all levels. Nothing is followed: every name is opened
 * O_NOFOLLOW on the descriptor of the directory it was read from.
 */
#include "init.h"

#define DEPTH 64

struct entry {
	uint64_t ino;
	int64_t off;
	uint16_t len;
	uint8_t type;
	char name[];
};
struct pair {
	int from, to;
};

static int copy_bytes(struct init *in, int from, int to)
{
	char *chunk = in->path[0];
	long n, w;

	while ((n = SYS3(__NR_read, from, chunk, sizeof in->path)) > 0)
		for (w = 0; w < n;) {
			long done = SYS3(__NR_write, to, chunk + w, n - w);

			if (done < 0)
				return (int)done;
			w += done;
		}
	return (int)n;
}

static int copy_file(struct init *in, struct pair *p, const char *name, struct statx *st)
{
	int to, ret, from = open_in(p->from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, RESOLVE_BENEATH);

	if (from < 0)
		return from;
	to = (int)SYS4(__NR_openat, p->to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	ret = to < 0 ? to : copy_bytes(in, from, to);
	if (ret == 0)
		ret = (int)SYS3(__NR_fchown, to, st->stx_uid, st->stx_gid);
	if (ret == 0)
		ret = (int)SYS2(__NR_fchmod, to, st->stx_mode & 07777);
	if (to >= 0)
		close_fd(to);
	close_fd(from);
	return ret;
}

static int copy_special(struct init *in, struct pair *p, const char *name, struct statx *st)
{
	char *link = in->path[0];
	long ret;

	if ((st->stx_mode & S_IFMT) == S_IFLNK) {
		ret = SYS4(__NR_readlinkat, p->from, name, link, 4095);
		if (ret < 0)
			return (int)ret;
		link[ret] = 0;
		ret = SYS3(__NR_symlinkat, link, p->to, name);
	} else {
		uint32_t dev = (st->stx_rdev_minor & 0xff) | st->stx_rdev_major << 8 | (st->stx_rdev_minor & ~0xffu) << 12;

		ret = SYS4(__NR_mknodat, p->to, name, st->stx_mode, dev);
		if (ret == 0)
			ret = SYS3(__NR_fchmodat, p->to, name, st->stx_mode & 07777);
	}
	if (ret == 0)
		ret = SYS5(__NR_fchownat, p->to, name, st->stx_uid, st->stx_gid, AT_SYMLINK_NOFOLLOW);
	return (int)ret;
}

static int enter(struct pair *p, struct pair *sub, const char *name, struct statx *st)
{
	int ret = (int)SYS3(__NR_mkdirat, p->to, name, 0700);

	if (ret < 0)
		return ret;
	sub->from = open_in(p->from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_BENEATH);
	if (sub->from < 0)
		return sub->from;
	sub->to = open_in(p->to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, RESOLVE_BENEATH);
	ret = sub->to < 0 ? sub->to : (int)SYS3(__NR_fchown, sub->to, st->stx_uid, st->stx_gid);
	if (ret == 0)
		ret = (int)SYS2(__NR_fchmod, sub->to, st->stx_mode & 07777);
	if (ret < 0) {
		close_fd(sub->from);
		if (sub->to >= 0)
			close_fd(sub->to);
	}
	return ret;
}

/* Handles the entries of one buffer. Returns 1 when a directory was entered (its pair is in `sub`), 0 at the end. */
static int copy_entries(struct init *in, struct pair *p, struct pair *sub, long n)
{
	long at = 0;
	int ret = 0;

	while (at < n && ret == 0) {
		struct entry *e = (struct entry *)(in->buf + at);
		struct statx st;

		at += e->len;
		if (str_same(e->name, ".") || str_same(e->name, ".."))
			continue;
		ret = (int)SYS5(__NR_statx, p->from, e->name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &st);
		if (ret < 0)
			return ret;
		if ((st.stx_mode & S_IFMT) == S_IFDIR) {
			ret = enter(p, sub, e->name, &st);
			if (ret == 0) {
				SYS3(__NR_lseek, p->from, e->off, 0);
				return 1;
			}
		} else if ((st.stx_mode & S_IFMT) == S_IFREG) {
			ret = copy_file(in, p, e->name, &st);
		} else {
			ret = copy_special(in, p, e->name, &st);
		}
	}
	return ret;
}

static int copy_tree(struct init *in, struct pair *stack)
{
	int level = 0, ret = 0;

	while (level >= 0) {
		long n = SYS3(__NR_getdents64, stack[level].from, in->buf, sizeof in->buf);

		ret = n <= 0 ? (int)n : level + 1 == DEPTH ? -ELOOP : copy_entries(in, &stack[level], &stack[level + 1], n);
		if (ret == 1) {
			level++;
			continue;
		}
		if (n > 0 && ret == 0)
			continue;
		do { /* the level is done, or everything has failed */
			close_fd(stack[level].from);
			close_fd(stack[level].to);
			level--;
		} while (ret < 0 && level >= 0);
	}
	return ret;
}

int op_COPYUP(struct init *in, struct plan_op *op)
{
	struct pair stack[DEPTH];
	struct statx st;
	int ret;

	in->step = STEP_OPEN;
	stack[0].from = open_in(slot(in, op, 1), arg_str(in, op->arg[0]), O_RDONLY | O_DIRECTORY, ROOT_RESOLVE);
	if (stack[0].from < 0) /* nothing there: nothing to copy */
		return stack[0].from == -ENOENT || stack[0].from == -ENOTDIR ? 0 : stack[0].from;
	stack[0].to = open_in(slot(in, op, 0), ".", O_RDONLY | O_DIRECTORY, 0);
	ret = stack[0].to;
	if (ret >= 0)
		ret = (int)SYS5(__NR_statx, stack[0].from, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &st);
	if (ret >= 0)
		ret = (int)SYS3(__NR_fchown, stack[0].to, st.stx_uid, st.stx_gid);
	if (ret < 0) {
		close_fd(stack[0].from);
		if (stack[0].to >= 0)
			close_fd(stack[0].to);
		return ret;
	}
	in->step = STEP_WRITE;
	return copy_tree(in, stack);
}
