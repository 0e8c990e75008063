"""The container image, as `deploy/image/build` makes it: what is in it, and whether it runs where nothing is allowed."""

import json
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TAG = "localhost/usherd:under-test"
# Neither systemd nor a delegated cgroup is taken for granted, and no limit is raised that the machine forbids.
PODMAN = ["podman", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc"]
CONFINED = [
    "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--network=host", "--log-driver=k8s-file",
    "--ulimit=nofile=1024:1024", "--ulimit=nproc=1024:1024", "--no-healthcheck",
]


def podman(*arguments, check=True):
    return subprocess.run([*PODMAN, *arguments], check=check, capture_output=True, text=True, timeout=120)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(condition, within):
    """Asks until `condition` holds; a bound, not a duration."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def setUpModule():
    build = subprocess.run([ROOT / "deploy/image/build", "--tag", TAG], text=True, stdout=subprocess.PIPE)
    if build.returncode != 0 or build.stdout.strip() != TAG:
        raise AssertionError("deploy/image/build failed, see above")


class Contents(unittest.TestCase):
    def image(self):
        return json.loads(podman("image", "inspect", TAG).stdout)[0]

    def test_it_holds_the_binary_and_an_empty_data_directory_and_nothing_else(self):
        listing = subprocess.run(
            ["tar", "--list", "--verbose", "--numeric-owner", "--file", ROOT / "target/image/rootfs.tar"],
            check=True, capture_output=True, text=True).stdout.splitlines()
        self.assertEqual([(row.split()[0], row.split()[1], row.split()[-1]) for row in listing],
                         [("-r-xr-xr-x", "0/0", "usherd"), ("drwx------", "65532/65532", "data/")])

    def test_it_runs_as_nobody_special_and_asks_itself_how_it_is(self):
        image = self.image()
        self.assertEqual(image["Config"]["User"], "65532:65532")
        self.assertEqual(image["Config"]["Entrypoint"], ["/usherd"])
        self.assertEqual(list(image["Config"]["Volumes"]), ["/data"])
        self.assertEqual(image["Healthcheck"]["Test"], ["CMD", "/usherd", "healthcheck"])

    def test_its_environment_holds_no_secret(self):
        names = {pair.split("=")[0] for pair in self.image()["Config"]["Env"]}
        self.assertEqual(names, {"PATH", "USHERD_HTTP__LISTEN", "USHERD_STORE__PATH"})

    def test_the_same_binary_gives_the_same_layer(self):
        layers = self.image()["RootFS"]["Layers"]
        # Newer than what is in the image would be if times leaked into it.
        binary = next(ROOT.glob("target/*-linux-*/release/usherd"))
        again = f"{TAG}-again"
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "usherd"
            copy.write_bytes(binary.read_bytes())
            subprocess.run([ROOT / "deploy/image/build", "--tag", again, "--binary", copy], check=True,
                           capture_output=True)
        self.assertEqual(json.loads(podman("image", "inspect", again).stdout)[0]["RootFS"]["Layers"], layers)


class Running(unittest.TestCase):
    def test_it_says_its_version_without_any_privilege(self):
        self.assertRegex(podman("run", "--rm", *CONFINED, TAG, "--version").stdout, r"^usherd \d+\.\d+\.\d+\n$")

    def test_it_serves_becomes_healthy_and_stops_when_told(self):
        http, ops = free_port(), free_port()
        container = podman(
            "run", "--detach", *CONFINED, "--env", f"USHERD_HTTP__LISTEN=127.0.0.1:{http}",
            "--env", f"USHERD_OPS__LISTEN=127.0.0.1:{ops}", TAG).stdout.strip()
        self.addCleanup(podman, "rm", "--force", "--volumes", container, check=False)

        def healthy():
            return podman("exec", container, "/usherd", "healthcheck", check=False).returncode == 0

        self.assertTrue(eventually(healthy, within=20), podman("logs", container).stderr)
        with self.assertRaises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://127.0.0.1:{http}/scim/v2/Users", timeout=5)
        self.assertEqual(refused.exception.code, 401)
        podman("stop", "--time", "25", container)
        state = json.loads(podman("inspect", container).stdout)[0]["State"]
        self.assertEqual(state["ExitCode"], 0)


if __name__ == "__main__":
    unittest.main()
