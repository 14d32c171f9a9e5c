/*
 * From a flattened seccomp profile to BPF, by libseccomp.
 *
 * The library is opened as library.h says: most commands don't need it, and a host without it can still run containers
 * that have no profile. The prototypes are stable since 2.2, and no header is needed to build either.
 *
 * Input is one flat buffer, so that a profile of 400 syscalls is one call and not thousands. Output goes through a memfd,
 * because exporting to a descriptor is all that libseccomp 2.5 can do, and a pipe may be too short.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "library.h"
#include "native_seccomp.h"

enum seccomp_step { STEP_INPUT, STEP_OPEN, STEP_INIT, STEP_ARCH, STEP_ATTRIBUTE, STEP_RULE, STEP_EXPORT };
enum { ATTR_NNP = 3, ATTR_OPTIMIZE = 8 };
enum { OPTIMIZE = 1 };                                 /* bits of the input's options */
enum { MAX_ARGS = 6, MAX_NAME = 255, MAX_ARCHS = 32 }; /* MAX_ARCHS: as in struct k_seccomp_result */
enum { SET_MODE_FILTER = 1 };                          /* seccomp(2) */
enum { NEW_LISTENER = 8, WAIT_KILLABLE_RECV = 32 };

struct scmp_arg_cmp {
	unsigned int arg;
	int op;
	uint64_t datum_a;
	uint64_t datum_b;
};

struct scmp_version {
	unsigned int major;
	unsigned int minor;
	unsigned int micro;
};

static struct {
	int opened;
	const struct scmp_version *(*version)(void);
	void *(*init)(uint32_t action);
	void (*release)(void *ctx);
	uint32_t (*arch_resolve_name)(const char *name);
	uint32_t (*arch_native)(void);
	int (*arch_add)(void *ctx, uint32_t token);
	int (*attr_set)(void *ctx, int attr, uint32_t value);
	int (*syscall_resolve_name)(const char *name);
	int (*syscall_resolve_name_arch)(uint32_t token, const char *name);
	int (*rule_add_array)(void *ctx, uint32_t action, int nr, unsigned int count, const struct scmp_arg_cmp *args);
	int (*export_bpf)(void *ctx, int fd);
	char *(*syscall_resolve_num_arch)(uint32_t token, int nr);
} lib;

static const char *why = "";

static const struct symbol SYMBOLS[] = {
	{ (void **)&lib.version, "seccomp_version" },
	{ (void **)&lib.init, "seccomp_init" },
	{ (void **)&lib.release, "seccomp_release" },
	{ (void **)&lib.arch_resolve_name, "seccomp_arch_resolve_name" },
	{ (void **)&lib.arch_native, "seccomp_arch_native" },
	{ (void **)&lib.arch_add, "seccomp_arch_add" },
	{ (void **)&lib.attr_set, "seccomp_attr_set" },
	{ (void **)&lib.syscall_resolve_name, "seccomp_syscall_resolve_name" },
	{ (void **)&lib.syscall_resolve_name_arch, "seccomp_syscall_resolve_name_arch" },
	{ (void **)&lib.rule_add_array, "seccomp_rule_add_array" },
	{ (void **)&lib.export_bpf, "seccomp_export_bpf" },
	{ (void **)&lib.syscall_resolve_num_arch, "seccomp_syscall_resolve_num_arch" },
};

static int open_library(void)
{
	if (!lib.opened)
		lib.opened = open_symbols("libseccomp.so.2", SYMBOLS, COUNT(SYMBOLS), &why) == 0;
	return lib.opened ? 0 : -ELIBACC;
}

int k_seccomp_version(void)
{
	int ret = open_library();
	if (ret < 0)
		return ret;
	const struct scmp_version *v = lib.version();
	return (int)(v->major << 16 | (v->minor & 255) << 8 | (v->micro & 255));
}

const char *k_seccomp_why(void)
{
	return why;
}

uint32_t k_seccomp_arch(const char *name)
{
	return open_library() < 0 ? 0 : lib.arch_resolve_name(name);
}

int k_seccomp_syscall(int nr, char *name, int size)
{
	char *found = open_library() < 0 ? NULL : lib.syscall_resolve_num_arch(lib.arch_native(), nr);
	int known = found && strlen(found) < (size_t)size;
	if (known)
		strcpy(name, found);
	free(found);
	return known ? 0 : -ENOENT;
}

/* --- reading the flat buffer --- */

static uint32_t take_u8(struct reader *in)
{
	return *take(in, 1);
}

static uint32_t take_u32(struct reader *in)
{
	uint32_t value;
	memcpy(&value, take(in, sizeof(value)), sizeof(value));
	return value;
}

static uint64_t take_u64(struct reader *in)
{
	uint64_t value;
	memcpy(&value, take(in, sizeof(value)), sizeof(value));
	return value;
}

/* A name: length, bytes. name has room for MAX_NAME and a NUL. */
static void take_name(struct reader *in, char *name)
{
	uint32_t len = take_u8(in);
	memcpy(name, take(in, len), len);
	name[len] = '\0';
}

/* --- building the filter --- */

/* The native architecture is in every filter; the listed ones join it. Their tokens go into result. */
static int add_archs(void *ctx, struct reader *in, uint32_t count, struct k_seccomp_result *result)
{
	char name[MAX_NAME + 1];
	result->arch[0] = lib.arch_native();
	result->archs = 1;
	for (uint32_t i = 0; i < count; i++) {
		result->at = (int)i;
		take_name(in, name);
		uint32_t token = lib.arch_resolve_name(name);
		if (in->bad || !token || result->archs == MAX_ARCHS)
			return -EINVAL;
		int ret = lib.arch_add(ctx, token);
		if (ret < 0 && ret != -EEXIST)
			return ret;
		if (ret == 0)
			result->arch[result->archs++] = token;
	}
	result->at = -1;
	return 0;
}

/* Remember the highest number a profile knows on each architecture; negative ones are libseccomp's inventions. */
static void note_highest(struct k_seccomp_result *result, const char *name)
{
	for (uint32_t i = 0; i < result->archs; i++) {
		int nr = lib.syscall_resolve_name_arch(result->arch[i], name);
		if (nr > 0 && (uint32_t)nr > result->highest[i])
			result->highest[i] = (uint32_t)nr;
	}
}

/* One rule: add, action, name, conditions. One that repeats the default action is only noted: libseccomp refuses it. */
static int add_rule(void *ctx, struct reader *in, struct k_seccomp_result *result)
{
	char name[MAX_NAME + 1];
	struct scmp_arg_cmp args[MAX_ARGS];
	uint32_t add = take_u8(in);
	uint32_t action = take_u32(in);
	take_name(in, name);
	uint32_t count = take_u8(in);
	if (in->bad || count > MAX_ARGS)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		args[i].arg = take_u8(in);
		args[i].op = (int)take_u8(in);
		args[i].datum_a = take_u64(in);
		args[i].datum_b = take_u64(in);
	}
	if (in->bad)
		return -EINVAL;
	note_highest(result, name);
	int nr = lib.syscall_resolve_name(name);
	if (!add || nr == -1) /* a name that this library doesn't know is skipped, as by runc */
		return 0;
	return lib.rule_add_array(ctx, action, nr, count, args);
}

static int build(void *ctx, struct reader *in, struct k_seccomp_result *result)
{
	uint32_t options = take_u32(in);
	uint32_t archs = take_u32(in);
	uint32_t rules = take_u32(in);
	result->step = STEP_ARCH;
	int ret = add_archs(ctx, in, archs, result);
	if (ret < 0)
		return ret;
	result->step = STEP_ATTRIBUTE;
	ret = lib.attr_set(ctx, ATTR_NNP, 0);
	if (ret < 0)
		return ret;
	if (options & OPTIMIZE) /* a binary tree, since 2.5; without it the filter is only slower */
		lib.attr_set(ctx, ATTR_OPTIMIZE, 2);
	result->step = STEP_RULE;
	for (uint32_t i = 0; i < rules; i++) {
		result->at = (int)i;
		ret = add_rule(ctx, in, result);
		if (ret < 0)
			return ret;
	}
	result->at = -1;
	result->step = STEP_INPUT;
	return in->bad || in->at != in->end ? -EINVAL : 0;
}

static int export(void *ctx)
{
	int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	int ret = lib.export_bpf(ctx, fd);
	if (ret == 0)
		return fd;
	close(fd);
	return ret;
}

int k_seccomp_compile(const unsigned char *flat, uint32_t len, struct k_seccomp_result *result)
{
	struct reader in = { flat, flat + len, 0 };
	memset(result, 0, sizeof(*result));
	result->at = -1;
	result->step = STEP_OPEN;
	int ret = open_library();
	if (ret < 0)
		return ret;
	result->step = STEP_INIT;
	void *ctx = lib.init(take_u32(&in));
	if (!ctx)
		return -EINVAL;
	ret = build(ctx, &in, result);
	if (ret == 0) {
		result->step = STEP_EXPORT;
		ret = export(ctx);
	}
	lib.release(ctx);
	return ret;
}

/* --- what the kernel knows --- */

/* With no filter a kernel that knows the flags says EFAULT, one that doesn't EINVAL (seccomp(2)). */
int k_seccomp_flags_supported(uint32_t flags)
{
	if (flags & WAIT_KILLABLE_RECV)
		flags |= NEW_LISTENER; /* it is accepted in this company only */
	return syscall(SYS_seccomp, SET_MODE_FILTER, flags, NULL) < 0 && errno == EFAULT;
}
