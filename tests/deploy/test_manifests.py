"""What the rendered manifests promise. `deploy/kubernetes/validate` renders them and says where in MANIFESTS."""

import base64
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
import tomllib
import unittest
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
# What remains of the grace period behind lead and drain: ending jobs, flushing, exiting.
MARGIN_SECONDS = 15


def rendered(name):
    folder = os.environ.get("MANIFESTS")
    if folder is None:
        raise AssertionError("run deploy/kubernetes/validate, which renders the manifests first")
    return [document for document in yaml.safe_load_all((Path(folder) / f"{name}.yaml").read_text()) if document]


def seconds(span):
    return int(re.fullmatch(r"(\d+)s", span).group(1))


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.objects = rendered("example")

    def of_kind(self, kind):
        return [o for o in self.objects if o["kind"] == kind]

    def the(self, kind, name):
        # Generated names end in a hash.
        found = [o for o in self.of_kind(kind) if re.fullmatch(re.escape(name) + r"(-[a-z0-9]{10})?", o["metadata"]["name"])]
        self.assertEqual(len(found), 1, f"{kind} {name}")
        return found[0]

    def pods(self):
        workloads = self.of_kind("Deployment") + self.of_kind("StatefulSet")
        self.assertEqual(len(workloads), 2)
        return [(o["metadata"]["name"], o["spec"]["template"]) for o in workloads]

    def daemon(self):
        return self.the("Deployment", "usherd")["spec"]["template"]["spec"]

    def environment(self):
        container = self.daemon()["containers"][0]
        return self.the("ConfigMap", "usherd-environment")["data"] | {e["name"]: e["value"] for e in container["env"]}


class Draining(Manifests):
    def test_the_grace_period_is_lead_and_drain_and_margin(self):
        environment = self.environment()
        lead = seconds(environment["USHERD_HTTP__DRAIN_LEAD"])
        drain = seconds(environment["USHERD_HTTP__DRAIN_DEADLINE"])
        self.assertEqual(lead, 10)
        self.assertEqual(self.daemon()["terminationGracePeriodSeconds"], lead + drain + MARGIN_SECONDS)

    def test_no_hook_spends_the_grace_period(self):
        self.assertNotIn("lifecycle", self.daemon()["containers"][0])

    def test_a_rollout_never_has_fewer_replicas(self):
        spec = self.the("Deployment", "usherd")["spec"]
        self.assertGreaterEqual(spec["replicas"], 2)
        self.assertEqual(spec["strategy"]["rollingUpdate"], {"maxUnavailable": 0, "maxSurge": 1})
        self.assertGreaterEqual(spec["minReadySeconds"], 5)

    def test_an_eviction_takes_one_replica_and_a_broken_one_at_any_time(self):
        budget = self.the("PodDisruptionBudget", "usherd")["spec"]
        self.assertEqual(budget["maxUnavailable"], 1)
        self.assertEqual(budget["unhealthyPodEvictionPolicy"], "AlwaysAllow")
        labels = self.the("Deployment", "usherd")["spec"]["template"]["metadata"]["labels"]
        self.assertLessEqual(budget["selector"]["matchLabels"].items(), labels.items())


class Probes(Manifests):
    def test_each_probe_asks_its_own_question_on_the_ops_port(self):
        container = self.daemon()["containers"][0]
        paths = {"startupProbe": "/startupz", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
        for probe, path in paths.items():
            self.assertEqual(container[probe]["httpGet"], {"path": path, "port": "ops"})
        ports = {port["name"]: port["containerPort"] for port in container["ports"]}
        environment = self.environment()
        self.assertEqual(environment["USHERD_OPS__LISTEN"], f"0.0.0.0:{ports['ops']}")
        self.assertEqual(environment["USHERD_HTTP__LISTEN"], f"0.0.0.0:{ports['http']}")

    def test_waiting_for_redis_at_the_start_is_no_crash_loop(self):
        probe = self.daemon()["containers"][0]["startupProbe"]
        self.assertGreaterEqual(probe["periodSeconds"] * probe["failureThreshold"], 1800)

    def test_a_blip_of_the_store_does_not_empty_the_endpoints(self):
        self.assertGreaterEqual(self.daemon()["containers"][0]["readinessProbe"]["failureThreshold"], 3)

    def test_the_service_leads_to_the_public_listener_only(self):
        self.assertEqual([port["targetPort"] for port in self.the("Service", "usherd")["spec"]["ports"]], ["http"])


class Restricted(Manifests):
    """The restricted profile of the Pod Security Standards, and a little more."""

    def test_no_pod_gets_what_it_does_not_need(self):
        for name, template in self.pods():
            with self.subTest(name):
                pod = template["spec"]
                self.assertIs(pod["automountServiceAccountToken"], False)
                self.assertIs(pod["enableServiceLinks"], False)
                self.assertIs(pod["securityContext"]["runAsNonRoot"], True)
                self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
                for key in ("hostNetwork", "hostPID", "hostIPC"):
                    self.assertNotIn(key, pod)
                for container in pod["containers"] + pod.get("initContainers", []):
                    context = container["securityContext"]
                    self.assertIs(context["allowPrivilegeEscalation"], False)
                    self.assertIs(context["privileged"], False)
                    self.assertIs(context["readOnlyRootFilesystem"], True)
                    self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                    self.assertIn("memory", container["resources"]["limits"])

    def test_the_daemon_has_the_user_of_its_image(self):
        user = re.search(r"^USER (\d+):(\d+)$", (ROOT / "deploy/image/Containerfile").read_text(), re.MULTILINE)
        context = self.daemon()["securityContext"]
        self.assertEqual((context["runAsUser"], context["runAsGroup"]), (int(user[1]), int(user[2])))
        self.assertEqual(context["fsGroup"], int(user[2]))

    def test_the_namespace_enforces_the_profile(self):
        labels = self.the("Namespace", "usherd")["metadata"]["labels"]
        self.assertEqual(labels["pod-security.kubernetes.io/enforce"], "restricted")

    def test_everything_lives_in_the_namespace(self):
        for o in self.objects:
            if o["kind"] != "Namespace":
                self.assertEqual(o["metadata"]["namespace"], "usherd", o["metadata"]["name"])

    def test_the_service_accounts_mount_no_token(self):
        for account in self.of_kind("ServiceAccount"):
            self.assertIs(account["automountServiceAccountToken"], False)


class Secrets(Manifests):
    def test_no_secret_reaches_an_environment_or_an_argument(self):
        for name, template in self.pods():
            for container in template["spec"]["containers"]:
                for variable in container.get("env", []):
                    self.assertNotIn("valueFrom", variable, name)
                for source in container.get("envFrom", []):
                    self.assertNotIn("secretRef", source, name)
        secret = re.compile(r"(__URL|TOKEN|PASSWORD|SECRET|KEY)$")
        self.assertEqual([key for key in self.environment() if secret.search(key)], [])

    def test_secrets_are_mounted_as_directories_so_that_a_rotation_arrives(self):
        for name, template in self.pods():
            pod = template["spec"]
            volumes = {v["name"]: v["secret"] for v in pod["volumes"] if "secret" in v}
            self.assertEqual(len(volumes), 1, name)
            for mount in pod["containers"][0]["volumeMounts"]:
                self.assertNotIn("subPath", mount)
                if mount["name"] in volumes:
                    self.assertIs(mount["readOnly"], True)
                    self.assertEqual(volumes[mount["name"]]["defaultMode"], 0o440)

    def test_every_file_that_the_configuration_names_is_in_the_secret(self):
        settings = tomllib.loads(self.the("ConfigMap", "usherd-config")["data"]["usherd.toml"])
        files = {value for section in settings.values() for key, value in section.items() if key.endswith("_file")}
        folder = "/etc/usherd/secrets"
        mounts = {m["name"]: m["mountPath"] for m in self.daemon()["containers"][0]["volumeMounts"]}
        self.assertEqual(mounts["secrets"], folder)
        keys = self.the("Secret", "usherd-secrets")["data"]
        self.assertEqual(files, {f"{folder}/{key}" for key in keys})

    def test_the_example_holds_placeholders_and_no_secret(self):
        for secret in self.of_kind("Secret"):
            for key, value in secret["data"].items():
                self.assertIn(b"replace-me", base64.b64decode(value), key)

    def test_every_reference_leads_to_an_object(self):
        names = {(o["kind"], o["metadata"]["name"]) for o in self.objects}
        for _, template in self.pods():
            for volume in template["spec"]["volumes"]:
                if "configMap" in volume:
                    self.assertIn(("ConfigMap", volume["configMap"]["name"]), names)
                if "secret" in volume:
                    self.assertIn(("Secret", volume["secret"]["secretName"]), names)
            for container in template["spec"]["containers"]:
                for source in container.get("envFrom", []):
                    self.assertIn(("ConfigMap", source["configMapRef"]["name"]), names)

    def test_new_secrets_fit_together_and_are_drawn_once(self):
        with tempfile.TemporaryDirectory() as folder:
            def draw():
                subprocess.run([ROOT / "deploy/kubernetes/make-secrets", folder, "smtp://relay:25"], check=True)
                return {file.name: file.read_text() for file in Path(folder).iterdir()}

            drawn = draw()
            self.assertEqual(draw(), drawn)
            example = self.the("Secret", "usherd-secrets")["data"] | self.the("Secret", "usherd-redis-secrets")["data"]
            self.assertEqual(set(drawn), set(example))
            password = re.fullmatch(r"redis://:([0-9a-f]{64})@usherd-redis:6379\n", drawn["store-url"])[1]
            self.assertEqual(drawn["redis-auth.conf"], f"requirepass {password}\n")
            (key,) = tomllib.loads(drawn["keys.toml"])["key"]
            self.assertRegex(key["id"], r"^[a-z0-9]{1,16}$")
            self.assertEqual(len(base64.b64decode(key["secret"], validate=True)), 32)
            self.assertRegex(drawn["scim-token"], r"^[0-9a-f]{64}\n$")


class Installation(Manifests):
    def test_an_overlay_says_which_installation_it_is(self):
        self.assertEqual(self.environment()["USHERD_STORE__INSTALLATION"], "example")

    def test_the_public_address_is_https(self):
        self.assertRegex(self.environment()["USHERD_HTTP__PUBLIC_URL"], r"^https://[^/]+$")

    def test_the_image_is_this_version(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        for name in ("base", "example"):
            images = [o["spec"]["template"]["spec"]["containers"][0]["image"]
                      for o in rendered(name) if o["kind"] == "Deployment"]
            self.assertEqual([image.rsplit(":", 1)[1] for image in images], [version], name)

    def test_replicas_are_spread_over_zones_and_nodes(self):
        spread = self.daemon()["topologySpreadConstraints"]
        self.assertEqual([(s["topologyKey"], s["whenUnsatisfiable"]) for s in spread],
                         [("topology.kubernetes.io/zone", "ScheduleAnyway"), ("kubernetes.io/hostname", "ScheduleAnyway")])
        for constraint in spread:
            self.assertEqual(constraint["matchLabelKeys"], ["pod-template-hash"])


class Network(Manifests):
    def rules(self, name, direction):
        return self.the("NetworkPolicy", name)["spec"].get(direction, [])

    def test_every_pod_is_denied_everything_first(self):
        deny = self.the("NetworkPolicy", "usherd-default-deny")["spec"]
        self.assertEqual(deny["policyTypes"], ["Ingress", "Egress"])
        self.assertNotIn("ingress", deny)
        self.assertNotIn("egress", deny)
        for name, template in self.pods():
            self.assertLessEqual(deny["podSelector"]["matchLabels"].items(), template["metadata"]["labels"].items(), name)

    def test_only_the_daemon_reaches_redis_and_redis_reaches_nobody(self):
        (rule,) = self.rules("usherd-redis", "ingress")
        self.assertEqual(rule["from"], [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "usherd"}}}])
        self.assertEqual(rule["ports"], [{"protocol": "TCP", "port": 6379}])
        self.assertEqual(self.rules("usherd-redis", "egress"), [])

    def test_the_ops_port_is_open_to_monitoring_only(self):
        public, ops = self.rules("usherd", "ingress")
        self.assertEqual([port["port"] for port in public["ports"]], ["http"])
        self.assertEqual([port["port"] for port in ops["ports"]], ["ops"])
        (peer,) = ops["from"]
        self.assertEqual(peer["namespaceSelector"]["matchLabels"], {"kubernetes.io/metadata.name": "monitoring"})

    def test_the_daemon_reaches_redis_names_and_mail_and_nothing_else(self):
        ports = [sorted({port["port"] for port in rule["ports"]}) for rule in self.rules("usherd", "egress")]
        self.assertEqual(ports, [[6379], [53], [25, 465, 587]])


class Redis(Manifests):
    """The base's Redis keeps what it acknowledged. A real redis-server reads the very configuration."""

    def test_a_real_server_takes_the_configuration_and_is_durable(self):
        server = shutil.which("redis-server")
        self.assertIsNotNone(server, "redis-server is missing (Debian: apt-get install redis-server)")
        text = self.the("ConfigMap", "usherd-redis-config")["data"]["redis.conf"]
        auth = base64.b64decode(self.the("Secret", "usherd-redis-secrets")["data"]["redis-auth.conf"]).decode()
        with tempfile.TemporaryDirectory() as folder, socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
            probe.close()
            (Path(folder) / "redis-auth.conf").write_text(auth)
            text = text.replace("/etc/redis/secrets", folder).replace("dir /data", f"dir {folder}")
            (Path(folder) / "redis.conf").write_text(text)
            process = subprocess.Popen(
                [server, f"{folder}/redis.conf", "--port", str(port), "--bind", "127.0.0.1"],
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            try:
                wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
                for key, value in wanted.items():
                    self.assertEqual(self.ask(port, "replace-me", "CONFIG", "GET", key)[-1], value)
                memory = int(self.ask(port, "replace-me", "CONFIG", "GET", "maxmemory")[-1])
                # A rewrite of the log may copy every page once.
                self.assertLessEqual(2 * memory, self.memory_limit())
                self.assertIn("NOAUTH", self.ask(port, None, "PING")[-1])
            finally:
                process.terminate()
                process.communicate(timeout=10)

    def test_its_data_is_on_a_volume_claim(self):
        spec = self.the("StatefulSet", "usherd-redis")["spec"]
        (claim,) = spec["volumeClaimTemplates"]
        mounts = {m["name"]: m["mountPath"] for m in spec["template"]["spec"]["containers"][0]["volumeMounts"]}
        self.assertEqual(mounts[claim["metadata"]["name"]], "/data")

    def memory_limit(self):
        container = self.the("StatefulSet", "usherd-redis")["spec"]["template"]["spec"]["containers"][0]
        return int(re.fullmatch(r"(\d+)Gi", container["resources"]["limits"]["memory"])[1]) * 2**30

    def ask(self, port, password, *command):
        """The lines of redis-cli's answer, once the server answers at all."""
        secret = ["-a", password, "--no-auth-warning"] if password else []
        deadline = time.monotonic() + 10
        while True:
            answer = subprocess.run(["redis-cli", "-p", str(port), *secret, *command], capture_output=True, text=True)
            if answer.stdout.strip() and "LOADING" not in answer.stdout:
                return answer.stdout.rstrip("\n").split("\n")
            self.assertLess(time.monotonic(), deadline, f"no answer from redis-server: {answer.stderr}")
            time.sleep(0.02)


if __name__ == "__main__":
    unittest.main()
