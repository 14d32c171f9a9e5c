#pragma once

/* Make children waitable even if our caller had SIGCHLD ignored, which survives execve(2). 0 or -errno; in shim_hook.c. */
int sigchld_default(void);
