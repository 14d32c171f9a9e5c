/* The few string functions init needs; memcpy and memset also because compilers call them behind our back. */
#include "init.h"

uint32_t str_len(const char *s)
{
	uint32_t n = 0;

	while (s[n])
		n++;
	return n;
}

int str_same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}

void mem_copy(void *to, const void *from, uint64_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	while (n--)
		*t++ = *f++;
}

void *mem_zero(void *at, uint64_t n)
{
	uint8_t *t = at;

	while (n--)
		*t++ = 0;
	return at;
}

uint32_t dec(const char *s, uint32_t limit)
{
	uint32_t v = 0;

	if (!*s)
		return UINT32_MAX;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || v > limit / 10)
			return UINT32_MAX;
		v = v * 10 + (uint32_t)(*s - '0');
	}
	return v > limit ? UINT32_MAX : v;
}

#if !defined(PYRUNC_HOSTED) && !defined(PYRUNC_LIBC)
void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memset(void *at, int c, size_t n);

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

__attribute__((optimize("no-tree-loop-distribute-patterns"))) void *memset(void *at, int c, size_t n)
{
	uint8_t *t = at;

	while (n--)
		*t++ = (uint8_t)c;
	return at;
}
#endif
