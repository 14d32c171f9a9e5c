/*
 * The plan loader: nothing of the plan is used before all of it has been checked. The plan comes from our own parent in
 * a sealed memfd, so this guards against our bugs, not against an attacker; but a length that wraps was once a container
 * escape (CVE-2021-43784), so it is written and fuzzed as if it did.
 */
#include <linux/mman.h>
#include "init.h"

#define OP(name, roles, phase, slots, args, sealed) { #name, roles, slots, args, op_##name, sealed },
const struct op_info op_table[] = {
#include "../ops.def"
};
#undef OP
const uint32_t op_count = sizeof op_table / sizeof *op_table;

/* The next `name:type` of a signature: returns its first type letter (0 at the end); *produced: how many `>` stand before. */
static char next_kind(const char **sig, int *produced)
{
	const char *s = *sig;
	char kind;

	while (*s == ' ')
		s++;
	if (!*s)
		return 0;
	for (*produced = 0; *s == '>'; s++)
		++*produced;
	while (*s != ':')
		s++;
	kind = s[1];
	if (s[1] == 'u' && s[2] == '6')
		kind = 'q';
	while (*s && *s != ' ')
		s++;
	*sig = s;
	return kind;
}

static int check_len(struct init *in, uint32_t off, uint32_t extra)
{
	uint32_t total = in->head->total, len;

	if (off % 4 || off < sizeof(struct plan_header) + in->head->nops * sizeof(struct plan_op) || off > total - 4)
		return -EINVAL;
	len = arg_len(in, off);
	if (len > total || off + 4 > total - len || extra > total - len - off - 4)
		return -EINVAL;
	return 0;
}

static int check_str(struct init *in, uint32_t off)
{
	uint32_t i, len;

	if (check_len(in, off, 1))
		return -EINVAL;
	len = arg_len(in, off);
	for (i = 0; i < len; i++)
		if (!in->plan[off + 4 + i])
			return -EINVAL;
	return in->plan[off + 4 + len] ? -EINVAL : 0;
}

/* Checks a vec and counts the pointers it will become. */
static int check_vec(struct init *in, uint32_t off)
{
	uint32_t total = in->head->total, count, i;
	uint64_t *entry;

	if (off % 8 || check_len(in, off, 0))
		return -EINVAL;
	count = arg_len(in, off);
	if (count > total / 8 || (uint64_t)off + 8 + (uint64_t)count * 8 > total)
		return -EINVAL;
	entry = (uint64_t *)(in->plan + off + 8);
	for (i = 0; i < count; i++)
		if (entry[i] > total || check_str(in, (uint32_t)entry[i]))
			return -EINVAL;
	in->nvecs += count + 2;
	return in->nvecs > VECS_MAX ? -EINVAL : 0;
}

void *zeroes(uint64_t size)
{
	long at = SYS6(__NR_mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return at < 0 && at > -4096 ? 0 : (void *)at;
}

/*
 * The pointers of all vecs, in memory of their own, each followed by two NULLs (room for one more); the op's word becomes
 * the place of the first. The pool itself stays as it was checked: objects that overlap in it cannot spoil each other.
 */
static int place_vecs(struct init *in)
{
	uint32_t at = 0, i, j;

	if (!in->nvecs)
		return 0;
	in->vecs = zeroes(in->nvecs * sizeof *in->vecs);
	if (!in->vecs)
		return -ENOMEM;
	for (i = 0; i < in->head->nops; i++) {
		struct plan_op *op = &in->ops[i];
		const char *sig = op_table[op->code].args;
		int produced, word = 0;
		char kind;

		for (; (kind = next_kind(&sig, &produced)); word += kind == 'q' ? 2 : 1) {
			uint32_t off = op->arg[word];

			if (kind != 'v')
				continue;
			op->arg[word] = at;
			for (j = 0; j < arg_len(in, off); j++)
				in->vecs[at++] = (char *)arg_str(in, (uint32_t)((uint64_t *)(in->plan + off + 8))[j]);
			at += 2;
		}
	}
	return 0;
}

static int check_args(struct init *in, const struct op_info *info, struct plan_op *op)
{
	const char *sig = info->args;
	int produced, word = 0, ret;
	char kind;

	while ((kind = next_kind(&sig, &produced))) {
		if (word + (kind == 'q') > 5)
			return -EINVAL;
		ret = kind == 's' ? check_str(in, op->arg[word]) :
		      kind == 'b' ? check_len(in, op->arg[word], 0) :
		      kind == 'v' ? check_vec(in, op->arg[word]) : 0;
		if (ret)
			return ret;
		word += kind == 'q' ? 2 : 1;
	}
	return 0;
}

/* --- slots: while the plan is checked in->slot says which are open at this op, in->open how many --- */

/* A slot is filled while it is empty, or again by an op that stands in for a failed one. */
static int fill(struct init *in, const struct plan_op *op, uint32_t number)
{
	if (number >= in->head->nslots || (in->slot[number] && !op->unless))
		return -EINVAL;
	in->open += !in->slot[number];
	in->slot[number] = 1;
	return 0;
}

static int fill_list(struct init *in, const struct plan_op *op, uint32_t off)
{
	uint32_t i, *number = (uint32_t *)(in->plan + off + 4);

	if (check_len(in, off, 0) || arg_len(in, off) > BATCH * sizeof *number)
		return -EINVAL;
	for (i = 0; i < arg_len(in, off) / sizeof *number; i++)
		if (fill(in, op, number[i]))
			return -EINVAL;
	return 0;
}

static int is_open(struct init *in, uint32_t number)
{
	return number < in->head->nslots && in->slot[number];
}

/* The slots that the op reads are open, those that it fills are not. What a plan may do with them is the verifier's (plan/check.py). */
static int check_slots(struct init *in, const struct op_info *info, const struct plan_op *op)
{
	const char *sig = info->slots;
	int produced, i;

	for (i = 0; i < 4; i++) {
		uint32_t number = op->slot[i];
		int there = next_kind(&sig, &produced);

		if (number == NO_SLOT || !there) {
			if (number != NO_SLOT || op->ends >> i & 1)
				return -EINVAL;
		} else if (produced == 2 ? op->ends >> i & 1 || fill_list(in, op, number) :
			   produced ? fill(in, op, number) : !is_open(in, number)) {
			return -EINVAL;
		}
	}
	return 0;
}

/* Slots that end here. SEAL leaves open only what it keeps, so no later op can name a descriptor that it has closed. */
static int check_ends(struct init *in, const struct plan_op *op)
{
	uint32_t kept = 0;
	int i;

	for (i = 0; i < 4; i++) {
		kept += op->slot[i] != NO_SLOT;
		if (!(op->ends >> i & 1))
			continue;
		if (!in->slot[op->slot[i]])
			return -EINVAL;
		in->slot[op->slot[i]] = 0;
		in->open--;
	}
	return op->ends >> 4 || (op_table[op->code].run == op_SEAL && in->open > kept) ? -EINVAL : 0;
}

/* The first process does its part, which ends with FORK; init the rest. */
static int check_role(const struct plan_op *op, const struct plan_op *before, const struct op_info *info)
{
	int forks = before && before->role == 'M' && op_table[before->code].run == op_FORK;

	if (info->roles[0] != op->role && (!info->roles[0] || info->roles[1] != op->role))
		return -EINVAL;
	return before && (forks ? op->role != 'I' : op->role != before->role) ? -EINVAL : 0;
}

static int check_op(struct init *in, uint32_t i)
{
	struct plan_op *op = &in->ops[i];
	const struct op_info *info;

	if (op->code >= op_count || op->unless > i)
		return -EINVAL;
	info = &op_table[op->code];
	if (check_role(op, i ? op - 1 : 0, info))
		return -EINVAL;
	return check_args(in, info, op) || check_slots(in, info, op) || check_ends(in, op) ? -EINVAL : 0;
}

/* Memory for what the header counts. Every slot ends with some op, an op ends four at most: more cannot be needed. */
static int place_slots(struct init *in)
{
	uint32_t i, nslots = in->head->nslots, nops = in->head->nops;

	if (nslots > 4ull * nops || in->head->born > nslots)
		return -EINVAL;
	in->slot = zeroes((uint64_t)nslots * sizeof *in->slot + nops / 8 + 1);
	if (!in->slot)
		return -ENOMEM;
	in->failed = (uint8_t *)(in->slot + nslots);
	for (i = 0; i < in->head->born; i++)
		in->slot[i] = 1;
	in->open = in->head->born;
	return 0;
}

int plan_load(struct init *in, uint8_t *bytes, uint32_t size)
{
	struct plan_header *head = (struct plan_header *)bytes;
	uint32_t i;
	int ret;

	if (size < sizeof *head || head->magic != PLAN_MAGIC || head->version != PLAN_VERSION || head->total != size ||
	    size > PLAN_MAX || !head->nops || sizeof *head + head->nops * sizeof(struct plan_op) > size)
		return -EINVAL;
	if (head->status != NO_SLOT && head->status >= head->born)
		return -EINVAL;
	in->plan = bytes;
	in->head = head;
	in->ops = (struct plan_op *)(head + 1);
	in->nvecs = 0;
	ret = place_slots(in);
	for (i = 0; ret == 0 && i < head->nops; i++) {
		in->now = i;
		ret = check_op(in, i);
	}
	in->now = 0;
	if (ret == 0 && in->open)
		ret = -EINVAL; /* a slot without an end */
	return ret ? ret : place_vecs(in);
}
