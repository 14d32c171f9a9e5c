#pragma once
#include <stdint.h>

/* sd-bus of libsystemd, opened only for --systemd-cgroup; see bus.c. Every function returns -errno on failure. */

struct k_bus;

struct k_bus_reply {
	char type;             /* of the first value: s, t or y (an array of bytes); 0 if there is none or of another type */
	uint32_t len;          /* bytes of `data` in use */
	unsigned char data[8192];
	char error[256];       /* D-Bus name of the error, "" if it is only an errno */
	char message[1024];    /* what the peer said about it */
};

/* Connect and authenticate. daemon: a message bus is there, which says Hello; else the peer itself. -ELIBACC: no library. */
int k_bus_open(const char *address, int daemon, int timeout_ms, struct k_bus **bus);
const char *k_bus_why(void);

/* Call a method with the arguments in `flat` (pyrunc/kernel_bus.py says how); never starts a service by it. */
int k_bus_call(struct k_bus *bus, const char *destination, const char *path, const char *interface, const char *member,
	       const unsigned char *flat, uint32_t len, int timeout_ms, struct k_bus_reply *reply);

/* Wait for JobRemoved of a job from whom the last call has answered; the reply is the job's result. */
int k_bus_job(struct k_bus *bus, const char *job, int timeout_ms, struct k_bus_reply *reply);
