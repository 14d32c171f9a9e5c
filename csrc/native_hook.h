#pragma once
#include <stdint.h>

/* Running one program of the host to its end: OCI hooks, newuidmap, criu. See shim_hook.c. Plain C, read by cffi. */

struct hook_report {
	int wstatus;         /* as waitpid(2) gives it */
	int step;            /* where it could not be started: 0 spawn or execve, 1 chdir */
	int out_len;         /* bytes of stdout kept: the last 4096 */
	int err_len;
	long long out_total; /* bytes of stdout written */
	long long err_total;
	char out[4096];
	char err[4096];
};

/* 0 it ran (look at wstatus), 1 it ran too long and was killed, -errno it could not be started (look at step). */
int hook_run(const char *path, char *const argv[], char *const envp[], int stdin_fd, const char *cwd, uint32_t timeout_seconds,
	     struct hook_report *report);
