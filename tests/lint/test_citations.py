"""Whatever a comment or a document cites can be opened: files and directories of the project, sections of its documents.

The specification's own documents are cited by their names (config.md#mounts), man pages, kernel sources and CVEs by theirs.
"""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent.parent
SPECIFICATION = {"spec.md", "config.md", "config-linux.md", "config-vm.md", "config-windows.md", "config-solaris.md", "config-zos.md",
                 "config-freebsd.md", "runtime.md", "runtime-linux.md", "features.md", "features-linux.md"}
MADE = {"runtime-tools.md", "pyrunc/_bytecode"}  # by `make conformance` and by the build
TREES = ("pyrunc", "csrc", "tests", "conformance", "docs", "spec")
HOMES = ("pyrunc/", "pyrunc/host/", "csrc/", "tests/")  # where a shorter path may begin: plan/words.py
SUFFIXES = {".py", ".c", ".h", ".def", ".md", ".toml", ".sh", ".yaml", ".json"}
# A path of the project, and a document with the section of it that is meant: docs/scale.md, "Mounts".
PATH = re.compile(r"(?<![\w/.~-])((?:docs|tests|csrc|pyrunc|conformance|spec)/[\w./*-]*[\w*])")
BELOW = re.compile(r"(?<![\w/.~-])((?:plan|host|config|commands|seccomp|init|kit|cgroup)/[\w/*]+\.(?:py|c|h))\b")
SECTION = re.compile(r"docs/([\w-]+\.md)`?,\s+(?:[#*]\s+)?\"([^\"]+)\"")
CLASS = re.compile(r"docs/security\.md, (C\d+)")
TRACKER = re.compile(r"\bissue \d+\b")  # a tracker is not part of the project
DOCUMENT = re.compile(r"(?<![\w./-])([a-z][\w-]*\.md)\b")


def sources():
    files = [path for tree in TREES for path in sorted((REPOSITORY / tree).rglob("*")) if path.suffix in SUFFIXES]
    files += [path for path in sorted(REPOSITORY.iterdir()) if path.suffix in SUFFIXES or path.name == "Makefile"]
    return [path for path in files if path != Path(__file__)]


SOURCES = {str(path.relative_to(REPOSITORY)): path.read_text() for path in sources()}


def is_there(path):
    """As it stands, with a `*` for whatever fits, or a module without its suffix."""
    return any(REPOSITORY.glob(path)) or any((REPOSITORY / (path + suffix)).exists() for suffix in (".py", ".c", ".h"))


def sections(document):
    """What a document calls its parts: headings, and the bold words that a paragraph or a row begins with."""
    text = (REPOSITORY / "docs" / document).read_text()
    return {*re.findall(r"^#+ (.+)$", text, re.M), *re.findall(r"^(?:\| )?\*\*([^*]+?)\.?\*\*", text, re.M)}


def dead(name, text):
    """What `text`, which stands in the file `name`, cites and nobody can open."""
    found = [path for path in PATH.findall(text) if path not in MADE and not is_there(path)]
    found += [doc for doc in DOCUMENT.findall(text) if doc not in SPECIFICATION | MADE and not (REPOSITORY / "docs" / doc).exists()
              and not (REPOSITORY / name).with_name(doc).exists()]
    found += [f"{doc}, {part}" for doc, part in SECTION.findall(text)
              if (REPOSITORY / "docs" / doc).exists() and " ".join(part.split()) not in sections(doc)]
    found += [path for path in BELOW.findall(text) if not any(is_there(f"{tree}{path}") for tree in HOMES)]
    found += TRACKER.findall(text)
    return found + [f"security.md, {part}" for part in CLASS.findall(text) if part not in sections("security.md")]


@pytest.mark.parametrize("name", SOURCES)
def test_every_citation_can_be_opened(name):
    assert dead(name, SOURCES[name]) == []


@pytest.mark.parametrize("text", [
    "see docs/nowhere.md", "(nowhere.md 2.6)", "tests/unit/test_nowhere.py holds it", "csrc/init/op_nowhere*.c", "(plan/nowhere.py)", 'docs/scale.md, "Nowhere"',
    'as docs/scale.md,\n "No\n where" says', "(docs/security.md, C11)", "pyrunc/nowhere/", "(issue 4)"])
def test_a_dead_citation_is_found(text):
    assert dead("pyrunc/log.py", text) != []


@pytest.mark.parametrize("text", [
    "docs/scale.md", 'docs/scale.md, "Mounts"', "`docs/design.md`, \"Start-up\"", "config.md#mounts", "csrc/init/op_*.c", "conformance/spec", "plan/words.py",
    "(docs/security.md, C1)", "/etc/pyrunc/nowhere"])
def test_a_living_one_is_not(text):
    assert dead("pyrunc/log.py", text) == []
