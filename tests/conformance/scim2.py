"""Checks a running usherd with scim2-tester, a client that usherd did not write.

Arguments: the SCIM base URL and a token. Writes one JSON object per result.
"""

import json
import sys
from datetime import datetime, timezone

import scim2_tester.filling as filling
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server


def made(http, endpoint, name):
    """The id of a resource that users can be assigned to."""
    reply = http.post(endpoint, json={"displayName": name})
    reply.raise_for_status()
    return reply.json()["id"]


def acceptable(http):
    """What the attributes take that name something that exists, follow a rule, or are a dateTime: the tester would fill
    in random text. The names of what is assigned are read-only, but the tester wants back what it sends."""
    named = {name: made(http, endpoint, name) for endpoint, name in
             [("/Organizations", "Engines"), ("/Licenses", "Analyser"), ("/Projects", "Difference")]}

    def assigned(name, **more):
        return {"value": named[name], "display": name, **more}

    return {
        ("UsherdUser", "account_role"): "User",
        ("UsherdUser", "employment_start_date"): datetime(2026, 12, 1, tzinfo=timezone.utc),
        ("UsherdUser", "organization"): assigned("Engines"),
        ("UsherdUser", "licenses"): assigned("Analyser"),
        ("UsherdUser", "projects"): assigned("Difference", role="Viewer", type="direct"),
        ("UsherdGroup", "projects"): assigned("Difference", role="Viewer"),
        ("Organization", "value"): named["Engines"],
        ("Licenses", "value"): named["Analyser"],
        ("Projects", "value"): named["Difference"],
        ("Projects", "role"): "Viewer",
        ("Projects", "type"): "direct",
        ("License", "kind"): "per-user",
        ("Device", "bought_on"): datetime(2026, 12, 1, tzinfo=timezone.utc),
    }


def fill_with(known):
    """Lets the tester take these before it makes something up."""
    example = filling.get_random_example_value

    def known_or_example(path):
        binding = path.resolve()
        if binding is None or binding.target_model is None:
            return example(path)
        value = known.get((binding.target_model.__name__, binding.target_field_name))
        if isinstance(value, dict):
            return binding.target_type(**value)
        return example(path) if value is None else value

    filling.get_random_example_value = known_or_example


def main(base, token):
    headers = {"Authorization": f"Bearer {token}"}
    with Client(base_url=base, headers=headers, timeout=30) as http:
        fill_with(acceptable(http))
        results = check_server(SyncSCIMClient(http))
    for result in results:
        line = {"status": result.status.name, "title": result.title, "type": result.resource_type}
        if result.status is not Status.SUCCESS:
            line["reason"] = f"{result.reason}: {str(result.data)[:1000]}"
        print(json.dumps(line))


main(*sys.argv[1:])
