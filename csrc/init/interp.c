/* The interpreter: one op after the other, in the order they stand, stopping at the first that fails. */
#include "init.h"

/*
 * One record to the supervisor (or, after the gate, to whoever runs `start`). The status descriptor is a socket or a
 * fifo; both take 16 bytes whole. If nobody listens any more there is nobody to tell: the result is ignored.
 */
void say(struct init *in, uint32_t seq, int err)
{
	struct record rec = { .seq = seq, .op = in->now, .err = err, .step = in->step };

	SYS3(__NR_write, in->sync, &rec, sizeof rec);
}

static int tolerated(const struct plan_op *op, int err)
{
	for (int i = 0; i < 4; i++)
		if (op->tolerate[i] && -err == op->tolerate[i])
			return 1;
	return 0;
}

static int has_failed(struct init *in, uint32_t i)
{
	return in->failed[i / 8] >> (i % 8) & 1;
}

/* A slot is closed after its last use. So FORK leaves nothing of M's to init but what init will use. */
void end_slots(struct init *in, const struct plan_op *op)
{
	for (int i = 0; i < 4; i++) {
		int *slot = op->ends >> i & 1 ? &in->slot[op->slot[i]] : 0;

		if (slot && *slot)
			close_fd(*slot);
		if (slot)
			*slot = 0;
	}
}

static int run_op(struct init *in, struct plan_op *op)
{
	int ret;

	if (op->role != in->role || (op->unless && !has_failed(in, op->unless - 1u)))
		return 0;
	in->step = STEP_NONE;
	ret = op_table[op->code].run(in, op);
	if (ret >= 0)
		return 0;
	if (!tolerated(op, ret)) {
		say(in, SAY_FAIL, ret);
		return ret;
	}
	in->failed[in->now / 8] |= (uint8_t)(1u << (in->now % 8));
	return 0;
}

int plan_run(struct init *in)
{
	for (in->now = 0; in->now < in->head->nops; in->now++) {
		struct plan_op *op = &in->ops[in->now];
		int ret = run_op(in, op);

		if (ret < 0)
			return ret;
		end_slots(in, op);
	}
	return 0;
}
