"""The clauses that have no test, and why: (own words, reason) by id. A range `#anchor-2..9` stands for all of its clauses."""

import re

OTHER = "another platform"
AUTHOR = "binds the author of config.json"
RESCTRL = "needs Intel RDT and a mounted resctrl; tests/unit/test_rdt.py, tests/root/test_rdt_root.py stand in for it"

RANGES = {
    "config.md#configRoot-1..2": ("root on Windows", OTHER),
    "config.md#configRoot-5": ("a volume path on Windows", OTHER),
    "config.md#configRoot-6": ("the conventional name of the root", AUTHOR),
    "config.md#configRoot-9": ("readonly on Windows", OTHER),
    "config.md#configMounts-3": ("a destination is absolute", AUTHOR + "; relative ones are taken (configMounts-4)"),
    "config.md#configMounts-5..6": ("destinations on Windows", OTHER),
    "config.md#configMounts-7": ("destinations on Solaris", OTHER),
    "config.md#configMounts-8": ("destinations elsewhere", OTHER),
    "config.md#configMounts-9": ("ro on Windows", OTHER),
    "config.md#configPOSIXMounts-2": ("idmap stands beside uidMappings", AUTHOR + "; mappings alone are taken"),
    "config.md#configPOSIXMounts-5": ("idmap stands beside gidMappings", AUTHOR + "; mappings alone are taken"),
    "config.md#configProcess-8": ("commandLine on Windows", OTHER),
    "config.md#configPlatformSpecificConfiguration-1": ("the windows object", OTHER),
    "config.md#configAnnotations-4": ("keys are reverse domain names", AUTHOR),
    "config.md#configAnnotations-5..12": ("the specification's own keys", AUTHOR + ", who converts an image; no runtime reads them"),
    "config.md#configAnnotations-13": ("stopSignal", "binds the author, and the manager, who names the signal in `kill`"),
    "config.md#configAnnotations-14": ("reserved keys", "binds later specifications"),
    "config-linux.md#configLinuxDevices-6": ("one device, one entry", AUTHOR),
    "config-linux.md#configLinuxControlGroups-1": ("checks of a cgroup's fitness", "the check is a MAY that is not made use of"),
    "config-linux.md#configLinuxCgroupsPath-1": ("absolute or relative", AUTHOR + ": every string is one of the two"),
    "config-linux.md#configLinuxMemory-1..2": ("limits of kernel memory", AUTHOR),
    "config-linux.md#configLinuxCPU-1": ("quota is not below burst", AUTHOR + "; the error is a MAY, the kernel's here"),
    "config-linux.md#configLinuxCPU-2": ("burst is not above quota", AUTHOR + "; the error is a MAY, the kernel's here"),
    "config-linux.md#configLinuxBlockIO-2": ("weight or leafWeight", AUTHOR),
    "config-linux.md#configLinuxRDMA-1": ("hcaHandles or hcaObjects", AUTHOR),
    "config-linux.md#configLinuxIntelRdt-1": ("the process is put into its group", RESCTRL),
    "config-linux.md#configLinuxIntelRdt-3": ("without intelRdt no resctrl is touched", RESCTRL),
    "config-linux.md#configLinuxIntelRdt-4": ("/ is the default group", RESCTRL),
    "config-linux.md#configLinuxIntelRdt-5..7": ("the form of schemata", AUTHOR),
    "config-linux.md#configLinuxIntelRdt-8..24": ("how groups are made, filled and removed", RESCTRL),
}
PATTERN = re.compile(r"(.*-)(\d+)(?:\.\.(\d+))?")


def rows():
    """{id: (words, reason)}"""
    out = {}
    for key, value in RANGES.items():
        prefix, first, last = PATTERN.fullmatch(key).groups()
        out.update({f"{prefix}{number}": value for number in range(int(first), int(last or first) + 1)})
    return out
