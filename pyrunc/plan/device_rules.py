"""Which devices a container may use: config.json's rules, and the eBPF program that enforces them. (Pure.)

`rules` is called by the plan compiler and `program` by the supervisor, through device_filter, which loads it.

The list means what the v1 device controller made of it, because that is what profiles were written against: a
default (deny, to begin with) and a set of exceptions; a rule of type `a` sets the default and clears the set. One that
names a number, or allows less than all access, is no default but means both kinds, as crun has it (v1 opened everything).
The policy starts closed, so that a list without a leading deny-all is not an allow-list of everything
(GHSA-g54h-m393-cpwq). A rule that this model can't express, a hole in a wider rule, is an error and never ignored.

A rule is (type, major, minor, access, allow): type "a", "c" or "b", ANY for a wildcard number, access out of "rwm".
"""

from pyrunc.errors import Error

ANY = -1
READ, WRITE, MKNOD = 2, 4, 1  # BPF_DEVCG_ACC_* (linux/bpf.h)
ACCESS = {"r": READ, "w": WRITE, "m": MKNOD}
TYPES = {"b": 1, "c": 2}  # BPF_DEVCG_DEV_*
ALL = READ | WRITE | MKNOD

# runc appends these to the user's list, so they cannot be denied there. The spec lists the nodes; mknod of anything and
# tun are runc's additions, which callers have come to need.
DEFAULTS = (
    ("c", ANY, ANY, "m", True),
    ("b", ANY, ANY, "m", True),
    ("c", 1, 3, "rwm", True),  # null
    ("c", 1, 8, "rwm", True),  # random
    ("c", 1, 7, "rwm", True),  # full
    ("c", 5, 0, "rwm", True),  # tty
    ("c", 1, 5, "rwm", True),  # zero
    ("c", 1, 9, "rwm", True),  # urandom
    ("c", 136, ANY, "rwm", True),  # pts/*
    ("c", 5, 2, "rwm", True),  # ptmx
    ("c", 10, 200, "rwm", True),  # net/tun
)


def rules(config):
    """The rules of a config, the user's first, then the defaults; raises Error for one that has no meaning."""
    resources = (config.get("linux") or {}).get("resources") or {}
    listed = [_rule(entry, number) for number, entry in enumerate(resources.get("devices") or [])]
    listed += DEFAULTS
    policy(listed)
    return listed


def text(rule):
    """A rule as people write it: `allow c 1:3 rwm`."""
    kind, major, minor, access, allow = rule
    numbers = ":".join("*" if number == ANY else str(number) for number in (major, minor))
    return f'{"allow" if allow else "deny"} {kind} {numbers} {access}'


def policy(listed):
    """What a list of rules comes to: (default_allow, {(type, major, minor): mask}). The masks are the exceptions."""
    default_allow, exceptions = False, {}
    for number, rule in enumerate(listed):
        kind, major, minor, access, allow = rule
        mask = _mask(access)
        if (kind, major, minor) == ("a", ANY, ANY) and (mask == ALL or not allow):
            default_allow, exceptions = allow, {}
            continue
        for its_kind in TYPES if kind == "a" else (kind,):
            key = its_kind, major, minor
            if allow != default_allow:
                exceptions[key] = exceptions.get(key, 0) | mask
            elif allow:
                _lift_denial(exceptions, key, mask, number, rule)
            else:
                _withdraw(exceptions, key, mask, number, rule)
    return default_allow, exceptions


def permits_everything(decision):
    """Is a policy the same as none? Then no program is needed, nor the right to load one."""
    default_allow, exceptions = decision
    return default_allow and not exceptions


def allowed(decision, kind, major, minor, mask):
    """May a container do `mask` to a device? The meaning of a policy, and so of its program (tests compare them)."""
    default_allow, exceptions = decision
    for (its_kind, its_major, its_minor), its_mask in exceptions.items():
        if its_kind == kind and its_major in (ANY, major) and its_minor in (ANY, minor):
            if default_allow and mask & its_mask:
                return False
            if not default_allow and not mask & ~its_mask:
                return True
    return default_allow


# -- from config.json to rules ----------------------------------------------------------------------------------------


def _rule(entry, number):
    pointer = f"/linux/resources/devices/{number}"
    kind, access, allow = entry.get("type") or "a", entry.get("access") or "", entry.get("allow") is True
    major, minor = (_number(entry.get(name), name, pointer) for name in ("major", "minor"))
    if kind not in ("a", "b", "c"):
        raise Error(f'linux.resources.devices: invalid cgroup device type "{kind}"', pointer=pointer + "/type",
                    hint="the types are a (all), b (block) and c (character)")
    if not access:
        raise Error(f"linux.resources.devices: device access at {number} field cannot be empty",
                    pointer=pointer + "/access", hint="give one or more of the letters r, w and m")
    if not set(access) <= set("rwm"):
        raise Error(f'linux.resources.devices: invalid access "{access}"', pointer=pointer + "/access",
                    hint="give one or more of the letters r, w and m")
    return kind, major, minor, access, allow


def _number(value, name, pointer):
    if value is None or value == ANY:
        return ANY
    if not 0 <= value < 1 << 32:
        raise Error(f"linux.resources.devices: {name} {value} is out of range", pointer=f"{pointer}/{name}")
    return value


def _mask(access):
    mask = 0
    for letter in access:
        mask |= ACCESS[letter]
    return mask


# -- the exceptions ---------------------------------------------------------------------------------------------------


def _withdraw(exceptions, key, mask, number, rule):
    """A deny among allowed exceptions. Exact and wider rules take away; a hole in a wider exception is an error.

    runc ignores a deny that is wider than the exception, as v1 did: there `deny c *:*` after `allow c 1:3` denies
    nothing. To take it at its word is on the safe side, and is what the spec's "in the listed order" says.
    """
    for other in list(exceptions):
        if not exceptions[other] & mask or not _overlap(other, key):
            continue
        if not _covers(key, other):
            raise _hole(number, rule, other)
        _reduce(exceptions, other, mask)


def _lift_denial(exceptions, key, mask, number, rule):
    """An allow among denied exceptions lifts the very same one; inside of a wider one it would be a hole.

    A wider allow lifts nothing (as in v1 and runc): otherwise the default `c *:* m` would undo the user's denials.
    """
    for other in exceptions:
        if other != key and exceptions[other] & mask and _covers(other, key):
            raise _hole(number, rule, other)
    _reduce(exceptions, key, mask)


def _reduce(exceptions, key, mask):
    left = exceptions.get(key, 0) & ~mask
    if left:
        exceptions[key] = left
    else:
        exceptions.pop(key, None)


def _covers(wide, narrow):
    return wide[0] == narrow[0] and all(w in (ANY, n) for w, n in zip(wide[1:], narrow[1:]))


def _overlap(one, two):
    return one[0] == two[0] and all(ANY in (a, b) or a == b for a, b in zip(one[1:], two[1:]))


def _hole(number, rule, other):
    kind, major, minor = other
    wide = text((kind, major, minor, "", True)).strip().partition(" ")[2]
    return Error(f"linux.resources.devices: rule {number} ({text(rule)}) cannot punch a hole in the wider rule {wide}",
                 pointer=f"/linux/resources/devices/{number}",
                 hint="list the single devices, or a default rule of type a, instead of the wider rule")


# -- the program ------------------------------------------------------------------------------------------------------

# eBPF opcodes (Documentation/bpf/standardization/instruction-set.rst). The 32-bit jumps are in every kernel that has
# CLONE_INTO_CGROUP.
LDXW, AND32, MOV32, MOV32X, RSH32, JNE32, JEQ32, EXIT = 0x61, 0x54, 0xB4, 0xBC, 0x74, 0x56, 0x16, 0x95
JUMP_MAX = 0x7FF0  # instructions; what a test adds to a block for the one around it is not more than fits
R0, R1, CLASS, ACC, MAJOR, MINOR = range(6)  # registers: result, context, and what is loaded from the context


def program(listed):
    """The eBPF instructions that enforce a list of rules: bytes, eight per instruction, for BPF_PROG_LOAD.

    Context: struct bpf_cgroup_dev_ctx {access << 16 | type, major, minor}. The exceptions are a set, so they may be
    asked in any order: by type, then major, then minor, each branch ending in an exit. A flat list would say the same,
    but the verifier walks it once per rule: with a thousand rules it gives up.
    """
    default_allow, exceptions = policy(listed)
    code = [
        _insn(LDXW, CLASS, R1, off=0),
        _insn(MOV32X, ACC, CLASS),
        _insn(RSH32, ACC, imm=16),
        _insn(AND32, CLASS, imm=0xFFFF),
        _insn(LDXW, MAJOR, R1, off=4),
        _insn(LDXW, MINOR, R1, off=8),
    ]
    for kind in TYPES:
        masks = {key[1:]: exceptions[key] for key in sorted(exceptions) if key[0] == kind}
        if masks:
            code += _joined(_if(CLASS, TYPES[kind], _by_major(masks, default_allow)))
    return b"".join(code + _return(default_allow))


def _by_major(masks, default_allow):
    """The verdict on one type of device, in blocks: first what holds for every major, then one branch per major."""
    majors = {}
    for (major, minor), mask in masks.items():
        majors.setdefault(major, {})[minor] = mask
    blocks = _by_minor(majors.pop(ANY, {}), default_allow)
    for major, minors in majors.items():
        blocks += _if(MAJOR, major, [*_by_minor(minors, default_allow, _return(default_allow)), _return(default_allow)])
    return [*blocks, _return(default_allow)]


def _by_minor(masks, default_allow, last=()):
    """One test per minor, the wildcard first; falls through if none matches. last: what else, for a minor that is not asked for
    in this way: the verdict if no wider exception is left (or the verifier follows each minor through all that come after)."""
    blocks = []
    for minor in sorted(masks):  # ANY is the least
        verdict = _if_asked(masks[minor], default_allow)
        blocks += [verdict] if minor == ANY else _if(MINOR, minor, [[*verdict, *last]])
    return blocks


def _if_asked(mask, default_allow):
    """Leave with the opposite of the default if the accesses asked for make the exception match."""
    asked = [_insn(MOV32X, R1, ACC)]
    leave = _return(not default_allow)
    if default_allow:  # a denial matches if any of its accesses is asked for
        return asked + [_insn(AND32, R1, imm=mask), _insn(JEQ32, R1, off=len(leave))] + leave
    # an allowance matches if nothing beyond it is asked for
    return asked + [_insn(AND32, R1, imm=~mask), _insn(JNE32, R1, off=len(leave))] + leave


def _if(register, value, blocks):
    """Do them if the register has the value: in new blocks, each as much as a jump of 16 bits can pass over."""
    bodies = []
    for block in blocks:
        if not bodies or len(bodies[-1]) + len(block) > JUMP_MAX:
            bodies.append([])
        bodies[-1] += block
    return [[_insn(JNE32, register, off=len(body), imm=value), *body] for body in bodies]


def _joined(blocks):
    return [insn for block in blocks for insn in block]


def _return(allow):
    return [_insn(MOV32, R0, imm=int(allow)), _insn(EXIT)]


def _insn(code, dst=0, src=0, off=0, imm=0):
    """struct bpf_insn, little-endian (both architectures pyrunc runs on)."""
    return bytes((code, dst | src << 4)) + off.to_bytes(2, "little") + (imm & 0xFFFFFFFF).to_bytes(4, "little")
