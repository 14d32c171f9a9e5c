#pragma once

/* Network namespaces from outside. See shim_net.c. Plain C, read by cffi. */

/* An rtnetlink socket in the network namespace `netns` (a descriptor of it), or -errno. */
int net_socket(int netns);
