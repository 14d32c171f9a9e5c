// Which memory of the program a verb writes to: preloaded while the layout of the picture is tried (csrc/picture.py), never installed.
//
// PYRUNC_WRITTEN="LOW HIGH FILE": the memory is made read-only, so a write to it faults. The handler notes the unit of 16 bytes in FILE,
// a byte for each, opens the page and lets the one instruction run (the trap flag); then the page is closed again. A page that has
// shown nothing new for a while stays open: a reference count of None's changes a million times.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

enum { PAGE = 4096, UNIT = 16, TRAP_FLAG = 0x100, A_WHILE = 100 };

static uintptr_t low, high, opened[4]; // an instruction that writes to two places may cross a page at each
static int n_opened;
static unsigned char *seen;
static unsigned *stale; // by page, how many faults have shown nothing new

static void on_write(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)info->si_addr, page = at & -(uintptr_t)PAGE;
    if (at < low || at >= high || n_opened == 4) {
        signal(number, SIG_DFL); // a fault of its own
        return;
    }
    unsigned *faults = stale + (at - low) / PAGE;
    *faults = seen[(at - low) / UNIT] ? *faults + 1 : 0;
    seen[(at - low) / UNIT] = 1;
    mprotect((void *)page, PAGE, PROT_READ | PROT_WRITE);
    if (*faults < A_WHILE)
        opened[n_opened++] = page;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    (void)number, (void)info;
    while (n_opened)
        mprotect((void *)opened[--n_opened], PAGE, PROT_READ);
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

__attribute__((constructor)) static void begin(void)
{
    const char *told = getenv("PYRUNC_WRITTEN");
    int path;
    if (!told || sscanf(told, "%lx %lx %n", &low, &high, &path) != 2)
        _exit(125);
    int fd = open(told + path, O_RDWR | O_CLOEXEC);
    seen = mmap(NULL, (high - low) / UNIT, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    stale = calloc((high - low) / PAGE, sizeof *stale);
    struct sigaction act = {.sa_sigaction = on_write, .sa_flags = SA_SIGINFO | SA_NODEFER};
    sigaction(SIGSEGV, &act, NULL);
    act.sa_sigaction = on_step;
    sigaction(SIGTRAP, &act, NULL);
    close(fd);
    if (seen == MAP_FAILED || !stale || mprotect((void *)low, high - low, PROT_READ))
        _exit(125);
}
