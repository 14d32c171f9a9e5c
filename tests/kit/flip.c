/*
 * flip A B: exchange two names as fast as the kernel can, until SIGTERM; then put them back and print the count.
 *
 * The attacker's half of every race test: A is what the runtime looks at first, B what it must never use. Pinned to
 * the CPU given by $FLIP_CPU so that the runtime keeps the other. A test must see at least 10^4 exchanges, or the
 * race proves nothing (tests/kit/race.py).
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

static volatile sig_atomic_t leaving;

static void stop(int sig)
{
	(void)sig;
	leaving = 1;
}

int main(int argc, char **argv)
{
	const char *cpu = getenv("FLIP_CPU");
	unsigned long count = 0, failed = 0;

	if (argc != 3)
		return 2;
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	signal(SIGTERM, stop);
	if (cpu) {
		cpu_set_t set;
		CPU_ZERO(&set);
		CPU_SET(atoi(cpu), &set);
		sched_setaffinity(0, sizeof set, &set);
	}
	while (!leaving || count % 2) {
		if (renameat2(AT_FDCWD, argv[1], AT_FDCWD, argv[2], RENAME_EXCHANGE) == 0)
			count++;
		else if (++failed > 1000000 || leaving)
			break;
	}
	printf("%lu %lu\n", count, failed);
	return 0;
}
