"""No clause of the specification without a row, no row without a clause, and clauses.md is of the tests that there are."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import known
import pytest
import reasons
import spec

HERE = Path(__file__).resolve().parent
pytestmark = pytest.mark.skipif(not (spec.DIRECTORY / "config.md").exists(),
                                reason="the specification's text is not there: make conformance fetches it")


@pytest.fixture(scope="module")
def marked(tmp_path_factory):
    """{clause: words} of all the test files, whatever part of them this run has collected."""
    out = tmp_path_factory.mktemp("marked") / "rows.json"
    subprocess.run([sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", HERE],
                   env={**os.environ, "CLAUSE_RESULTS": str(out)}, cwd=HERE.parent, stdout=subprocess.DEVNULL, check=True)
    return {id: row["words"] for id, row in json.loads(out.read_text()).items()}


def test_every_clause_has_a_test_or_a_reason(marked):
    clauses = spec.clauses()
    per_file = {name: sum(id.startswith(name + "#") for id in clauses) for name in spec.FILES}
    assert per_file == {"config.md": 182, "config-linux.md": 112, "runtime.md": 50, "runtime-linux.md": 1,
                        "features.md": 12, "features-linux.md": 10}
    untested = reasons.rows()
    assert [id for id in clauses if id not in marked and id not in untested] == []
    assert [id for id in (*marked, *untested, *known.CLAUSES) if id not in clauses] == []
    assert sorted(marked.keys() & untested.keys()) == []


def test_the_committed_table_is_of_these_tests(marked):
    text = (HERE / "clauses.md").read_text()
    rows = dict(re.findall(r"^\| (\S+#\S+) \| [^|]* \| ([^|]*) \|", text, re.M))
    assert rows == {**{id: words for id, (words, _) in reasons.rows().items()}, **marked}


def test_no_sentence_of_the_specification_is_repeated():
    """Ids and own words only: no run of eight words of the text stands in our table."""
    said = re.findall(r"\w+", (HERE / "clauses.md").read_text().lower())
    ours = {tuple(said[i:i + 8]) for i in range(len(said))}
    for clause in spec.clauses().values():
        words = re.findall(r"\w+", clause.text.lower())
        assert not [run for i in range(len(words) - 7) if (run := tuple(words[i:i + 8])) in ours], clause.id
