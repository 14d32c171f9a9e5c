/*
 * probe: what a container looks like from inside, as JSON on stdout.
 *
 * Static, so that it runs in an empty rootfs; asks the kernel by raw syscalls where libc would paper over the
 * answer (getcwd: glibc hides "(unreachable)"; personality; ioprio). Everything that needs /proc is skipped when
 * there is none. Used by every root and security test through kit.runtime.Result.json().
 *
 *   probe                       everything
 *   probe look OP:PATH ...      everything, then the attempts; `exit:N` among them is the status at the end
 *   probe stay OP:PATH ...      the same, then wait for ever
 *   probe hook FILE             everything and its standard input, appended to FILE
 *   probe try OP:PATH ...       a list of {op, path, errno, ...}: see attempt()
 *   probe sleep                 wait for ever (SIGTERM's default action applies: as pid 1 it is ignored)
 *   probe exit N                exit with status N
 *   probe die SIG               kill itself by SIG (needs not to be pid 1, or SIGKILL from outside)
 *   probe notify TEXT           send TEXT as one datagram to $NOTIFY_SOCKET, then sleep
 *   probe trap FILE             write "ready" to FILE, then one line per signal received; exits 42 on SIGTERM
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef PATH_MAX
#define PATH_MAX 4096
#endif

static FILE *out;
static int first = 1;

static void string_n(const char *text, size_t len)
{
	putc('"', out);
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c == '"' || c == '\\')
			fprintf(out, "\\%c", c);
		else if (c < 0x20 || c >= 0x7f)
			fprintf(out, "\\u%04x", c);
		else
			putc(c, out);
	}
	putc('"', out);
}

static void string(const char *text)
{
	string_n(text, strlen(text));
}

static void key(const char *name)
{
	if (!first)
		putc(',', out);
	first = 0;
	putc('\n', out);
	string(name);
	putc(':', out);
}

static void number(const char *name, long long value)
{
	key(name);
	fprintf(out, "%lld", value);
}

static void text(const char *name, const char *value)
{
	key(name);
	string(value);
}

/* A whole small file as one JSON string, or null. */
static void file(const char *name, const char *path)
{
	static char buffer[1 << 20];
	size_t used = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	key(name);
	if (fd < 0) {
		fprintf(out, "null");
		return;
	}
	for (;;) {
		ssize_t n = read(fd, buffer + used, sizeof buffer - used);
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	close(fd);
	string_n(buffer, used);
}

static const char *kind(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG: return "file";
	case S_IFDIR: return "dir";
	case S_IFCHR: return "char";
	case S_IFBLK: return "block";
	case S_IFIFO: return "fifo";
	case S_IFSOCK: return "socket";
	case S_IFLNK: return "link";
	default: return "other";
	}
}

static void stat_fields(const struct stat *st)
{
	fprintf(out, "\"type\":\"%s\",\"mode\":%u,\"uid\":%u,\"gid\":%u,\"dev\":\"%u:%u\",\"ino\":%llu,\"rdev\":\"%u:%u\",\"size\":%lld",
		kind(st->st_mode), st->st_mode & 07777, st->st_uid, st->st_gid, major(st->st_dev), minor(st->st_dev),
		(unsigned long long)st->st_ino, major(st->st_rdev), minor(st->st_rdev), (long long)st->st_size);
}

/* By fcntl, not by listing /proc/self/fd: it must see everything even without /proc, and add no fd of its own. */
static void fds(void)
{
	struct rlimit limit;
	int comma = 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur > 70000)
		limit.rlim_cur = 70000;
	key("fds");
	putc('{', out);
	for (int fd = 0; fd < (int)limit.rlim_cur; fd++) {
		char link[64], target[PATH_MAX];
		struct stat st;
		struct statfs fs;
		int flags = fcntl(fd, F_GETFD);

		if (flags < 0)
			continue;
		snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, target, sizeof target - 1);
		fprintf(out, "%s\"%d\":{\"cloexec\":%d,\"flags\":%d,", comma ? "," : "", fd, flags & FD_CLOEXEC,
			fcntl(fd, F_GETFL));
		comma = 1;
		if (fstat(fd, &st) == 0) {
			stat_fields(&st);
			putc(',', out);
		}
		if (fstatfs(fd, &fs) == 0)
			fprintf(out, "\"magic\":%lld,", (long long)fs.f_type);
		fprintf(out, "\"link\":");
		string_n(target, n < 0 ? 0 : (size_t)n);
		putc('}', out);
	}
	putc('}', out);
}

static void strings(const char *name, char **list)
{
	key(name);
	putc('[', out);
	for (int i = 0; list[i]; i++) {
		if (i)
			putc(',', out);
		string(list[i]);
	}
	putc(']', out);
}

static void rlimits(void)
{
	static const char *const names[] = {
		"CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE",
		"MEMLOCK", "AS", "LOCKS", "SIGPENDING", "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
	};
	key("rlimits");
	putc('{', out);
	for (int i = 0; i < 16; i++) {
		struct rlimit limit = { 0, 0 };
		getrlimit((__rlimit_resource_t)i, &limit);
		fprintf(out, "%s\"%s\":[%lld,%lld]", i ? "," : "", names[i], (long long)limit.rlim_cur, (long long)limit.rlim_max);
	}
	putc('}', out);
}

static void namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts" };

	key("ns");
	putc('{', out);
	for (int i = 0; i < 8; i++) {
		char path[64], target[64];
		snprintf(path, sizeof path, "/proc/self/ns/%s", names[i]);
		ssize_t n = readlink(path, target, sizeof target);
		fprintf(out, "%s\"%s\":", i ? "," : "", names[i]);
		string_n(target, n < 0 ? 0 : (size_t)n);
	}
	putc('}', out);
}

struct sched_attributes {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
	uint32_t util_min, util_max;
};

static void scheduling(void)
{
	struct sched_attributes attr = { .size = sizeof attr };
	cpu_set_t cpus;
	int mode = -1, comma = 0;
	unsigned long nodes[16] = { 0 };

	syscall(SYS_sched_getattr, 0, &attr, sizeof attr, 0);
	key("sched");
	fprintf(out, "{\"policy\":%u,\"flags\":%llu,\"nice\":%d,\"priority\":%u,\"runtime\":%llu,\"deadline\":%llu,\"period\":%llu}",
		attr.policy, (unsigned long long)attr.flags, attr.nice, attr.priority, (unsigned long long)attr.runtime,
		(unsigned long long)attr.deadline, (unsigned long long)attr.period);
	number("ioprio", syscall(SYS_ioprio_get, 1, 0));
	sched_getaffinity(0, sizeof cpus, &cpus);
	key("affinity");
	putc('[', out);
	for (int i = 0; i < CPU_SETSIZE; i++)
		if (CPU_ISSET(i, &cpus)) {
			fprintf(out, "%s%d", comma ? "," : "", i);
			comma = 1;
		}
	putc(']', out);
	syscall(SYS_get_mempolicy, &mode, nodes, 1024UL, NULL, 0UL);
	number("mempolicy", mode);
	number("mempolicy_nodes", (long long)nodes[0]);
}

static void keyring(void)
{
	char description[256] = "";
	long serial = syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);

	if (serial > 0)
		syscall(SYS_keyctl, KEYCTL_DESCRIBE, serial, description, sizeof description - 1);
	number("keyring", serial);
	text("keyring_description", description);
}

static void identity(void)
{
	gid_t list[1024];
	int n = getgroups(1024, list);
	uid_t r, e, s;

	getresuid(&r, &e, &s);
	key("uids");
	fprintf(out, "[%u,%u,%u]", r, e, s);
	getresgid(&r, &e, &s);
	key("gids");
	fprintf(out, "[%u,%u,%u]", r, e, s);
	key("groups");
	putc('[', out);
	for (int i = 0; i < n; i++)
		fprintf(out, "%s%u", i ? "," : "", list[i]);
	putc(']', out);
	number("pid", getpid());
	number("ppid", getppid());
	number("sid", getsid(0));
	number("pgid", getpgid(0));
}

static void terminal(void)
{
	struct winsize size = { 0 };
	int tty = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);

	number("ctty", tty >= 0);
	if (tty >= 0)
		close(tty);
	ioctl(0, TIOCGWINSZ, &size);
	key("winsize");
	fprintf(out, "[%u,%u]", size.ws_row, size.ws_col);
}

static void clocks(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	number("monotonic", now.tv_sec);
	clock_gettime(CLOCK_BOOTTIME, &now);
	number("boottime", now.tv_sec);
}

static void sysctls(void)
{
	static const char *const names[] = {
		"kernel/hostname", "kernel/domainname", "kernel/msgmax", "kernel/msgmnb", "kernel/msgmni", "kernel/sem",
		"kernel/shmall", "kernel/shmmax", "kernel/shmmni", "kernel/shm_rmid_forced", "fs/mqueue/msg_max",
		"fs/mqueue/queues_max", "net/core/somaxconn", "net/ipv4/ip_forward", "net/ipv4/ip_default_ttl",
		"net/ipv4/ip_unprivileged_port_start", "net/ipv4/ping_group_range", "user/max_user_namespaces",
	};
	char name[128], path[128];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		snprintf(name, sizeof name, "sysctl.%s", names[i]);
		snprintf(path, sizeof path, "/proc/sys/%s", names[i]);
		file(name, path);
	}
}

/* One directory level: {name: {stat…, link}}. */
static void listing(const char *name, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int comma = 0;

	key(name);
	putc('{', out);
	while (dir && (entry = readdir(dir))) {
		char full[PATH_MAX], target[PATH_MAX];
		struct stat st;

		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		snprintf(full, sizeof full, "%s/%s", path, entry->d_name);
		if (lstat(full, &st))
			continue;
		if (comma)
			putc(',', out);
		comma = 1;
		string(entry->d_name);
		fprintf(out, ":{");
		stat_fields(&st);
		ssize_t n = readlink(full, target, sizeof target);
		fprintf(out, ",\"link\":");
		string_n(target, n < 0 ? 0 : (size_t)n);
		putc('}', out);
	}
	if (dir)
		closedir(dir);
	putc('}', out);
}

static void everything(char **argv, char **envp)
{
	char cwd[PATH_MAX] = "";
	struct utsname uts;
	struct stat st;
	mode_t mask = umask(0);

	umask(mask);
	fds();                          /* before anything else opens one */
	syscall(SYS_getcwd, cwd, sizeof cwd);
	text("cwd", cwd);
	number("umask", mask);
	identity();
	strings("argv", argv);
	strings("env", envp);
	rlimits();
	namespaces();
	scheduling();
	keyring();
	terminal();
	clocks();
	uname(&uts);
	text("hostname", uts.nodename);
	text("domainname", uts.domainname);
	text("machine", uts.machine);
	number("personality", personality(0xffffffff));
	number("nnp", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	number("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	number("securebits", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	int pdeathsig = 0, subreaper = 0;
	prctl(PR_GET_PDEATHSIG, &pdeathsig);
	prctl(PR_GET_CHILD_SUBREAPER, &subreaper);
	number("pdeathsig", pdeathsig);
	number("subreaper", subreaper);
	if (stat("/", &st) == 0) {
		key("root");
		putc('{', out);
		stat_fields(&st);
		putc('}', out);
	}
	file("status", "/proc/self/status");
	file("mountinfo", "/proc/self/mountinfo");
	file("limits", "/proc/self/limits");
	file("cgroup", "/proc/self/cgroup");
	file("oom_score_adj", "/proc/self/oom_score_adj");
	file("uid_map", "/proc/self/uid_map");
	file("gid_map", "/proc/self/gid_map");
	file("setgroups", "/proc/self/setgroups");
	file("attr", "/proc/self/attr/current");
	file("timens_offsets", "/proc/self/timens_offsets");
	file("net_dev", "/proc/self/net/dev");
	sysctls();
	listing("dev", "/dev");
	listing("top", "/");
}

static int is_lo_up(void)
{
	char flags[32] = "";
	int fd = open("/sys/class/net/lo/flags", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	ssize_t n = read(fd, flags, sizeof flags - 1);
	close(fd);
	return n > 0 ? (int)(strtol(flags, NULL, 16) & 1) : -1;
}

/* A system call through the door for 32-bit programs, as its raw result. */
static long call32(const unsigned long long *a)
{
#ifdef __x86_64__
	long result;

	__asm__ volatile("int $0x80" : "=a"(result) : "a"(a[0]), "b"(a[1]), "c"(a[2]), "d"(a[3]), "S"(a[4]), "D"(a[5])
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
#else
	(void)a;
	return -ENOSYS;
#endif
}

/* A call in a child, because a filter may kill it: prints the signal if one did; the result is 0, or -1 and errno. */
static int in_child(const char *numbers, int old)
{
	unsigned long long a[7] = { 0 };
	struct rlimit no_core = { 0, 0 };
	int tube[2], err = 0, status = 0;

	for (int i = 0; i < 7 && *numbers; i++, numbers += *numbers == ',')
		a[i] = strtoull(numbers, (char **)&numbers, 16);
	if (pipe(tube))
		return -1;
	pid_t pid = fork();
	if (pid < 0)
		return -1;
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &no_core);
		long rc = old ? call32(a) : syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
		err = old ? (rc < 0 ? (int)-rc : 0) : (rc < 0 ? errno : 0);
		_exit(write(tube[1], &err, sizeof err) == sizeof err ? 0 : 3);
	}
	close(tube[1]);
	if (read(tube[0], &err, sizeof err) != sizeof err)
		err = 0;
	close(tube[0]);
	waitpid(pid, &status, 0);
	fprintf(out, "\"signal\":%d,", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	errno = err;
	return err ? -1 : 0;
}

/* Make a node where the probe may write and open it: which of the two is refused, and how. */
static int device(const char *what)
{
	static const char path[] = "/dev/probe-node";
	unsigned int numbers[2];
	char kind, how;

	if (sscanf(what, "%c,%u,%u,%c", &kind, &numbers[0], &numbers[1], &how) != 4) {
		errno = EINVAL;
		return -1;
	}
	int rc = mknod(path, (kind == 'b' ? S_IFBLK : S_IFCHR) | 0666, makedev(numbers[0], numbers[1]));
	fprintf(out, "\"made\":%d,", rc ? errno : 0);
	if (rc)
		return rc;
	int fd = open(path, (how == 'r' ? O_RDONLY : how == 'w' ? O_WRONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	int err = errno;
	if (fd >= 0)
		close(fd);
	unlink(path);
	errno = err;
	return fd < 0 ? -1 : 0;
}

/*
 * One attempt OP:PATH, answered as an object. Ops: read (content up to 4 KiB), write (open O_WRONLY only), put
 * (open O_WRONLY and write one newline), create, stat, lstat, dir (entries), mknod-b / mknod-c (8:0 / 1:3, then
 * open), mkdir, unlink, access-x, statfs, lo-up, syscall, whose "path" is NUMBER,ARG,... in hexadecimal, call and
 * call32, the same in a child (by int 0x80), and device, whose "path" is c|b,MAJOR,MINOR,r|w|b (both).
 * exit:N is the probe's own status later.
 */
static int ending;

static int attempt(const char *op, const char *path)
{
	char buffer[4096];
	struct stat st;
	struct statfs fs;
	int fd = -1, rc = -1;

	errno = 0;
	if (!strcmp(op, "read")) {
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0 && (rc = (int)read(fd, buffer, sizeof buffer)) >= 0) {
			fprintf(out, "\"data\":");
			string_n(buffer, (size_t)rc);
			putc(',', out);
		}
	} else if (!strcmp(op, "write")) {
		rc = fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	} else if (!strcmp(op, "put")) {
		rc = fd = open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
		if (fd >= 0)
			rc = (int)write(fd, "\n", 1);
	} else if (!strcmp(op, "create")) {
		rc = fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	} else if (!strcmp(op, "stat") || !strcmp(op, "lstat")) {
		rc = *op == 'l' ? lstat(path, &st) : stat(path, &st);
		if (rc == 0) {
			stat_fields(&st);
			putc(',', out);
		}
	} else if (!strcmp(op, "statfs")) {
		rc = statfs(path, &fs);
		if (rc == 0)
			fprintf(out, "\"magic\":%lld,\"flags\":%lld,", (long long)fs.f_type, (long long)fs.f_flags);
	} else if (!strcmp(op, "dir")) {
		DIR *dir = opendir(path);
		int n = 0;
		if (dir) {
			while (readdir(dir))
				n++;
			closedir(dir);
			rc = n - 2;
			errno = 0;
		}
	} else if (!strcmp(op, "mknod-b") || !strcmp(op, "mknod-c")) {
		int block = op[6] == 'b';
		rc = mknod(path, (block ? S_IFBLK : S_IFCHR) | 0600, block ? makedev(8, 0) : makedev(1, 3));
		if (rc == 0)
			rc = fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	} else if (!strcmp(op, "mkdir")) {
		rc = mkdir(path, 0700);
	} else if (!strcmp(op, "unlink")) {
		rc = unlink(path);
	} else if (!strcmp(op, "access-x")) {
		rc = access(path, X_OK);
	} else if (!strcmp(op, "lo-up")) {
		rc = is_lo_up();
	} else if (!strcmp(op, "syscall")) {
		unsigned long long a[7] = { 0 };
		char *rest = (char *)path;
		for (int i = 0; i < 7 && *rest; i++, rest += *rest == ',')
			a[i] = strtoull(rest, &rest, 16);
		rc = (int)syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
	} else if (!strcmp(op, "call") || !strcmp(op, "call32")) {
		rc = in_child(path, op[4] != 0);
	} else if (!strcmp(op, "device")) {
		rc = device(path);
	} else if (!strcmp(op, "exit")) {
		rc = 0;
		ending = atoi(path);
	} else {
		errno = EINVAL;
	}
	int err = rc < 0 ? errno : 0;
	if (fd >= 0)
		close(fd);
	fprintf(out, "\"rc\":%d,\"errno\":%d}", rc, err);
	return 0;
}

static int attempts(char **list)
{
	putc('[', out);
	for (int i = 0; list[i]; i++) {
		char *colon = strchr(list[i], ':');
		char op[32];

		if (!colon || (size_t)(colon - list[i]) >= sizeof op)
			return 2;
		memcpy(op, list[i], (size_t)(colon - list[i]));
		op[colon - list[i]] = 0;
		fprintf(out, "%s\n{\"op\":\"%s\",\"path\":", i ? "," : "", op);
		string(colon + 1);
		putc(',', out);
		attempt(op, colon + 1);
	}
	fprintf(out, "]\n");
	return 0;
}

/* As a hook: everything it sees, with its standard input, appended to a file in one write. */
static int hook(const char *path, char **argv, char **envp)
{
	static char input[65536];
	size_t used = 0;
	ssize_t n;

	while ((n = read(0, input + used, sizeof input - used)) > 0)
		used += (size_t)n;
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
	if (fd < 0 || dup3(fd, 999, O_CLOEXEC) < 0)
		return 2;
	close(fd);
	out = fdopen(999, "a");
	putc('{', out);
	everything(argv, envp);
	key("stdin");
	string_n(input, used);
	fprintf(out, "}\n");
	return fclose(out);
}

static int trap_fd;
static volatile sig_atomic_t leaving;

static void on_signal(int sig)
{
	char line[32];
	int n = snprintf(line, sizeof line, "%d\n", sig);

	if (write(trap_fd, line, (size_t)n) != n)
		_exit(3);
	if (sig == SIGTERM)
		leaving = 1;
}

static int trap(const char *path)
{
	struct sigaction action = { .sa_handler = on_signal };

	trap_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trap_fd < 0)
		return 2;
	for (int sig = 1; sig < 65; sig++)
		sigaction(sig, &action, NULL);
	if (write(trap_fd, "ready\n", 6) != 6)
		return 3;
	while (!leaving)
		pause();
	return 42;
}

static int notify(const char *message)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (!path || strlen(path) >= sizeof address.sun_path)
		return 2;
	strcpy(address.sun_path, path);
	if (sendto(fd, message, strlen(message), 0, (struct sockaddr *)&address, sizeof address) < 0)
		return 3;
	for (;;)
		pause();
}

int main(int argc, char **argv, char **envp)
{
	out = stdout;
	if (argc > 1 && !strcmp(argv[1], "try")) {
		int rc = attempts(argv + 2);
		fflush(out);
		return rc;
	}
	if (argc > 1 && !strcmp(argv[1], "sleep"))
		for (;;)
			pause();
	if (argc > 2 && !strcmp(argv[1], "exit"))
		return atoi(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "die")) {
		signal(atoi(argv[2]), SIG_DFL);
		raise(atoi(argv[2]));
		return 9;
	}
	if (argc > 2 && !strcmp(argv[1], "notify"))
		return notify(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "trap"))
		return trap(argv[2]);
	if (argc > 2 && !strcmp(argv[1], "hook"))
		return hook(argv[2], argv, envp);
	putc('{', out);
	everything(argv, envp);
	if (argc > 2 && (!strcmp(argv[1], "look") || !strcmp(argv[1], "stay"))) {
		key("tries");
		attempts(argv + 2);
	}
	fprintf(out, "\n}\n");
	fflush(out);
	if (argc > 1 && !strcmp(argv[1], "stay"))
		for (;;)
			pause();
	return ending;
}
