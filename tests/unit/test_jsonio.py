"""jsonio: strict where a config must be strict, equal to the json package everywhere else."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrunc import jsonfault, jsonio
from pyrunc.errors import Error

VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False),
              st.text(max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=4), inner, max_size=4)),
    max_leaves=12)

REFUSED = {
    b"": "line 1 column 1: the document is empty",
    b" \n ": "line 2 column 2: the document is empty",
    b"{": "line 1 column 2: the document ends too early",
    b'{"a": 1': "line 1 column 8: the document ends too early",
    b'{"a": 1,\n "b"}': "line 2 column 5: expected ':'",
    b'{"a": 1, "b": {"c": 1,\n"c": 2}}': 'line 2 column 1: duplicate key "c"',
    b'{"a": 1, "\\u0061": 2}': 'line 1 column 10: duplicate key "a"',
    b"[1, NaN]": "line 1 column 5: NaN is not a JSON number",
    b"[Infinity]": "line 1 column 2: Infinity is not a JSON number",
    b"[-Infinity]": "line 1 column 2: -Infinity is not a JSON number",
    b"{}{}": "line 1 column 3: unexpected text after the end of the document",
    b"{}\0": "line 1 column 3: unexpected text after the end of the document",
    b"[1,]": "line 1 column 4: expected a value",
    b'{"a":1,}': "line 1 column 8: expected a key in double quotes",
    b"{a: 1}": "line 1 column 2: expected a key in double quotes",
    b"[1 2]": "line 1 column 4: expected ',' or ']'",
    b"[01]": "line 1 column 2: a number must not start with 0",
    b"[1.]": "line 1 column 2: a number ends with its decimal point",
    b"[1e+]": "line 1 column 2: a number ends within its exponent",
    b"[-]": "line 1 column 2: '-' without a number",
    b"[" + b"9" * 5000 + b"]": "line 1 column 2: a number with too many digits",
    b'["a\nb"]': "line 1 column 4: control character 0x0a in a string",
    b'["\\x41"]': "line 1 column 3: an unknown escape sequence",
    b'["\\u12"]': "line 1 column 3: \\u without four hexadecimal digits",
    b'["\\udc80"]': "line 1 column 2: half of a surrogate pair in a string",
    b'["\\ud83d"]': "line 1 column 2: half of a surrogate pair in a string",
    b'["abc': "line 1 column 2: an unterminated string",
    b"\xef\xbb\xbf{}": "starts with a byte order mark; JSON must be plain UTF-8 without one",
    b'{\n "a\xff": 1}': "line 2 column 4: not UTF-8 (byte 0xff)",
    b'["\xed\xa0\x80"]': "line 1 column 3: not UTF-8 (byte 0xed)",
    b"[" * 129 + b"]" * 129: "line 1 column 129: nested deeper than 128 levels",
    b"[" * 1_000_000: "line 1 column 129: nested deeper than 128 levels",
    b'{"a":' * 200_000: "line 1 column 641: nested deeper than 128 levels",
    b'{"a":' * 129 + b"1" + b"}" * 129: "line 1 column 641: nested deeper than 128 levels",
    b'{"a": {%s}}' % b",".join(b'"%d":0' % n for n in range(4097)): "line 1 column 35762: an object with more than 4096 members",
    b" " * (jsonio.MAX_BYTES + 1): "larger than 16 MiB",
}


@pytest.mark.parametrize("document", REFUSED, ids=lambda document: ascii(document[:20]))
def test_a_bad_document_is_refused_in_one_line_with_its_place(document):
    with pytest.raises(Error) as caught:
        jsonio.loads(document, "x.json")
    assert caught.value.message == "x.json: " + REFUSED[document]
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("document", [b"[" * 128 + b"]" * 128, b'["' + b"[{" * 500 + b'"]', b'["\\ud83d\\ude00"]',
                                      b'["\\u0000\\b\\f\\/\\\\\\"\\u007f\\ud7ff\\ue000\\uffff\\udbff\\udfff"]', b"[1E400, -0, -0.0]",
                                      b'{%s}' % b",".join(b'"%d":0' % n for n in range(4096)),
                                      b' {"a" : [ 1 , -2.5e3 , true , "x" ] } \n', b'"\xf0\x9f\x98\x80"', b"0"],
                         ids=lambda document: ascii(document[:20]))
def test_what_is_unusual_but_json_is_read(document):
    assert jsonio.loads(document) == json.loads(document)


def test_a_null_means_absent_in_objects_and_stays_in_arrays():
    assert jsonio.loads(b'{"a": null, "b": {"c": null, "d": [null, {"e": null}]}}') == {"b": {"d": [None, {}]}}


def test_a_null_does_not_hide_a_duplicate_key():
    with pytest.raises(Error, match='duplicate key "a"'):
        jsonio.loads(b'{"a": null, "a": 1}')


@given(VALUES)
def test_what_json_writes_is_read_as_json_reads_it(value):
    assert jsonio.loads(json.dumps(value, ensure_ascii=False).encode()) == value


@given(VALUES, st.sampled_from([None, 2, 4, "\t"]), st.booleans())
def test_dumps_writes_what_json_writes(value, indent, sort_keys):
    separators = (",", ":") if indent is None else None
    wanted = json.dumps(value, indent=indent, sort_keys=sort_keys, separators=separators)
    assert jsonio.dumps(value, indent, sort_keys) == wanted


def test_writing_a_long_text_takes_no_longer_than_reading_it():
    """Nor twice as long: what has nothing to escape is copied at once."""
    value = {str(i): "a" * 5000 for i in range(400)}
    text = jsonio.dumps(value).encode()

    def cost(call, argument):
        times = []
        for _ in range(5):
            start = time.process_time()
            call(argument)
            times.append(time.process_time() - start)
        return min(times)

    assert cost(jsonio.dumps, value) < 2 * cost(jsonio.loads, text)


@pytest.mark.parametrize("text", ["", "plain", "a\"b", "\\", "\n", "\x7f", "\0", "\xe9t\xe9", "end\t", "\U00012345 and \u1234"])
def test_plain_characters_around_what_is_escaped_are_kept(text):
    for around in (text, f"x{text}", f"{text}y", f"x{text}y", text * 3):
        assert jsonio.dumps([around]) == json.dumps([around])


def test_dumps_refuses_what_json_has_no_form_for():
    for value in (float("nan"), {1, 2}, b"x"):
        with pytest.raises((ValueError, TypeError)):
            jsonio.dumps([value])


def test_dumps_keeps_bytes_that_are_no_utf_8_readable():
    assert jsonio.dumps(b"/a\xff".decode("utf-8", "surrogateescape")) == '"/a\\udcff"'


def test_a_byte_that_is_no_utf_8_comes_back_from_what_we_wrote_ourselves_and_only_from_there():
    name = b"/a\xff\xc3".decode("utf-8", "surrogateescape") + "\u00e9"
    written = jsonio.dumps({"a": name}).encode()
    assert jsonio.loads(written, errors="surrogateescape") == {"a": name}
    for document in (written, b'["\\udc80"]'):
        with pytest.raises(Error, match="half of a surrogate pair"):
            jsonio.loads(document)
    for document in (b'["\\ud800"]', b'["\\udc7f"]', b'["\\udd00"]', b'["\xed\xb2\x80"]'):
        with pytest.raises(Error):
            jsonio.loads(document, errors="surrogateescape")


SEEDS = ('{"a": [1, 2.5, {"b": "x\\u00e9", "c": null}], "d": -0, "e": true}', '[[], {}, "", "\\ud83d\\ude00", 1E+2]')
SPOILS = st.sampled_from(list('{}[]",:\\0123456789.eE+-untrfals \t\n\x00\x1f') + ["NaN", "\\u", '"a":1,', "\ud7ff"])


@settings(max_examples=400)
@given(st.data())
def test_the_slow_reader_finds_a_fault_exactly_where_the_scanner_refuses(data):
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(SPOILS) + text[at + data.draw(st.integers(0, 2)):]
    found = jsonfault.locate(text, jsonio.MAX_DEPTH, jsonio.MAX_MEMBERS)
    try:
        jsonio.loads(text.encode())
    except Error as err:
        assert found is not None, err
        assert 0 <= found[0] <= len(text)
        assert "not valid JSON" not in err.message
    else:
        assert found is None, (text, found)


PYENV = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
# not by PATH: a pyenv shim there answers for versions it does not have
OTHERS = sorted(map(str, [*PYENV.glob("3.1[123].*/bin/python3"), *pathlib.Path("/usr/bin").glob("python3.1[23]")]))
ROOT = pathlib.Path(__file__).resolve().parents[2]

CHECK_ELSEWHERE = """
import sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
import os
os.mkdir(sys.argv[1] + "/pyrunc")
for name in "__init__", "jsonio", "jsonfault", "errors", "typed":
    os.symlink(f"{sys.argv[2]}/pyrunc/{name}.py", f"{sys.argv[1]}/pyrunc/{name}.py")
import subprocess, sysconfig
subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", sysconfig.get_path("include"), sys.argv[2] + "/csrc/json.c",
                "-o", sys.argv[1] + "/pyrunc/_json.so"], check=True)
from pyrunc import jsonio
from pyrunc.errors import Error
assert jsonio.loads(b'{"a": [1, null, {"b": null, "c": 1.5}]}') == {"a": [1, None, {"c": 1.5}]}
assert jsonio.dumps({"a": [1, "\\u00e9"], "b": {}}) == '{"a":[1,"\\\\u00e9"],"b":{}}'
assert jsonio.dumps([{"b": 2, "a": []}], "\\t", True) == '[\\n\\t{\\n\\t\\t"a": [],\\n\\t\\t"b": 2\\n\\t}\\n]'
for bad in (b'{"a":1,"a":2}', b"[" * 100000, b"[NaN]", b"[1", b"9" * 9999, b'["\\\\udc80"]', b"[1]x"):
    try:
        jsonio.loads(bad)
    except Error:
        continue
    raise SystemExit("accepted: " + ascii(bad[:20]))
print("same")
"""


@pytest.mark.parametrize("python", [sys.executable, *OTHERS])
def test_every_supported_python_reads_and_writes_the_same(python, tmp_path):
    done = subprocess.run([python, "-I", "-S", "-c", CHECK_ELSEWHERE, tmp_path, ROOT], capture_output=True, text=True)
    assert done.stdout == "same\n", done.stderr
