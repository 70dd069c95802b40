"""What the virtual machine boots: Debian's cloud kernel and a first file system, made once below the cache directory.

Neighbours: `run` boots them; `guest/init` is the first program of that file system; `guest/session` the second, on the real root.
"""

from __future__ import annotations

import fcntl
import gzip
import lzma
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("PYRT_VM_CACHE", "/var/cache/pyrt-vm"))
GUEST = Path(__file__).resolve().parent / "guest"
VIRTIOFSD = Path("/usr/lib/qemu/virtiofsd")
# virtiofsd is in qemu-system-common, kmod makes modules.dep here and loads modules on demand in the guest.
PACKAGES = ("qemu-system-x86", "qemu-system-common", "busybox-static", "kmod", "xz-utils")
KERNEL_PACKAGE = "linux-image-cloud-amd64"
# As in scripts/setup.sh: another apt may be at work, and a mirror may be slow to answer.
PATIENT = ("-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=5", "-o", "Acquire::http::Timeout=60")
# Without these the guest cannot reach the host's files, and has no /dev/loop-control; everything else is loaded on demand from MODULES.
BOOT_MODULES = ("virtio_pci", "virtio_console", "virtio_rng", "virtiofs", "overlay", "loop")


class ImageError(Exception):
    """The image could not be made; the text says what failed."""


@dataclass(frozen=True)
class Image:
    """Files that QEMU needs, and the kernel's modules.

    kernel, initramfs: files. modules: a directory to be seen as /usr/lib/modules in the guest.
    """

    kernel: Path
    initramfs: Path
    modules: Path


@dataclass(frozen=True)
class Entry:
    """One file of a cpio archive: path without leading slash, st_mode, content (the target of a symbolic link)."""

    path: str
    mode: int
    content: bytes = b""


def cpio(entries: Iterable[Entry]) -> bytes:
    """An archive in the "newc" format (cpio(5), Linux Documentation/driver-api/early-userspace/buffer-format.rst)."""
    archive = bytearray()
    for inode, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], start=1):
        name = entry.path.encode() + b"\0"
        # inode, mode, uid, gid, nlink, mtime, size, device and rdev as major and minor, length of the name, checksum
        fields = (inode, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += bytes(-len(archive) % 4)
        archive += entry.content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def directory(path: str) -> Entry:
    return Entry(path, 0o040755)


def program(path: str, content: bytes) -> Entry:
    return Entry(path, 0o100755, content)


def ready(cache: Path = CACHE) -> Image:
    """The image, made at the first call (needs root and Debian's packages). Raises ImageError."""
    image = Image(cache / "vmlinuz", cache / "initramfs", cache / "modules")
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not shutil.which("qemu-system-x86_64") or not VIRTIOFSD.exists() or not shutil.which("modprobe"):
            install_packages()
        if not image.modules.exists():
            fetch_kernel(image)
        # Cheap, and so never older than this file and guest/.
        image.initramfs.write_bytes(cpio(first_file_system(image)))
    return image


def command(*arguments: str, cwd: Path | None = None) -> str:
    """Run a program of the host; its standard output. Raises ImageError with the end of what it said."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ImageError(f"{shlex.join(arguments)}: exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout


def install_packages() -> None:
    if os.geteuid() != 0:
        raise ImageError(f"install {' '.join(PACKAGES)}: this needs root, or install them yourself")
    command("apt-get", *PATIENT, "update", "-qq")
    command("apt-get", *PATIENT, "install", "-yqq", "--no-install-recommends", *PACKAGES)


def fetch_kernel(image: Image) -> None:
    """Download Debian's kernel, from backports where that can be had (cgroup features of 6.x), and unpack it."""
    with tempfile.TemporaryDirectory(dir=image.kernel.parent, prefix="work.") as name:
        work = Path(name)
        options = backports(work)
        if not options:
            command("apt-get", *PATIENT, "update", "-qq")
        depends = command("apt-cache", *options, "depends", KERNEL_PACKAGE).split()
        package = next((word for word in depends if word.startswith("linux-image-") and word != KERNEL_PACKAGE), None)
        if package is None:
            raise ImageError(f"apt-cache depends {KERNEL_PACKAGE}: names no kernel")
        # apt drops to its own user for downloads, who could not write here.
        command("apt-get", *PATIENT, *options, "-o", "APT::Sandbox::User=root", "download", package, cwd=work)
        command("dpkg-deb", "-x", str(next(work.glob("linux-image-*.deb"))), str(work / "kernel"))
        modules = next(path for path in (work / "kernel/usr/lib/modules", work / "kernel/lib/modules") if path.exists())
        release = next(modules.iterdir()).name
        # depmod and modprobe want lib/modules below their base directory.
        base = work / "base"
        (base / "lib").mkdir(parents=True)
        modules.rename(base / "lib/modules")
        command("depmod", "-b", str(base), release)
        next((work / "kernel/boot").glob("vmlinuz-*")).rename(image.kernel)
        (base / "lib/modules").rename(image.modules)


def backports(work: Path) -> tuple[str, ...]:
    """apt options that see only this release's backports; empty where they cannot be had."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    targets = command("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()
    mirror = next((target for target in targets if target.endswith("/debian/")), None)
    if mirror is None or "VERSION_CODENAME" not in release:
        return ()
    (work / "lists/partial").mkdir(parents=True)
    (work / "sources.list").write_text(f"deb {mirror} {release['VERSION_CODENAME']}-backports main\n")
    settings = (
        f"Dir::Etc::sourcelist={work}/sources.list",
        "Dir::Etc::sourceparts=-",
        f"Dir::State::lists={work}/lists",
        "Dir::Cache::pkgcache=",
        "Dir::Cache::srcpkgcache=",
    )
    options = tuple(word for setting in settings for word in ("-o", setting))
    try:
        command("apt-get", *PATIENT, *options, "update", "-qq")
        command("apt-cache", *options, "show", KERNEL_PACKAGE)
    except ImageError:
        return ()
    return options


def first_file_system(image: Image) -> Iterator[Entry]:
    for path in ("bin", "dev", "host", "layer", "modules", "new", "proc", "session", "sys", "write"):
        yield directory(path)
    yield program("bin/busybox", Path(shutil.which("busybox") or "/bin/busybox").read_bytes())
    yield program("init", (GUEST / "init").read_bytes())
    yield program("session/start", (GUEST / "session").read_bytes())
    yield Entry("modules/directory", 0o100644, f"{image.modules}\n".encode())
    order = []
    for module in boot_modules(image):
        order.append(module.name.split(".")[0])
        yield Entry(f"modules/{order[-1]}.ko", 0o100644, unpacked(module))
    yield Entry("modules/order", 0o100644, "\n".join(order).encode())


def boot_modules(image: Image) -> list[Path]:
    """Files of BOOT_MODULES and of what they need, in the order of loading; what is built into the kernel has none."""
    release = next(image.modules.iterdir()).name
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "lib").mkdir()
        (Path(name) / "lib/modules").symlink_to(image.modules)
        lines = command("modprobe", "-d", name, "-S", release, "--show-depends", "-a", *BOOT_MODULES).splitlines()
    paths = [line.split()[1] for line in lines if line.startswith("insmod ")]
    return [image.modules / path.split("/lib/modules/", 1)[1] for path in dict.fromkeys(paths)]


def unpacked(module: Path) -> bytes:
    match module.suffix:
        case ".xz":
            return lzma.decompress(module.read_bytes())
        case ".gz":
            return gzip.decompress(module.read_bytes())
        case ".ko":
            return module.read_bytes()
        case suffix:
            raise ImageError(f"read {module}: {suffix} is no compression that is known here")
