"""`pyrt check`: what this host can do, for a person, in a table; where it cannot, why, and what to do."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pyrt import _native
from pyrt.defaults import NAMESPACES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pyrt.cli.line import Line
    from pyrt.cli.main import Globals

__all__ = ["check"]

# Of what `host_facts` tries, what every default container takes; the rest is only missing where it is asked for.
NEEDED = frozenset({"kernel", "overlay", *(f"{kind} namespace" for kind in NAMESPACES)})


def check(line: "Line", settings: "Globals") -> int:
    """0 where containers can run, 1 where something that every container needs is missing."""
    facts = _native.host_facts()
    console = Console()
    console.print(Text(f"pyrt {_native.__version__} on Linux {facts['kernel']}, runtime-spec {_native.OCI_VERSION}"))
    table = Table("", "what", "how it is here", "what to do")
    missing = False
    for fact in facts["checks"]:
        missing = missing or (fact["name"] in NEEDED and not fact["ok"])
        mark = Text("yes", style="green") if fact["ok"] else Text("no", style="red")
        table.add_row(mark, Text(fact["name"]), Text(fact["detail"] or ""), Text("" if fact["ok"] else fact["hint"] or ""))
    console.print(table)
    console.print(Text("containers cannot run here" if missing else "containers can run here"))
    return 1 if missing else 0
