#pragma once
#include <stdint.h>

/* bpf(2) for the cgroup device controller; see shim_bpf.c. Every function returns -errno on failure. */

/* Load a BPF_PROG_TYPE_CGROUP_DEVICE program of `count` 8-byte instructions; returns its descriptor (close-on-exec).
 * log may be NULL; else the verifier's words (NUL-terminated) are in it after a failure. */
int k_bpf_device_load(const unsigned char *insns, uint32_t count, char *log, uint32_t log_size);

/* The ids of the programs attached to exactly this cgroup; returns their number (at most max are stored). */
int k_bpf_device_query(int cgroup, uint32_t *ids, uint32_t max);

/* A descriptor of the program with this id. */
int k_bpf_device_open(uint32_t id);

/* Attach beside other programs (replace < 0) or, in one step without a window, in the place of `replace`. */
int k_bpf_device_attach(int cgroup, int program, int replace);

int k_bpf_device_detach(int cgroup, int program);
