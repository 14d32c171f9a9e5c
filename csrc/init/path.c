/*
 * Paths below a root. The kernel resolves (openat2 RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS); there is no resolver of ours
 * to be wrong. Only creation needs more: the deepest part that exists is opened as a descriptor, and exactly one new
 * component is made on it at a time with a call that follows nothing (mkdirat, mknodat). A dangling symlink in the way
 * (images ship /etc/resolv.conf -> ../run/...) is read and spliced into the text, which the kernel then resolves again.
 */
#include "init.h"

#define RETRIES 64 /* EAGAIN: a rename raced with ".."; measured to be rare even under a rename loop */
#define LINKS   40 /* as the kernel */

int open_in(int root, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = { .flags = flags | O_CLOEXEC, .resolve = resolve };
	int fd, tries = 0;

	do
		fd = (int)SYS4(__NR_openat2, root, *path ? path : ".", &how, sizeof how);
	while (fd == -EAGAIN && ++tries < RETRIES);
	return fd;
}

/*
 * One step towards `path` existing: makes the first missing component, or replaces a dangling link by its target in the
 * text. Returns 0 when another round is worth it. `made` is where the component ends that the round before made, or 0:
 * a hint that saves the search from the deepest end (cubic in the depth of the path), and no more than that.
 */
static int make_next(char *path, uint32_t *made, char *spare, uint32_t size, int root, uint32_t type, uint32_t mode)
{
	uint32_t len = str_len(path), end = *made ? *made : len, start;
	int dir = -ENOENT, last;
	long n;

	while (path[end] == '/')
		end++;
	while (path[end] && path[end] != '/')
		end++;
	/* The deepest prefix that exists; it is "" in the end, which is the root itself. */
	for (;;) {
		while (end && path[end - 1] == '/')
			end--;
		start = end;
		while (start && path[start - 1] != '/')
			start--;
		if (start == end)
			return -ENOENT;
		mem_copy(spare, path, start);
		spare[start] = 0;
		dir = open_in(root, spare, O_PATH | O_DIRECTORY, ROOT_RESOLVE);
		if (dir >= 0)
			break;
		if (dir != -ENOENT)
			return dir;
		end = start;
	}
	/* path[start..end) is the component to make in `dir`. */
	mem_copy(spare, path + start, end - start);
	spare[end - start] = 0;
	for (n = end; path[n] == '/'; n++)
		;
	last = path[n] == 0;
	n = SYS4(__NR_readlinkat, dir, spare, spare + 4096, 4095);
	if (n > 0) {
		char *text = spare + 4096;

		close_fd(dir);
		text[n] = 0;
		mem_copy(spare, path + end, len - end + 1); /* the rest */
		if (start + (uint32_t)n + (len - end) + 3 > size || len - end > 4000)
			return -ENAMETOOLONG;
		/* path[0..start) stays in place: build behind it. */
		if (text[0] == '/')
			start = 0;
		mem_copy(path + start, text, (uint64_t)n);
		mem_copy(path + start + n, spare, str_len(spare) + 1);
		*made = 0;
		return 1;
	}
	if (last && type != S_IFDIR)
		n = SYS4(__NR_mknodat, dir, spare, S_IFREG | mode, 0);
	else
		n = SYS3(__NR_mkdirat, dir, spare, last ? mode : 0755);
	close_fd(dir);
	*made = end;
	return n == -EEXIST ? 0 : (int)n;
}

/* O_PATH descriptor of `path`, made (directories 0755, the last component as `type` with `mode`) where it is missing. */
int open_or_make(struct init *in, int root, const char *path, uint32_t type, uint32_t mode)
{
	char *text = in->path[0];
	uint32_t len = str_len(path), links = 0, made = 0, rounds;

	if (len >= 4096)
		return -ENAMETOOLONG;
	mem_copy(text, path, len + 1);
	for (rounds = 0; rounds < 4096; rounds++) {
		int fd = open_in(root, text, O_PATH, ROOT_RESOLVE), ret;

		if (fd != -ENOENT)
			return fd;
		in->step = STEP_CREATE;
		ret = make_next(text, &made, in->path[1], 4096, root, type, mode);
		if (ret < 0)
			return ret;
		links += (uint32_t)ret;
		if (links > LINKS)
			return -ELOOP;
	}
	return -ELOOP;
}

/* The directory `path` stands in, made if missing, and its last component. The last component may not be "." or "..". */
int open_parent(struct init *in, int root, const char *path, const char **last)
{
	uint32_t len = str_len(path), end;

	while (len && path[len - 1] == '/')
		len--;
	end = len;
	while (end && path[end - 1] != '/')
		end--;
	*last = path + end;
	if (end == len || len >= 4096 || str_same(*last, ".") || str_same(*last, "..") || path[len])
		return -EINVAL;
	mem_copy(in->buf, path, end);
	in->buf[end] = 0;
	return open_or_make(in, root, (char *)in->buf, S_IFDIR, 0755);
}
