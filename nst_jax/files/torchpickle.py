"""Read the pickles inside PyTorch's files, without `pickle`, which obeys whoever wrote the file.

A pickle is a program for a small machine with a stack. This one knows the opcodes that
`torch.save` needs for tensors and containers, and refuses all others. It calls nothing that the
file names, changes no object that was built, and hashes only plain keys: hashing tuples of tuples
of tuples can take forever. `pickletools` of the standard library decodes the opcodes.
"""

import collections
import pickletools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

MOST_STEPS = 1_000_000  # opcodes; a network with 10,000 tensors has half as many
DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}


class ForbiddenError(Exception):
    """The pickle names something that plain weights do not need; the message is its name."""


@dataclass(frozen=True)
class StorageType:
    """The type of a storage, by the dtype of its values."""

    dtype: str


@dataclass(frozen=True)
class Storage:
    """`count` values from `start` on, in the data that has this key."""

    key: str
    dtype: str
    start: int
    count: int


@dataclass(frozen=True)
class Tensor:
    """A tensor as a view of a storage; offset and strides count values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def load(file: Any, found: Callable[[Storage], Any] = lambda storage: None) -> Any:
    """Read one pickle, and leave the file behind it.

    Args:
        file: a binary file, at the pickle's first byte.
        found: called with each storage that the pickle names.

    Returns:
        Plain values, dicts, lists and tuples, with `Tensor` and `Storage` in them.

    Raises:
        ForbiddenError: the pickle names anything but tensors and containers.
        ValueError: it is damaged, or needs other opcodes.
    """
    machine = _Machine(found)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes in damaged strings
        for step, (opcode, argument, _) in enumerate(pickletools.genops(file)):
            if opcode.name == "STOP":
                break
            if step == MOST_STEPS:
                raise ValueError("its list of tensors is too long")
            machine.step(opcode.name, argument)
    return machine.stack.pop()


class _Machine:
    def __init__(self, found: Callable[[Storage], Any]):
        self.found = found
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in _TUPLES:
            self._put(tuple, self._last(_TUPLES[name]))
        elif name in _OTHERS:
            _OTHERS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise ForbiddenError(f"opcode {name}" + (f" {argument}" if argument else ""))

    def _last(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise ValueError("a pickle that takes more than there is")
        found = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return found

    def _marked(self) -> list[Any]:
        return self._last(len(self.stack) - self.marks.pop())

    def _put(self, kind: Callable[[Any], Any], values: Sequence[Any]) -> None:
        self.stack.append(kind(values))

    def _mark(self, argument: Any) -> None:
        del argument
        self.marks.append(len(self.stack))

    def _keep(self, argument: Any) -> None:
        self.memo[len(self.memo) if argument is None else int(argument)] = self.stack[-1]

    def _get(self, argument: Any) -> None:
        self.stack.append(self.memo[int(argument)])

    def _append(self, values: Sequence[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("a list that is none")
        self.stack[-1].extend(values)

    def _set(self, values: Sequence[Any]) -> None:
        if not isinstance(self.stack[-1], dict):
            raise ValueError("a dict that is none")
        self.stack[-1].update(_dict(values))

    def _name(self, name: str) -> None:
        if name not in _ALLOWED:
            raise ForbiddenError(name.replace(" ", "."))
        self.stack.append(_ALLOWED[name])

    def _stacked_name(self) -> None:
        module, name = self._last(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is none")
        self._name(f"{module} {name}")

    def _call(self) -> None:
        function, arguments = self._last(2)
        if not isinstance(function, _Function) or not isinstance(arguments, tuple):
            raise ValueError("a call of what cannot be called")
        self.stack.append(function.call(*arguments))

    def _refer(self) -> None:
        (pid,) = self._last(1)
        self.stack.append(_storage(pid))
        self.found(self.stack[-1])

    def _build(self) -> None:
        """Leave out what is added to a dict, such as the versions of a network's layers."""
        built, _ = self._last(2)
        if not isinstance(built, dict):
            raise ValueError("an object that is changed after it was built")
        self.stack.append(built)


def _dict(values: Sequence[Any]) -> dict[Any, Any]:
    keys = values[::2]
    if not all(key is None or isinstance(key, str | int | float | bytes) for key in keys):
        raise ValueError("a dict with keys that are not plain")
    return dict(zip(keys, values[1::2], strict=True))


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    if not all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in pairs):
        raise ValueError("an ordered dict without pairs")
    return collections.OrderedDict(_dict([part for pair in pairs for part in pair]))


def _storage(pid: Any) -> Storage:
    kind, storage_type, key, _, count, *view = pid
    if kind != "storage" or not isinstance(storage_type, StorageType):
        raise ValueError("an object that is no storage")
    start = 0
    if view and view[0] is not None:
        _, start, count = view[0]
    if not isinstance(key, str | int) or not _are_counts(start, count):
        raise ValueError("a storage of impossible size")
    return Storage(str(key), storage_type.dtype, start, count)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage) or len(shape) != len(strides):
        raise ValueError("a tensor without storage")
    if not _are_counts(offset, *shape, *strides):
        raise ValueError("a tensor of impossible shape")
    return Tensor(storage, offset, tuple(shape), tuple(strides))


def _are_counts(*numbers: Any) -> bool:
    return all(isinstance(n, int) and 0 <= n < 2**62 for n in numbers)


@dataclass(frozen=True)
class _Function:
    call: Callable[..., Any]


_ALLOWED = {
    "collections OrderedDict": _Function(_ordered),
    "torch._utils _rebuild_tensor_v2": _Function(_tensor),
    "torch._utils _rebuild_parameter": _Function(lambda data, *_: data),
    **{f"torch {name}": StorageType(dtype) for name, dtype in DTYPES.items()},
}
# Opcodes whose argument is a value.
_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE"),
    *("BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_OTHERS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine._mark,
    "TUPLE": lambda m, _: m._put(tuple, m._marked()),
    "LIST": lambda m, _: m._put(list, m._marked()),
    "DICT": lambda m, _: m._put(_dict, m._marked()),
    "APPEND": lambda m, _: m._append(m._last(1)),
    "APPENDS": lambda m, _: m._append(m._marked()),
    "SETITEM": lambda m, _: m._set(m._last(2)),
    "SETITEMS": lambda m, _: m._set(m._marked()),
    "PUT": _Machine._keep,
    "BINPUT": _Machine._keep,
    "LONG_BINPUT": _Machine._keep,
    "MEMOIZE": _Machine._keep,
    "GET": _Machine._get,
    "BINGET": _Machine._get,
    "LONG_BINGET": _Machine._get,
    "GLOBAL": _Machine._name,
    "STACK_GLOBAL": lambda m, _: m._stacked_name(),
    "REDUCE": lambda m, _: m._call(),
    "BINPERSID": lambda m, _: m._refer(),
    "BUILD": lambda m, _: m._build(),
}
