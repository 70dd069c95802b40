"""Makes docs/recordings/*.svg: what the command says to a person on a terminal. Run it as root, with the interpreter that has pyrt:

    .venv/bin/python scripts/recordings.py

The installed command runs under a pty in a mount namespace of its own, where /run and /srv are empty: its containers are the only
ones. rich, which pyrt needs anyway, draws what came out of the pty. tests/unit/test_recordings.py compares help.svg with the help of
today; the others have PIDs and times in them.
"""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

DIRECTORY = Path(__file__).resolve().parent.parent / "docs/recordings"
COLUMNS = 120
ROWS = 40
SECONDS = 120.0
"""After which a command counts as hanging."""
HOME = b"\x1b[H"
"""Where a screen is drawn anew."""
FRAMES = 4
"""Of a screen that is drawn anew: the last of them is recorded, then comes Ctrl-C."""
RECORDINGS = {
    "help": ["pyrt --help"],
    "check": ["pyrt check"],
    "list": ["pyrt list"],
    "ps": ["pyrt ps web"],
    "events": ["pyrt events --stats web"],
    "stats": ["pyrt stats"],
    "errors": ["pyrt start wbe", "pyrt kill web TREM", "pyrt resume web", "pyrt run ls /"],
}
BUSY = "while true; do i=0; while [ $i -lt 20000 ]; do i=$((i + 1)); done; sleep 0.1; done"
CONTAINERS = {
    "web": "httpd -f -p 8080 & sleep 100000 & wait",
    "worker": BUSY,
    "batch": "sleep 100000",
}
SESSION = "PYRT_RECORDINGS_SESSION"
# Without a font from elsewhere: a page of documentation asks nobody.
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect x="0" y="0" width="{terminal_width}" height="{terminal_height}" /></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix" xml:space="preserve">
{matrix}
</g>
</g>
</svg>
"""


def main() -> None:
    if SESSION not in os.environ:
        empty = 'mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /srv && exec "$@"'
        again = [sys.executable, __file__, *sys.argv[1:]]
        os.environ[SESSION] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", "sh", "-c", empty, "sh", *again])
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    DIRECTORY.mkdir(exist_ok=True)
    try:
        for name, program in CONTAINERS.items():
            start(name, program)
        subprocess.run(["pyrt", "pause", "batch"], check=True)
        for name, lines in RECORDINGS.items():
            (DIRECTORY / f"{name}.svg").write_text(drawn(name, [(line, said(line.split())) for line in lines]))
    finally:
        for name in CONTAINERS:
            subprocess.run(["pyrt", "delete", "--force", name], check=True)


def start(name: str, program: str) -> None:
    """A container of busybox alone, whose bundle is /srv/NAME."""
    bundle = Path("/srv", name)
    programs = bundle / "rootfs/bin"
    programs.mkdir(parents=True)
    busybox = shutil.copy("/bin/busybox", programs)
    for applet in subprocess.run([busybox, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if applet != "busybox":
            (programs / applet).symlink_to("busybox")
    subprocess.run(["pyrt", "spec", "--bundle", str(bundle)], check=True)
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["sh", "-c", program]
    config["process"]["terminal"] = False
    config["linux"].setdefault("resources", {}).update({"memory": {"limit": 256 << 20}, "pids": {"limit": 64}})
    (bundle / "config.json").write_text(json.dumps(config))
    command = ["pyrt", "run", "--detach", "--bundle", str(bundle), name]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def said(command: list[str]) -> str:
    """What a command says on a terminal; of a screen that is drawn anew, what was on it before Ctrl-C."""
    pid, master = pty.fork()
    if pid == 0:
        ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        os.execvpe(command[0], command, {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"})
    output = b""
    screen = None
    deadline = time.monotonic() + SECONDS
    while True:
        ready, _, _ = select.select([master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            os.kill(pid, signal.SIGKILL)
            raise TimeoutError(f"{' '.join(command)} said nothing more and did not end: {output!r}")
        try:
            output += os.read(master, 65536)
        except OSError:
            break  # EIO: it has ended, and so has everyone else who had the terminal
        frames = output.split(HOME)
        if screen is None and len(frames) > FRAMES:
            screen = frames[-2]
            os.write(master, b"\x03")
    os.close(master)
    os.waitpid(pid, 0)
    lines = (output if screen is None else screen).decode().split("\r\n")
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def drawn(name: str, sessions: list[tuple[str, str]]) -> str:
    """Lines that were typed and what came, as SVG."""
    console = Console(record=True, width=COLUMNS, file=open(os.devnull, "w"), force_terminal=True, color_system="truecolor")  # noqa: SIM115
    for line, output in sessions:
        console.print(Text.assemble(("$ ", "bold green"), (line, "bold")))
        for text in Text.from_ansi(output).split("\n", allow_blank=True):
            text.rstrip()
            # A terminal breaks a line at its edge, rich would between words.
            for part in text.divide(range(COLUMNS, len(text), COLUMNS)):
                console.print(part, no_wrap=True, overflow="ignore", crop=False)
    return console.export_svg(title="pyrt", theme=MONOKAI, code_format=SVG, unique_id=name)


if __name__ == "__main__":
    main()
