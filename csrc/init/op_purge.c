/*
 * PURGE: with --no-pivot the host's tree stays in the mount namespace, below the container's root. The kernel lets a user
 * namespace mount a fresh procfs or sysfs if it finds one in there that is wholly visible (mount_too_revealing(),
 * fs/namespace.c), wherever that is mounted and whoever can reach it; and the host's have no masks. So each outside of the
 * root goes, or is covered where the mount is locked: a cover is locked too in any namespace copied from this one.
 *
 * Which they are, the kernel says (mountinfo): by type and mount id, not by path. It runs between MOVEROOT and CHROOT: the
 * container's tree is out of the way by then, and "/" is the host's still.
 */
#include <linux/magic.h>
#include <linux/mount.h>
#include "init.h"

#define TEXT_MIN (1u << 20) /* bytes of mountinfo that there is room for at first */

struct entry {
	uint32_t id, parent;
	char *root, *point, *type;
};
struct table {
	struct entry *all;
	uint32_t n, own, size;
	char *text;
};

static long mount_id(int fd)
{
	struct statx st;
	long ret = SYS5(__NR_statx, fd, "", AT_EMPTY_PATH, STATX_MNT_ID, &st);

	return ret < 0 ? ret : (long)st.stx_mnt_id;
}

/* Cuts the word off at its blank and undoes \040 and its like in place; returns what follows. */
static char *cut(char *at)
{
	char *to = at;

	for (; *at && *at != ' '; at++)
		if (at[0] == '\\' && at[1] && at[2] && at[3]) {
			*to++ = (char)((at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0'));
			at += 3;
		} else {
			*to++ = *at;
		}
	if (*at)
		at++;
	*to = 0;
	return at;
}

/* "36 35 98:0 /root /point options [optional]... - type source options", proc(5) */
static int parse_line(char *at, struct entry *e)
{
	char *word = at;

	at = cut(at);
	e->id = dec(word, 1u << 31);
	word = at;
	at = cut(at);
	e->parent = dec(word, 1u << 31);
	at = cut(at);
	e->root = at;
	at = cut(at);
	e->point = at;
	at = cut(at);
	do {
		word = at;
		at = cut(at);
	} while (*word && !str_same(word, "-"));
	e->type = at;
	cut(at);
	return e->id == UINT32_MAX || !*e->type ? -EIO : 0;
}

static int read_table(int fd, struct table *t)
{
	uint32_t len = 0, start = 0, i;
	long n;

	n = SYS3(__NR_lseek, fd, 0, 0);
	if (n < 0)
		return (int)n;
	while ((n = SYS3(__NR_read, fd, t->text + len, t->size - 1 - len)) > 0)
		len += (uint32_t)n;
	if (n < 0 || len == t->size - 1)
		return n < 0 ? (int)n : -EFBIG;
	t->n = 0;
	for (i = 0; i < len; i++)
		if (t->text[i] == '\n') {
			t->text[i] = 0;
			if (parse_line(t->text + start, &t->all[t->n++]) < 0)
				return -EIO;
			start = i + 1;
		}
	return t->n ? 0 : -EIO; /* a namespace has a root at least */
}

static struct entry *find(struct table *t, uint32_t id)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->all[i].id == id)
			return &t->all[i];
	return 0;
}

static int is_own(struct table *t, struct entry *e)
{
	for (uint32_t steps = 0; e && steps <= t->n; steps++) {
		if (e->id == t->own)
			return 1;
		e = find(t, e->parent);
	}
	return 0;
}

/* Something is mounted on the top of it. */
static int is_covered(struct table *t, struct entry *e)
{
	for (uint32_t i = 0; i < t->n; i++)
		if (t->all[i].parent == e->id && t->all[i].id != e->id && str_same(t->all[i].point, e->point))
			return 1;
	return 0;
}

static int is_bare(struct table *t, struct entry *e)
{
	return (str_same(e->type, "proc") || str_same(e->type, "sysfs")) && str_same(e->root, "/") && !is_own(t, e) &&
	       !is_covered(t, e);
}

static int cover(struct init *in, int target)
{
	int tree = new_mask_tree(in, ""), ret;

	if (tree < 0)
		return tree;
	in->step = STEP_MOVE;
	ret = (int)SYS5(__NR_move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
	close_fd(tree);
	return ret;
}

/* The mount whose root this is, by the descriptor: the path of a mount is the host's, but nothing is looked up twice. */
static int unmount(struct init *in, int root)
{
	int ret;

	in->step = STEP_CHDIR;
	ret = (int)SYS1(__NR_fchdir, root);
	if (ret < 0)
		return ret;
	in->step = STEP_UMOUNT;
	return (int)SYS2(__NR_umount2, ".", MNT_DETACH);
}

static int open_point(int top, const char *point)
{
	return open_in(top, point[0] && point[1] ? point + 1 : ".", O_PATH, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

/* Opens the path, or the deepest part of it that exists. */
static int open_deepest(struct init *in, int top, const char *point)
{
	char *path = in->path[0];
	uint32_t len = str_len(point);
	int fd;

	if (len >= 4096)
		return -ENAMETOOLONG;
	mem_copy(path, point, len + 1);
	while ((fd = open_point(top, path)) == -ENOENT || fd == -ENOTDIR) {
		while (len && path[len - 1] != '/')
			len--;
		if (len)
			len--;
		path[len] = 0;
	}
	return fd;
}

/* Takes away what is mounted over the way to something. */
static int uncover(struct init *in, struct table *t, struct entry *e, struct entry *over, int top)
{
	int root, ret = -EBUSY;

	in->step = STEP_UMOUNT;
	if (!over || over->id == e->parent || is_own(t, over))
		return -EBUSY;
	root = open_point(top, over->point);
	if (root < 0)
		return root;
	if (mount_id(root) == over->id)
		ret = unmount(in, root);
	close_fd(root);
	return ret;
}

static int take_away(struct init *in, struct table *t, struct entry *e, int top)
{
	int target, ret;
	long id;

	in->step = STEP_OPEN;
	target = open_deepest(in, top, e->point);
	if (target < 0)
		return target;
	id = mount_id(target);
	if (id == e->id) {
		ret = unmount(in, target);
		if (ret == -EINVAL || ret == -EPERM || ret == -EBUSY)
			ret = cover(in, target);
	} else {
		ret = uncover(in, t, e, id < 0 ? 0 : find(t, (uint32_t)id), top);
	}
	close_fd(target);
	return ret;
}

/* The mount furthest from the root comes first: a mount that covers another must not hide what is left in there. */
static struct entry *next_bare(struct table *t)
{
	struct entry *found = 0;

	for (uint32_t i = 0; i < t->n; i++)
		if (is_bare(t, &t->all[i]) && (!found || str_len(t->all[i].point) > str_len(found->point)))
			found = &t->all[i];
	return found;
}

static int purge(struct init *in, struct table *t, int mountinfo, int top)
{
	for (uint32_t round = 0, most = 1; round < most; round++) {
		struct entry *e;
		int ret;

		in->step = STEP_READ;
		ret = read_table(mountinfo, t);
		if (ret < 0)
			return ret;
		if (round == 0)
			most = 2 * t->n; /* each goes or is covered, once */
		e = next_bare(t);
		if (!e)
			return 0;
		ret = take_away(in, t, e, top);
		if (ret < 0)
			return ret;
	}
	in->step = STEP_UMOUNT;
	return -EBUSY;
}

/* With room for a text of t->size bytes, and for its lines, of which each has more than 20. */
static int purge_in(struct init *in, struct table *t, int mountinfo, int top)
{
	uint64_t lines = t->size / 20 * sizeof *t->all;
	int ret = -ENOMEM;

	t->text = zeroes(t->size);
	t->all = zeroes(lines);
	if (t->text && t->all)
		ret = purge(in, t, mountinfo, top);
	if (t->text)
		SYS2(__NR_munmap, t->text, t->size);
	if (t->all)
		SYS2(__NR_munmap, t->all, lines);
	return ret;
}

int op_PURGE(struct init *in, struct plan_op *op)
{
	struct table t = { .size = TEXT_MIN };
	int top, mountinfo, ret;
	long own;

	in->step = STEP_STAT;
	own = mount_id(slot(in, op, 0));
	if (own < 0)
		return (int)own;
	t.own = (uint32_t)own;
	in->step = STEP_OPEN;
	top = open_in(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
	if (top < 0)
		return top;
	ret = mountinfo = open_in(top, "proc/self/mountinfo", O_RDONLY, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	if (mountinfo >= 0) {
		in->step = STEP_VERIFY;
		ret = verify_fs(mountinfo, PROC_SUPER_MAGIC);
		if (ret == 0)
			while ((ret = purge_in(in, &t, mountinfo, top)) == -EFBIG && t.size < 1u << 30)
				t.size *= 4;
		close_fd(mountinfo);
	}
	close_fd(top);
	return ret;
}
