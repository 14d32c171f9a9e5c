#pragma once
#include <stddef.h>
#include "record.h"

/* kernel.py's own calls. Everything returns >= 0 or -errno. */
struct message { struct record record; int32_t pid; int32_t nfds; int32_t fd[4]; };

int k_memfd(const char *name, const uint8_t *bytes, size_t len, int sealed);
int k_socketpair(int pair[2]);
int k_spawn_begin(int sock, int cgroup, uint64_t flags, int base, const int stdio[3]);
int k_spawn_end(int *pidfd);
int k_send(int sock, uint32_t seq, int32_t err, const int *fds, int nfds);
int k_recv(int sock, struct message *out);
int k_openat2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve);
int k_tree_open(int dirfd, const char *path, uint32_t flags, uint32_t set, uint32_t clear, uint32_t propagation,
		uint32_t explicit, uint32_t *step);
int k_tree_setattr(int fd, uint32_t flags, uint32_t set, uint32_t clear, uint32_t propagation, uint32_t explicit,
		   uint32_t *step);
int k_tree_idmap(int fd, int userns, int recursive);
int k_userns(const char *uid_map, const char *gid_map);
int k_userns_maps(int userns, char *uid_map, char *gid_map, size_t size);
int k_umount(int fd);
int k_mount_ids(int fd, uint64_t ids[2]);
int k_statfs_magic(const char *path, int64_t *magic);
int k_fstatfs_magic(int fd, int64_t *magic);
int k_prlimit(int pid, int resource, uint64_t soft, uint64_t hard);
int k_getrlimit(int pid, int resource, uint64_t out[2]);
int k_flock(int fd, int exclusive, int wait_ms);
int k_unlock(int fd);
int k_wait_pid(int pidfd, int timeout_ms);
int k_wait_any(const int *fds, int n, int timeout_ms);
int k_subreaper(int on);
int k_nstype(int fd);
