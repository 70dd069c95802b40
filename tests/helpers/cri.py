"""containerd's CRI plugin as the kubelet drives it, by `crictl`: a containerd of the tests' own with share/pyrt's config.toml.

Images are made here, out of one root file system: no registry is asked. Pods get an address by the CNI plugins `ptp` and `host-local`, in
a network namespace that stands for the host. Neighbours: `engines`, whose Daemon this is, and `confined`; tests/engines/test_cri.py.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from helpers.confined import Confined
from helpers.engines import DAEMON_SECONDS, SHARE, Daemon, Engine, archive

PAUSE = "localhost/pause:1"
BUSYBOX = "localhost/busybox:1"
COMMANDS = {PAUSE: ["/bin/sleep", "2147483647"], BUSYBOX: ["/bin/sh"]}
PLUGINS = Path("/usr/lib/cni")
# What share/pyrt's file leaves to the host: appended to it, as a person merges it.
CONFIGURATION = f"""
[ttrpc]
address = "{{path}}/ttrpc"

[plugins."io.containerd.internal.v1.opt"]
path = "{{path}}/opt"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
netns_mounts_under_state_dir = true
# This host's root may lack CAP_SYS_RESOURCE, without which no score can be lowered.
restrict_oom_score_adj = true

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{PLUGINS}"
conf_dir = "{{path}}/cni"
"""


def image(rootfs: Path, path: Path) -> Path:
    """An OCI image archive with the images PAUSE and BUSYBOX, both of this root file system. Returns path."""
    layer = archive(rootfs, path.with_suffix(".layer")).read_bytes()
    with tarfile.open(path, "w") as made:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))

        def blob(kind: str, content: bytes) -> dict[str, Any]:
            digest = hashlib.sha256(content).hexdigest()
            if f"blobs/sha256/{digest}" not in made.getnames():
                add(f"blobs/sha256/{digest}", content)
            return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": f"sha256:{digest}", "size": len(content)}

        manifests = []
        for name, command in COMMANDS.items():
            tar = blob("layer.v1.tar", layer)
            config = {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": command, "Env": ["PATH=/bin"]},
                "rootfs": {"type": "layers", "diff_ids": [tar["digest"]]},
            }
            content = {"schemaVersion": 2, "config": blob("config.v1+json", json.dumps(config).encode()), "layers": [tar]}
            manifest = blob("manifest.v1+json", json.dumps(content).encode())
            manifests.append({**manifest, "annotations": {"io.containerd.image.name": name}})
        add("oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        add("index.json", json.dumps({"schemaVersion": 2, "manifests": manifests}).encode())
    return path


@dataclass(frozen=True)
class Pod:
    """id: what crictl calls it. file: its PodSandboxConfig."""

    id: str
    file: Path


class Cri(Daemon):
    """`cri("pods")` is a line of crictl. Pods get the handler `pyrt` of a RuntimeClass."""

    def __init__(self, path: Path, rootfs: Path) -> None:
        self.confined = Confined()
        (path / "cni").mkdir()
        ipam = {"type": "host-local", "ranges": [[{"subnet": "192.0.2.0/24"}]], "dataDir": f"{path}/addresses"}
        network = {"cniVersion": "0.4.0", "name": "pyrt", "plugins": [{"type": "ptp", "ipam": ipam}]}
        (path / "cni/10-pyrt.conflist").write_text(json.dumps(network))
        shipped = (SHARE / "containerd/config.toml").read_text()
        (path / "config.toml").write_text(shipped + CONFIGURATION.format(path=path))
        directories = ["--root", f"{path}/root", "--state", f"{path}/state", "--address", f"{path}/socket"]
        containerd = [*self.confined.enter, "containerd", "--config", f"{path}/config.toml", *directories]
        client = {f"{kind}-endpoint": f"unix://{path}/socket" for kind in ("runtime", "image")}
        (path / "crictl.yaml").write_text(json.dumps({**client, "timeout": round(DAEMON_SECONDS)}))
        try:
            super().__init__(containerd, path, *self.confined.enter, "crictl", f"--config={path}/crictl.yaml")
            ctr = Engine(path, "ctr", "--address", f"{path}/socket", "--namespace", "k8s.io")
            ctr("images", "import", str(image(rootfs, path / "images.tar"))).ok()
            self.until("busybox", "images")
        except BaseException:
            self.confined.end()
            raise

    def pod(self, name: str, **more: Any) -> Pod:
        """Run a pod. more: of its PodSandboxConfig."""
        file = self.path / f"pod-{name}.json"
        made = {"metadata": {"name": name, "namespace": "tests", "uid": name}, "log_directory": f"{self.path}/{name}", "linux": {}, **more}
        file.write_text(json.dumps(made))
        return Pod(self("runp", "--runtime=pyrt", str(file)).ok().stdout.strip(), file)

    def container(self, pod: Pod, name: str, *command: str, **more: Any) -> str:
        """Create a container in the pod and start it. more: of its ContainerConfig. Returns its id."""
        file = self.path / f"container-{name}.json"
        made = {"metadata": {"name": name}, "image": {"image": BUSYBOX}, "command": command, "log_path": f"{name}.log", "linux": {}, **more}
        file.write_text(json.dumps(made))
        created = self("create", pod.id, str(file), str(pod.file)).ok().stdout.strip()
        self("start", created).ok()
        return created

    def end(self) -> None:
        """Remove what pods are left, then end containerd and whatever else is in its network namespace."""
        self("rmp", "--all", "--force")
        super().end()
        self.confined.end()
