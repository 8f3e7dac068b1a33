"""The digest of a record: tells a file that was edited after it was measured."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from ..common.errors import InputError

KEY = "digest"


class OtherSchemaError(InputError):
    """A record of another schema version: whole perhaps, but not to be compared with ours."""


def digest_of(values: dict[str, Any]) -> str:
    """Return the SHA-256 of a record's JSON values in canonical form, without their own digest.

    White space and the order of keys do not matter; every value does.

    >>> digest_of({"a": 1, "b": [2.5]}) == digest_of({"b": [2.5], "a": 1, "digest": "x"})
    True
    >>> digest_of({"a": 1}) == digest_of({"a": 1.0})
    False
    """
    plain = {name: value for name, value in values.items() if name != KEY}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_edited(values: dict[str, Any], source: str) -> None:
    """Refuse values that do not have the digest they carry; those of before carry none.

    Raises:
        InputError: the file `source` was edited, or damaged so that it still reads.
    """
    stated = values.get(KEY, "")
    if stated and stated != digest_of(values):
        raise InputError(
            f"Expected a record as it was measured, but {source} was changed since (its digest "
            "does not fit): measure again."
        )
