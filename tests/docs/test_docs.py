"""Claims of the documents that a machine can check."""

import json
import re
import subprocess
import tomllib
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^(```|~~~).*?^\1", re.MULTILINE | re.DOTALL)


def pages():
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()
    return [ROOT / name for name in tracked if (ROOT / name).exists()]


def anchors(page):
    """The fragments that a rendered page offers, by the rule that code hosts share."""
    headings = re.findall(r"^#{1,6}\s+(.+?)\s*$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


class Links(unittest.TestCase):
    def test_every_relative_link_leads_to_a_file_and_a_heading(self):
        broken = []
        for page in pages():
            for target in LINK.findall(FENCE.sub("", page.read_text())):
                if re.match(r"[a-z][a-z0-9+.-]*:", target):
                    continue
                path, _, fragment = target.partition("#")
                file = (page.parent / path).resolve() if path else page
                if not file.exists() or (fragment and file.suffix == ".md" and fragment not in anchors(file)):
                    broken.append(f"{page.relative_to(ROOT)}: {target}")
        self.assertEqual(broken, [])

    def test_the_index_names_every_page_of_docs(self):
        index = (ROOT / "docs/README.md").read_text()
        missing = [page.name for page in pages()
                   if page.parent == ROOT / "docs" and page.name != "README.md" and f"]({page.name})" not in index]
        self.assertEqual(missing, [])


class Dependencies(unittest.TestCase):
    """docs/DEPENDENCIES.md gives one sentence for each dependency, and for nothing else."""

    def setUp(self):
        page = (ROOT / "docs/DEPENDENCIES.md").read_text()
        rows = re.findall(r"^\| ([\w.@/-]+) \| (.+) \|$", page, re.MULTILINE)
        self.reasons = {name: reason for name, reason in rows if name not in ("crate", "package")}

    def used(self):
        manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
        names = set()
        for section in ("dependencies", "dev-dependencies", "build-dependencies"):
            names |= set(manifest.get(section, {}))
        for line in (ROOT / "tests/requirements.txt").read_text().splitlines():
            if line and not line.startswith("#"):
                names.add(line.split("==")[0].split("[")[0].strip())
        package = ROOT / "tests/package.json"
        if package.exists():
            described = json.loads(package.read_text())
            names |= set(described.get("dependencies", {})) | set(described.get("devDependencies", {}))
        return names

    def test_each_has_a_reason_and_each_reason_a_dependency(self):
        self.assertEqual(sorted(self.reasons), sorted(self.used()))

    def test_a_reason_is_one_sentence(self):
        for name, reason in self.reasons.items():
            with self.subTest(name):
                self.assertRegex(reason, r"^[^.].*[^.]\.$")
                self.assertNotRegex(reason, r"\. [A-Z]")

    def test_everything_from_pypi_is_pinned(self):
        for name in ("requirements.txt", "constraints.txt"):
            for line in (ROOT / "tests" / name).read_text().splitlines():
                if line and not line.startswith("#"):
                    self.assertRegex(line, r"^[\w.-]+(\[[\w,-]+\])?==[\w.]+( *#.*)?$", name)


class Policy(unittest.TestCase):
    """The parts of deny.toml that need neither cargo-deny nor a network."""

    @classmethod
    def setUpClass(cls):
        cls.rules = tomllib.loads((ROOT / "deny.toml").read_text())
        metadata = subprocess.run(
            ["cargo", "metadata", "--format-version=1", "--locked"], cwd=ROOT, check=True, capture_output=True).stdout
        cls.packages = json.loads(metadata)["packages"]

    def allowed(self, expression):
        """Whether an SPDX expression leaves a choice of licences that are all on the list; AND binds tighter."""
        tokens = re.findall(r"[()]|[^\s()]+", expression.replace("/", " OR "))

        def any_of():
            result = all_of()
            while tokens[:1] == ["OR"]:
                tokens.pop(0)
                result = all_of() or result
            return result

        def all_of():
            result = one()
            while tokens[:1] == ["AND"]:
                tokens.pop(0)
                result = one() and result
            return result

        def one():
            if tokens[0] == "(":
                tokens.pop(0)
                result = any_of()
                tokens.pop(0)
                return result
            name = tokens.pop(0)
            if tokens[:1] == ["WITH"]:
                name += f" {tokens.pop(0)} {tokens.pop(0)}"
            return name in self.rules["licenses"]["allow"]

        return any_of()

    def test_a_licence_expression_is_read_as_spdx_means_it(self):
        self.assertTrue(self.allowed("MIT/Apache-2.0"))
        self.assertTrue(self.allowed("GPL-3.0-only OR MIT"))
        self.assertTrue(self.allowed("Apache-2.0 WITH LLVM-exception OR MIT"))
        self.assertTrue(self.allowed("ISC AND (GPL-3.0-only OR ISC)"))
        self.assertFalse(self.allowed("ISC AND GPL-3.0-only"))
        self.assertFalse(self.allowed("(MIT OR ISC) AND GPL-3.0-only AND MIT"))

    def test_every_package_has_an_allowed_licence(self):
        refused = [(p["name"], p["license"]) for p in self.packages if not self.allowed(p["license"] or "none")]
        self.assertEqual(refused, [])

    def test_nothing_banned_is_in_the_tree(self):
        banned = {rule["crate"] for rule in self.rules["bans"]["deny"]}
        self.assertEqual(sorted(banned & {p["name"] for p in self.packages}), [])

    def test_everything_comes_from_the_registry_or_from_here(self):
        sources = {p["source"] for p in self.packages if p["name"] != "usherd"}
        self.assertEqual(len(sources), 1, sources)


class Changelog(unittest.TestCase):
    def test_it_has_a_section_for_what_is_coming_or_for_this_version(self):
        version = tomllib.loads((ROOT / "Cargo.toml").read_text())["package"]["version"]
        sections = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
        self.assertIn(sections[0], ("Unreleased", version))


class License(unittest.TestCase):
    def test_the_licence_file_is_what_the_manifest_names(self):
        manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
        self.assertEqual(manifest["package"]["license"], "Apache-2.0")
        text = (ROOT / "LICENSE").read_text()
        self.assertIn("Version 2.0, January 2004", text)
        self.assertIn("END OF TERMS AND CONDITIONS", text)


if __name__ == "__main__":
    unittest.main()
