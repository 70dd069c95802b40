"""`cpu_time=`, `max_output=` and `max_output_action=` as the Bounds of an exchange. Imported only where one of them is said.

Neighbours: exchange.py keeps to them; launch.py and aio.py look at what the cgroup has counted.
"""

import math
import os

from pyrt.exchange import Bounds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pyrt.options import ContainerOptions

_ACTIONS = ("truncate", "kill")


def output_bounds(base: Bounds, options: "Any") -> Bounds:
    """The same, but for what max_output= and max_output_action= of one call say."""
    said: Any = {name: options[name] for name in ("max_output", "max_output_action") if name in options}
    own = bounds({"process": {}}, said)
    return Bounds(cpu_time=base.cpu_time, processors=base.processors, max_output=own.max_output, kill_on_output=own.kill_on_output)


def bounds(config: "dict[str, Any]", options: "ContainerOptions") -> Bounds:
    """What the options ask for. With cpu_time, config gets an RLIMIT_CPU too, unless it has one.

    That is the kernel's, holds for each process by itself, and ends a command that nobody looks after (setrlimit(2)).
    Raises TypeError and ValueError, naming the option.
    """
    cpu_time, max_output = options.get("cpu_time"), options.get("max_output")
    action = options.get("max_output_action")
    if action is not None and action not in _ACTIONS:
        raise ValueError(f"max_output_action is {action!r}, neither 'truncate' nor 'kill'")
    if action is not None and max_output is None:
        raise ValueError("max_output_action says what happens after max_output: it needs max_output= too")
    if max_output is not None:
        from pyrt.limits import size_bytes

        try:
            max_output = size_bytes(max_output)
        except (TypeError, ValueError) as error:
            raise type(error)(f"max_output: {error}") from None
    processors: float = len(os.sched_getaffinity(0))
    if cpu_time is not None:
        if isinstance(cpu_time, bool) or not isinstance(cpu_time, (int, float)):
            raise TypeError(f"cpu_time is {type(cpu_time).__name__}, not a number of seconds")
        if not 0 < cpu_time < math.inf:
            raise ValueError(f"cpu_time {cpu_time} is not a number of seconds above 0")
        processors = min(processors, options.get("cpus") or processors)
        process = config["process"]
        rlimits = process.get("rlimits") or []
        if not any(entry.get("type") == "RLIMIT_CPU" for entry in rlimits):
            seconds = math.ceil(cpu_time) + 1
            process["rlimits"] = [*rlimits, {"type": "RLIMIT_CPU", "soft": seconds, "hard": seconds}]
    return Bounds(cpu_time=cpu_time, processors=processors, max_output=max_output, kill_on_output=action == "kill")
