"""A reader of pickles that can only make plain values, with bounds on what it makes.

A pickle is a program for a stack machine; its instructions are listed in the standard library's
`pickletools`. C's unpickler allocates what the pickle declares (gigabytes for a memo index, or for
a string that is not there) and hashes what the pickle nests; this one reads no more than the file
holds, does at most `MAX_STEPS` instructions, and keys dicts only by texts and small numbers.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from .pickle_stack import Machine
from .pickle_values import Blob, Name, Storage, Stub, build, is_key, storage

MAX_STEPS = 2_000_000  # a B5 with its optimiser and a pickled trainer needs under 500,000
_MAX_LONG_BYTES = 256
_MAX_TEXT_BYTES = 1 << 20


def run_pickle(machine: Machine) -> Any:
    """Run a machine to its end and return the pickled value.

    Raises:
        pickle.UnpicklingError: the pickle is cut off, damaged or too large.
        IndexError, KeyError: it takes what is not there.
    """
    data = machine.data
    for _ in range(MAX_STEPS):
        if machine.end >= machine.size:
            raise pickle.UnpicklingError("the pickle is cut off")
        code = data[machine.end]
        machine.end += 1
        if code == _STOP:
            return machine.stack.pop()
        handler = _HANDLERS.get(code)
        if handler is None:
            raise pickle.UnpicklingError(f"a pickle instruction torch never writes ({code})")
        handler(machine)
    raise pickle.UnpicklingError(f"a pickle of more than {MAX_STEPS} instructions")


def _names(machine: Machine) -> None:
    name, module = machine.pop(), machine.pop()
    if type(name) is not str or type(module) is not str:
        raise pickle.UnpicklingError("a class without a name")
    machine.push(machine.resolve(module, name))


def _call(machine: Machine, function: Any, args: Any) -> None:
    if isinstance(function, Stub):  # what a foreign function returned, called again
        function = function.name
    if not isinstance(function, Name) or not isinstance(args, tuple):
        raise pickle.UnpicklingError("a call of something that is no function")
    machine.copied += sum(len(value) for value in args if isinstance(value, list))
    if machine.copied > MAX_STEPS:
        raise pickle.UnpicklingError("a pickle that repeats itself without end")
    machine.push(build(function, args))


def _reduce(machine: Machine) -> None:
    args = machine.pop()
    _call(machine, machine.pop(), args)


def _new_with_keywords(machine: Machine) -> None:
    machine.pop()
    _reduce(machine)


def _old_class(machine: Machine) -> None:
    values = machine.pop_mark()
    _call(machine, values[0], tuple(values[1:]))


def _instance(machine: Machine) -> None:
    name = machine.resolve(machine.line(), machine.line())
    _call(machine, name, tuple(machine.pop_mark()))


def _storage(machine: Machine) -> None:
    found = storage(machine.pop())
    if isinstance(found, Storage):
        machine.storages.setdefault(found.key, found)
    machine.push(found)


def _set_state(machine: Machine) -> None:
    state = machine.pop()
    if isinstance(machine.stack[-1], Stub):
        machine.stack[-1].state = state


def _append(machine: Machine, values: list[Any]) -> None:
    target = machine.top((list, Stub))
    if isinstance(target, list):
        target.extend(values)


def _set_items(machine: Machine, values: list[Any]) -> None:
    target = machine.top((dict, Stub))
    if len(values) % 2:
        raise pickle.UnpicklingError("a key without a value")
    if isinstance(target, Stub):
        target.items = {} if target.items is None else target.items
        target = target.items
    pairs = zip(values[::2], values[1::2], strict=True)
    target.update(pair for pair in pairs if is_key(pair))


def _pairs(machine: Machine) -> None:
    values = machine.pop_mark()
    machine.push({})
    _set_items(machine, values)


def _last_two(machine: Machine) -> list[Any]:
    value = machine.pop()
    return [machine.pop(), value]


def _tuple_of(count: int) -> Callable[[Machine], None]:
    def run(machine: Machine) -> None:
        machine.push(tuple(machine.pop() for _ in range(count))[::-1])

    return run


def _long(machine: Machine, format: str) -> None:
    count = machine.number(format)
    if not 0 <= count <= _MAX_LONG_BYTES:
        raise pickle.UnpicklingError("a number of impossible size")
    machine.push(int.from_bytes(machine.take(count), "little", signed=True))


def _text_number(machine: Machine) -> None:
    text = machine.line()
    machine.push({"00": False, "01": True}[text] if text in ("00", "01") else int(text[:100]))


def _byte_text(machine: Machine, format: str) -> None:
    """Read a text of Python 2, which may as well be bytes."""
    count = machine.number(format)
    if not 0 <= count <= _MAX_TEXT_BYTES:
        machine.push(machine.skip(max(count, 0)))
        return
    start = machine.end
    try:
        machine.push(machine.text(count))
    except UnicodeDecodeError:
        machine.push(Blob(machine.end - start))


def _remember(machine: Machine, index: int) -> None:
    if index < 0:
        raise pickle.UnpicklingError("a negative place in the memo")
    machine.memo[index] = machine.stack[-1]


def _drop(machine: Machine) -> None:
    if machine.marks and len(machine.stack) == machine.marks[-1]:
        machine.marks.pop()  # pickle's POP takes a mark too
    else:
        machine.stack.pop()


_STOP = ord(".")
_HANDLERS: dict[int, Callable[[Machine], Any]] = {
    code[0]: handler
    for code, handler in (
        (pickle.PROTO, lambda m: m.skip(1)),
        (pickle.FRAME, lambda m: m.skip(8)),
        (pickle.NONE, lambda m: m.push(None)),
        (pickle.NEWTRUE, lambda m: m.push(True)),
        (pickle.NEWFALSE, lambda m: m.push(False)),
        (pickle.BININT, lambda m: m.push(m.number("<i"))),
        (pickle.BININT1, lambda m: m.push(m.number("<B"))),
        (pickle.BININT2, lambda m: m.push(m.number("<H"))),
        (pickle.BINFLOAT, lambda m: m.push(m.number(">d"))),
        (pickle.LONG1, lambda m: _long(m, "<B")),
        (pickle.LONG4, lambda m: _long(m, "<i")),
        (pickle.INT, _text_number),
        (pickle.LONG, lambda m: m.push(int(m.line()[:100].rstrip("L")))),
        (pickle.FLOAT, lambda m: m.push(float(m.line()))),
        (pickle.SHORT_BINUNICODE, lambda m: m.push(m.text(m.number("<B")))),
        (pickle.BINUNICODE, lambda m: m.push(m.text(m.number("<I")))),
        (pickle.BINUNICODE8, lambda m: m.push(m.text(m.number("<Q")))),
        (pickle.SHORT_BINSTRING, lambda m: _byte_text(m, "<B")),
        (pickle.BINSTRING, lambda m: _byte_text(m, "<i")),
        (pickle.SHORT_BINBYTES, lambda m: m.push(m.skip(m.number("<B")))),
        (pickle.BINBYTES, lambda m: m.push(m.skip(m.number("<I")))),
        (pickle.BINBYTES8, lambda m: m.push(m.skip(m.number("<Q")))),
        (pickle.BYTEARRAY8, lambda m: m.push(m.skip(m.number("<Q")))),
        (pickle.EMPTY_TUPLE, lambda m: m.push(())),
        (pickle.EMPTY_LIST, lambda m: m.push([])),
        (pickle.EMPTY_DICT, lambda m: m.push({})),
        (pickle.EMPTY_SET, lambda m: m.push([])),  # a set is kept as a list: nothing is hashed
        (pickle.MARK, lambda m: m.marks.append(len(m.stack))),
        (pickle.TUPLE, lambda m: m.push(tuple(m.pop_mark()))),
        (pickle.TUPLE1, _tuple_of(1)),
        (pickle.TUPLE2, _tuple_of(2)),
        (pickle.TUPLE3, _tuple_of(3)),
        (pickle.LIST, lambda m: m.push(m.pop_mark())),
        (pickle.FROZENSET, lambda m: m.push(m.pop_mark())),
        (pickle.DICT, _pairs),
        (pickle.APPEND, lambda m: _append(m, [m.pop()])),
        (pickle.APPENDS, lambda m: _append(m, m.pop_mark())),
        (pickle.ADDITEMS, lambda m: _append(m, m.pop_mark())),
        (pickle.SETITEM, lambda m: _set_items(m, _last_two(m))),
        (pickle.SETITEMS, lambda m: _set_items(m, m.pop_mark())),
        (pickle.BINGET, lambda m: m.push(m.memo[m.number("<B")])),
        (pickle.LONG_BINGET, lambda m: m.push(m.memo[m.number("<I")])),
        (pickle.GET, lambda m: m.push(m.memo[int(m.line()[:20])])),
        (pickle.BINPUT, lambda m: _remember(m, m.number("<B"))),
        (pickle.LONG_BINPUT, lambda m: _remember(m, m.number("<I"))),
        (pickle.PUT, lambda m: _remember(m, int(m.line()[:20]))),
        (pickle.MEMOIZE, lambda m: _remember(m, len(m.memo))),
        (pickle.GLOBAL, lambda m: m.push(m.resolve(m.line(), m.line()))),
        (pickle.STACK_GLOBAL, _names),
        (pickle.REDUCE, _reduce),
        (pickle.NEWOBJ, _reduce),
        (pickle.NEWOBJ_EX, _new_with_keywords),
        (pickle.INST, _instance),
        (pickle.OBJ, _old_class),
        (pickle.BUILD, _set_state),
        (pickle.BINPERSID, _storage),
        (pickle.POP, _drop),
        (pickle.POP_MARK, lambda m: m.pop_mark()),
        (pickle.DUP, lambda m: m.push(m.stack[-1])),
    )
}
