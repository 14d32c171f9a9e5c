/*
 * hunt LOG: a hostile process inside a container that lies in wait for the runtime entering it.
 *
 * Loops over /proc as fast as it can. For each process that was not there at the start it tries, without pause, to
 * attach by ptrace, to read exe, environ, root, cwd and every fd, and to reopen the executable for writing (CVE-2016-9962,
 * CVE-2019-5736, CVE-2024-21626). Each distinct success is one line "what<TAB>exe<TAB>detail" in LOG; "sighted" lines
 * prove that it saw anything at all. Ends when LOG.stop exists.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define KNOWN 64
#define LINES 4096

static int known[KNOWN], known_count;
static char *lines[LINES];
static int line_count, log_fd;

static void say(const char *what, const char *exe, const char *detail)
{
	char line[9000];

	snprintf(line, sizeof line, "%s\t%s\t%s\n", what, exe, detail);
	for (int i = 0; i < line_count; i++)
		if (!strcmp(lines[i], line))
			return;
	if (line_count < LINES)
		lines[line_count++] = strdup(line);
	if (write(log_fd, line, strlen(line)) < 0)
		_exit(3);
}

static const char *link_of(int pid, const char *name, char *buffer)
{
	char path[96];

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	ssize_t n = readlink(path, buffer, 4095);
	buffer[n < 0 ? 0 : n] = 0;
	return buffer;
}

/* Holding an O_RDONLY fd of a running executable, wait for the moment when ETXTBSY goes away. */
static void try_to_write_exe(int pid)
{
	char path[96], exe[4096];

	snprintf(path, sizeof path, "/proc/%d/exe", pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	snprintf(path, sizeof path, "fd/%d", fd);
	link_of(getpid(), path, exe);
	say("exe-open", exe, "");
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	for (int i = 0; i < 50; i++) {
		int writable = open(path, O_WRONLY | O_CLOEXEC);
		if (writable < 0 && errno == ETXTBSY)
			continue;
		/* Opening proves nothing, a seal refuses the write; the byte is the one every ELF begins with. */
		if (writable >= 0 && pwrite(writable, "\177", 1, 0) == 1)
			say("exe-writable", exe, "");
		if (writable >= 0)
			close(writable);
		break;
	}
	close(fd);
}

/* A procfs is of one pid namespace, whoever looks at it: the one at /proc here, or one that calls us by our own pid. */
static int is_our_proc(int fd, const struct stat *st)
{
	char self[16] = "";
	struct stat ours;

	if (stat("/proc", &ours) == 0 && ours.st_dev == st->st_dev)
		return 1;
	return readlinkat(fd, "self", self, sizeof self - 1) > 0 && atoi(self) == getpid();
}

/* A path says nothing about whose tree it is in; the same inode at that path here does. */
static const char *whose(int fd, char *link)
{
	struct stat theirs, ours;
	struct statfs fs;

	if (*link == '/' && fstat(fd, &theirs) == 0 && stat(link, &ours) == 0 && theirs.st_dev == ours.st_dev
	    && theirs.st_ino == ours.st_ino)
		return "in our tree";
	if (fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC && fstat(fd, &theirs) == 0)
		return is_our_proc(fd, &theirs) ? "our proc" : "another proc";
	return link;
}

/* What stands at a link of the process's directory: said by what it is. */
static void read_link(int pid, const char *what, const char *name)
{
	char path[96], link[4096], exe[4096];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	fd = open(path, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return;
	snprintf(path, sizeof path, "fd/%d", fd);
	link_of(getpid(), path, link);
	say(what, link_of(pid, "exe", exe), whose(fd, link));
	close(fd);
}

static void read_fds(int pid)
{
	char path[96];
	struct dirent *entry;

	snprintf(path, sizeof path, "/proc/%d/fd", pid);
	DIR *dir = opendir(path);
	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		if (!isdigit((unsigned char)entry->d_name[0]))
			continue;
		snprintf(path, sizeof path, "fd/%.10s", entry->d_name);
		read_link(pid, "fd", path);
	}
	closedir(dir);
}

/*
 * exe is read while the tracee is stopped, so it tells for sure whether this was still the runtime. Once per process:
 * attaching to the user's program again and again would never let it run.
 */
static void try_to_attach(int pid)
{
	static int attached[256], next;
	char exe[4096];
	int status;

	for (int i = 0; i < 256; i++)
		if (attached[i] == pid)
			return;
	/* Not PTRACE_ATTACH: its SIGSTOP may be delivered after the detach and stop the program for good. */
	if (ptrace(PTRACE_SEIZE, pid, 0, 0) != 0)
		return;
	ptrace(PTRACE_INTERRUPT, pid, 0, 0);
	if (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		say("ptrace", link_of(pid, "exe", exe), "");
	attached[next++ % 256] = pid;
	ptrace(PTRACE_DETACH, pid, 0, 0);
}

static int is_known(int pid)
{
	for (int i = 0; i < known_count; i++)
		if (known[i] == pid)
			return 1;
	return 0;
}

static void look(int attach)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;
	char exe[4096];

	while (dir && (entry = readdir(dir))) {
		int pid = atoi(entry->d_name);
		if (pid <= 0 || is_known(pid))
			continue;
		say("sighted", link_of(pid, "exe", exe), "");
		try_to_write_exe(pid);
		read_fds(pid);
		read_link(pid, "root", "root");
		read_link(pid, "cwd", "cwd");
		if (attach)
			try_to_attach(pid);
	}
	if (dir)
		closedir(dir);
}

static void remember_what_is_there(void)
{
	DIR *dir = opendir("/proc");
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (atoi(entry->d_name) > 0 && known_count < KNOWN)
			known[known_count++] = atoi(entry->d_name);
	if (dir)
		closedir(dir);
}

int main(int argc, char **argv)
{
	char stop[4096];

	if (argc < 2)
		return 2;
	log_fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (log_fd < 0)
		return 3;
	snprintf(stop, sizeof stop, "%s.stop", argv[1]);
	remember_what_is_there();
	say("ready", "", "");
	while (access(stop, F_OK) != 0)
		look(argc > 2);
	say("done", "", "");
	return 0;
}
