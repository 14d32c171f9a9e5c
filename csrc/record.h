#pragma once
#include <stdint.h>

/* What travels on the sync socket and the status fifo, both ways the first 16 bytes. */
struct record {
	uint32_t seq;   /* SYNC number; the values of SAY_* are reserved */
	uint32_t op;    /* index of the op */
	int32_t err;   /* -errno, 0 */
	uint32_t step;  /* where inside the op, see enum step */
};
