"""A gate as JUnit XML: a test case per budget, which every CI shows."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from ..benchmark.gate.outcome import GateResult, Status
from .gate_words import quantity, sentence

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def gate_junit(result: GateResult) -> str:
    """Return the XML: a failed budget is a failure, one that cannot be compared an error."""
    counts = {
        "tests": len(result.checks),
        "failures": sum(check.status is Status.FAIL for check in result.checks),
        "errors": sum(check.status is Status.CANNOT for check in result.checks),
        "skipped": 0,
        "time": 0,  # nothing is run by a gate
    }
    numbers = {name: str(number) for name, number in counts.items()}
    root = ElementTree.Element("testsuites", {"name": "segship gate", **numbers})
    suite = ElementTree.SubElement(root, "testsuite", {"name": "segship.gate", **numbers})
    for check in result.checks:
        names = {"classname": _plain(f"segship.gate.{result.candidate}"), "name": quantity(check)}
        case = ElementTree.SubElement(suite, "testcase", {**names, "time": "0"})
        line = _plain(sentence(check))
        kind = {Status.FAIL: "failure", Status.CANNOT: "error"}.get(check.status)
        if kind:
            told = {"message": line, "type": _plain(check.status.value)}
            ElementTree.SubElement(case, kind, told).text = _plain(check.how) or line
        ElementTree.SubElement(case, "system-out").text = f"{line} {_plain(check.how)}".strip()
    for note in result.notes[:1]:
        text = "\n".join(_plain(line) for line in result.notes) if note else ""
        ElementTree.SubElement(suite, "system-out").text = text
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _plain(text: str) -> str:
    """Return a text without the characters XML 1.0 has no place for."""
    return _FORBIDDEN.sub("�", text)
