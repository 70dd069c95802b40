"""pyrt: containers from Python, without a daemon.

`run` runs a command in a container as subprocess.run would; `Runtime` is what the command line is made of; `Namespaces`, `Cgroup`,
`Overlay`, `Spec` are its parts by themselves. Nothing is imported before it is asked for: each name below resolves on first use, and
the twin under TYPE_CHECKING tells type checkers the same.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt import aio as aio
    from pyrt._native import __version__ as __version__
    from pyrt._native import features as features
    from pyrt.capabilities import Capability as Capability
    from pyrt.causes import Cause as Cause
    from pyrt.cgroups import Cgroup as Cgroup
    from pyrt.completed import CompletedProcess as CompletedProcess
    from pyrt.container import Container as Container
    from pyrt.errors import AlreadyExists as AlreadyExists
    from pyrt.errors import ContainerFailed as ContainerFailed
    from pyrt.errors import ContainerTimeout as ContainerTimeout
    from pyrt.errors import Error as Error
    from pyrt.errors import ExecutableError as ExecutableError
    from pyrt.errors import ForbiddenExecutable as ForbiddenExecutable
    from pyrt.errors import HostError as HostError
    from pyrt.errors import InvalidState as InvalidState
    from pyrt.errors import MissingExecutable as MissingExecutable
    from pyrt.errors import NotFound as NotFound
    from pyrt.errors import PermissionDenied as PermissionDenied
    from pyrt.errors import RemoteError as RemoteError
    from pyrt.errors import SpecError as SpecError
    from pyrt.executor import ContainerExecutor as ContainerExecutor
    from pyrt.filesystem import Overlay as Overlay
    from pyrt.launch import kill_all as kill_all
    from pyrt.layer import Changes as Changes
    from pyrt.limits import Limits as Limits
    from pyrt.limits import Usage as Usage
    from pyrt.mounts import Mount as Mount
    from pyrt.namespaces import Namespace as Namespace
    from pyrt.namespaces import Namespaces as Namespaces
    from pyrt.pool import Pool as Pool
    from pyrt.popen import Popen as Popen
    from pyrt.process import run as run
    from pyrt.report import ExitReport as ExitReport
    from pyrt.rlimits import Rlimit as Rlimit
    from pyrt.runtime import Runtime as Runtime
    from pyrt.spec import Spec as Spec
    from pyrt.spec import default_spec as default_spec
    from pyrt.stdio import DEVNULL as DEVNULL
    from pyrt.stdio import PIPE as PIPE
    from pyrt.stdio import STDOUT as STDOUT
    from pyrt.system_calls import SystemCall as SystemCall
    from pyrt.view import HostView as HostView

_MODULES = {
    "_native": ("__version__", "features"),
    "capabilities": ("Capability",),
    "causes": ("Cause",),
    "cgroups": ("Cgroup",),
    "completed": ("CompletedProcess",),
    "container": ("Container",),
    "errors": (
        "AlreadyExists",
        "ContainerFailed",
        "ContainerTimeout",
        "Error",
        "ExecutableError",
        "ForbiddenExecutable",
        "HostError",
        "InvalidState",
        "MissingExecutable",
        "NotFound",
        "PermissionDenied",
        "RemoteError",
        "SpecError",
    ),
    "executor": ("ContainerExecutor",),
    "filesystem": ("Overlay",),
    "launch": ("kill_all",),
    "layer": ("Changes",),
    "limits": ("Limits", "Usage"),
    "mounts": ("Mount",),
    "namespaces": ("Namespace", "Namespaces"),
    "pool": ("Pool",),
    "popen": ("Popen",),
    "process": ("run",),
    "report": ("ExitReport",),
    "rlimits": ("Rlimit",),
    "runtime": ("Runtime",),
    "spec": ("Spec", "default_spec"),
    "stdio": ("DEVNULL", "PIPE", "STDOUT"),
    "system_calls": ("SystemCall",),
    "view": ("HostView",),
}
_SUBMODULES = ("aio",)
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "run",
    "Popen",
    "Pool",
    "ContainerExecutor",
    "aio",
    "kill_all",
    "CompletedProcess",
    "Changes",
    "Cause",
    "SystemCall",
    "ExitReport",
    "Usage",
    "PIPE",
    "STDOUT",
    "DEVNULL",
    "HostView",
    "Runtime",
    "Container",
    "Spec",
    "default_spec",
    "features",
    "Namespaces",
    "Namespace",
    "Cgroup",
    "Limits",
    "Overlay",
    "Mount",
    "Capability",
    "Rlimit",
    "Error",
    "NotFound",
    "AlreadyExists",
    "InvalidState",
    "SpecError",
    "HostError",
    "PermissionDenied",
    "ExecutableError",
    "MissingExecutable",
    "ForbiddenExecutable",
    "ContainerTimeout",
    "ContainerFailed",
    "RemoteError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        # The import itself sets the name here.
        return getattr(__import__(f"pyrt.{name}"), name)
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'pyrt' has no attribute {name!r}")
    # The plain import statement's machinery: importlib would be one more module.
    value: object = getattr(__import__(f"pyrt.{module}", fromlist=(name,)), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
