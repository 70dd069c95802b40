"""What runs in a container of `ContainerExecutor`: reads calls from descriptor 3, writes what came of them to descriptor 4.

Its text is the argument of the interpreter inside, which need not have pyrt: it imports nothing of it. A frame is eight bytes of length,
big endian, and its content. The first frame is JSON: the caller's sys.path, and how results are written. Neighbour: executor.py, the
other end.
"""

import os
import pickle
import sys

REQUESTS, RESULTS = 3, 4

RETURNED = b"R"
"""The result follows, pickled or as JSON."""
RAISED = b"E"
"""The exception and its traceback's text follow, pickled."""
TOLD = b"T"
"""Type, message and traceback of an exception follow, as JSON."""


def _read(length: int) -> bytes:
    parts = []
    while length:
        part = os.read(REQUESTS, min(length, 1 << 20))
        if not part:
            # The executor has no more calls.
            os._exit(0)
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def _frame() -> bytes:
    return _read(int.from_bytes(_read(8), "big"))


def _answer(kind: bytes, content: bytes) -> None:
    rest = memoryview((len(content) + 1).to_bytes(8, "big") + kind + content)
    while rest:
        rest = rest[os.write(RESULTS, rest) :]


def _dumps(value: object) -> bytes:
    try:
        import cloudpickle
    except ImportError:
        return pickle.dumps(value)
    dumped: bytes = cloudpickle.dumps(value)
    return dumped


def _told(error: BaseException, text: str) -> bytes:
    import json

    return json.dumps({"type": type(error).__qualname__, "message": str(error), "traceback": text}).encode()


def _call(request: bytes, as_json: bool) -> "tuple[bytes, bytes]":
    try:
        function, args, kwargs = pickle.loads(request)
        value = function(*args, **kwargs)
        if as_json:
            import json

            return RETURNED, json.dumps(value).encode()
        return RETURNED, _dumps(value)
    except BaseException as error:
        import traceback

        text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
        if as_json:
            return TOLD, _told(error, text)
        try:
            dumped = _dumps((error, text))
            # Some exceptions can be written and not read.
            pickle.loads(dumped)
        except BaseException:
            return TOLD, _told(error, text)
        return RAISED, dumped


def main() -> None:
    # What it starts is not to hold the ends of these.
    os.set_inheritable(REQUESTS, False)
    os.set_inheritable(RESULTS, False)
    import json

    settings = json.loads(_frame())
    sys.path[:] = settings["path"]
    while True:
        kind, content = _call(_frame(), settings["result"] == "json")
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        _answer(kind, content)


if __name__ == "__main__":
    main()
