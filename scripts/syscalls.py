"""Writes rust/core/src/seccomp/table.rs: the number of each system call on each architecture that a filter here can meet.

    python scripts/syscalls.py > rust/core/src/seccomp/table.rs

The facts are the kernel's own: `linux-raw-sys` (a dependency of the init) is bindgen's output of the installed kernel headers, one
directory an architecture, and `__NR_NAME` in it is the number. What the headers spell in another way stands in ALIASES. Names of other
architectures are kept without numbers, so that a profile which lists them is told from one with a mistake in it.
"""

import json
import re
import subprocess
from pathlib import Path

PACKAGE = "linux-raw-sys"
COLUMNS = ("x86_64", "x86", "x32", "aarch64", "arm")
NUMBER = re.compile(r"pub const __NR_([a-z_][a-z0-9_]*): u32 = (\d+);")
ARM_NUMBER = re.compile(r"pub const __ARM_NR_([a-z][a-z0-9_]*): u32 = (\d+);")
NOT_CALLS = {"syscalls", "arch_specific_syscall"}
ALIASES = {"sync_file_range2": ("arm", "arm_sync_file_range")}
"""Second names: asm/unistd.h of arm defines the first as the second."""
WIDTH = 140

HEAD = """\
//! Numbers of system calls by name; -1 where an architecture has none. Made by scripts/syscalls.py from {package} {version}: do not edit.

/// Name, and the numbers on x86_64, x86, x32, aarch64, arm; by name.
#[rustfmt::skip]
pub static SYSCALLS: [(&str, [i32; {columns}]); {count}] = ["""


def source() -> tuple[str, Path]:
    """Version and directory of the crate that this repository builds with."""
    root = Path(__file__).parents[1]
    line = ["cargo", "metadata", "--format-version", "1", "--locked", "--manifest-path", str(root / "Cargo.toml")]
    packages = json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)["packages"]
    found = next(package for package in packages if package["name"] == PACKAGE)
    return found["version"], Path(found["manifest_path"]).parent / "src"


def numbers(directory: Path) -> dict[str, int]:
    text = "".join(file.read_text() for file in sorted(directory.glob("*.rs")))
    found = NUMBER.findall(text) + ARM_NUMBER.findall(text)
    return {name: int(number) for name, number in found if name not in NOT_CALLS}


def main() -> None:
    version, directory = source()
    by_architecture = {path.name: numbers(path) for path in sorted(directory.iterdir()) if path.is_dir()}
    for name, (architecture, known_as) in ALIASES.items():
        by_architecture[architecture][name] = by_architecture[architecture][known_as]
    names = sorted({name for calls in by_architecture.values() for name in calls})
    print(HEAD.format(package=PACKAGE, version=version, columns=len(COLUMNS), count=len(names)))
    line = "   "
    for name in names:
        row = ", ".join(str(by_architecture[column].get(name, -1)) for column in COLUMNS)
        entry = f' ("{name}", [{row}]),'
        if len(line) + len(entry) > WIDTH:
            print(line)
            line = "   "
        line += entry
    print(line)
    print("];")


if __name__ == "__main__":
    main()
