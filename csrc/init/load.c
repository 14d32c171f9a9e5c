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

/* The next `name:type` of a signature: returns its first type letter (0 at the end), *produced when `>` stands before. */
static char next_kind(const char **sig, int *produced)
{
	const char *s = *sig;
	char kind;

	while (*s == ' ')
		s++;
	if (!*s)
		return 0;
	*produced = *s == '>';
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

/*
 * The pointers of all vecs, in memory of their own, each followed by two NULLs (room for one more); the op's word becomes
 * the place of the first. The pool itself stays as it was checked: objects that overlap in it cannot spoil each other.
 */
static int place_vecs(struct init *in)
{
	uint32_t at = 0, i, j;
	long area;

	if (!in->nvecs)
		return 0;
	area = SYS6(__NR_mmap, 0, in->nvecs * sizeof *in->vecs, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area < 0 && area > -4096)
		return (int)area;
	in->vecs = (char **)area;
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

/* A slot is filled once (or again by an op that stands in for a failed one) and read only after that. What a plan may do with it is the verifier's (plan/check.py). */
static int check_slots(const struct op_info *info, struct plan_op *op, uint8_t *filled)
{
	const char *sig = info->slots;
	int produced, i;

	for (i = 0; i < 4; i++) {
		if (!next_kind(&sig, &produced)) {
			if (op->slot[i] != NO_SLOT)
				return -EINVAL;
			continue;
		}
		if (op->slot[i] == NO_SLOT)
			continue;
		if (op->slot[i] >= SLOTS || (filled[op->slot[i]] && produced && !op->unless) ||
		    (!filled[op->slot[i]] && !produced))
			return -EINVAL;
		filled[op->slot[i]] = 1;
	}
	return 0;
}

int plan_load(struct init *in, uint8_t *bytes, uint32_t size)
{
	uint8_t filled[SLOTS];
	struct plan_header *head = (struct plan_header *)bytes;
	uint32_t i;

	if (size < sizeof *head || head->magic != PLAN_MAGIC || head->version != PLAN_VERSION || head->total != size ||
	    size > PLAN_MAX || head->nops > PLAN_OPS_MAX || head->nslots > SLOTS ||
	    sizeof *head + head->nops * sizeof(struct plan_op) > size)
		return -EINVAL;
	if (head->status != NO_SLOT && head->status >= head->nslots)
		return -EINVAL;
	in->plan = bytes;
	in->head = head;
	in->ops = (struct plan_op *)(head + 1);
	in->nvecs = 0;
	for (i = 0; i < SLOTS; i++)
		filled[i] = i < head->nslots;
	for (i = 0; i < head->nops; i++) {
		struct plan_op *op = &in->ops[i];

		in->now = i;
		if (op->code >= op_count || (op->role != 'M' && op->role != 'I') || op->unless > i)
			return -EINVAL;
		if (check_args(in, &op_table[op->code], op) || check_slots(&op_table[op->code], op, filled))
			return -EINVAL;
	}
	in->now = 0;
	return place_vecs(in);
}
