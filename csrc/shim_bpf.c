/*
 * bpf(2) for the cgroup2 device controller: load, query, attach, replace, detach.
 *
 * No libbpf: five commands with five small structs. The structs are our own copies of the stable ABI, because the
 * headers at build time may be older than the kernel; and each call passes a whole zeroed page-like attr, because
 * kernels 6.17 to 7.1 write `revision` behind the end of a short one in BPF_PROG_QUERY. A kernel that knows less than
 * we pass accepts it as long as the rest is zero.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "native_bpf.h"

enum { PROG_LOAD = 5, PROG_ATTACH = 8, PROG_DETACH = 9, PROG_GET_FD_BY_ID = 13, PROG_QUERY = 16 };
enum { TYPE_CGROUP_DEVICE = 15, ATTACH_CGROUP_DEVICE = 6 };
enum { ALLOW_MULTI = 2, REPLACE = 4 };

struct attr_load {
	uint32_t prog_type;
	uint32_t insn_cnt;
	uint64_t insns;
	uint64_t license;
	uint32_t log_level;
	uint32_t log_size;
	uint64_t log_buf;
	uint32_t kern_version;
	uint32_t prog_flags;
	char prog_name[16];
};

struct attr_attach {
	uint32_t target_fd;
	uint32_t attach_bpf_fd;
	uint32_t attach_type;
	uint32_t attach_flags;
	uint32_t replace_bpf_fd;
};

struct attr_query {
	uint32_t target_fd;
	uint32_t attach_type;
	uint32_t query_flags;
	uint32_t attach_flags;
	uint64_t prog_ids;
	uint32_t prog_cnt;
};

union attr {
	struct attr_load load;
	struct attr_attach attach;
	struct attr_query query;
	uint32_t prog_id;
	unsigned char room[256]; /* more than any kernel's so far */
};

/* bpf(2); descriptors it returns are close-on-exec by the kernel's own doing. */
static int bpf(int cmd, union attr *attr)
{
	long ret = syscall(SYS_bpf, cmd, attr, sizeof(*attr));
	return ret < 0 ? -errno : (int)ret;
}

/* Before Linux 5.11 programs are charged to RLIMIT_MEMLOCK, and EPERM may mean just that: lift it for one call. The old
 * limit is put back, because the container inherits ours. */
static int load_unlimited(union attr *attr)
{
	const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	struct rlimit old;
	if (getrlimit(RLIMIT_MEMLOCK, &old) < 0 || old.rlim_cur == RLIM_INFINITY || setrlimit(RLIMIT_MEMLOCK, &unlimited) < 0)
		return -EPERM;
	int ret = bpf(PROG_LOAD, attr);
	setrlimit(RLIMIT_MEMLOCK, &old);
	return ret;
}

int k_bpf_device_load(const unsigned char *insns, uint32_t count, char *log, uint32_t log_size)
{
	union attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.load = (struct attr_load){
		.prog_type = TYPE_CGROUP_DEVICE,
		.insn_cnt = count,
		.insns = (uintptr_t)insns,
		.license = (uintptr_t)"Apache",
		.log_level = log ? 1 : 0,
		.log_size = log ? log_size : 0,
		.log_buf = (uintptr_t)log,
		.prog_name = "pyrunc_devices",
	};
	int ret = bpf(PROG_LOAD, &attr);
	return ret == -EPERM ? load_unlimited(&attr) : ret;
}

int k_bpf_device_query(int cgroup, uint32_t *ids, uint32_t max)
{
	union attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.query = (struct attr_query){
		.target_fd = (uint32_t)cgroup,
		.attach_type = ATTACH_CGROUP_DEVICE,
		.prog_ids = (uintptr_t)ids,
		.prog_cnt = max,
	};
	int ret = bpf(PROG_QUERY, &attr);
	return ret < 0 ? ret : (int)attr.query.prog_cnt;
}

int k_bpf_device_open(uint32_t id)
{
	union attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.prog_id = id;
	return bpf(PROG_GET_FD_BY_ID, &attr);
}

int k_bpf_device_attach(int cgroup, int program, int replace)
{
	union attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.attach = (struct attr_attach){
		.target_fd = (uint32_t)cgroup,
		.attach_bpf_fd = (uint32_t)program,
		.attach_type = ATTACH_CGROUP_DEVICE,
		.attach_flags = ALLOW_MULTI,
	};
	if (replace >= 0) {
		attr.attach.attach_flags |= REPLACE;
		attr.attach.replace_bpf_fd = (uint32_t)replace;
	}
	return bpf(PROG_ATTACH, &attr);
}

int k_bpf_device_detach(int cgroup, int program)
{
	union attr attr;
	memset(&attr, 0, sizeof(attr));
	attr.attach = (struct attr_attach){
		.target_fd = (uint32_t)cgroup,
		.attach_bpf_fd = (uint32_t)program,
		.attach_type = ATTACH_CGROUP_DEVICE,
	};
	return bpf(PROG_DETACH, &attr);
}
