"""Checks a running usherd with scim2-tester, a client that usherd did not write.

Arguments: the SCIM base URL, a token, and the names of the resource types (none: all). Writes one JSON object per
result. The tester fills attributes with random text; what has to name something that exists gets a value here.
"""

import json
import sys

import scim2_tester.filling as filling
from httpx2 import Client
from scim2_client.engines.httpx2 import SyncSCIMClient
from scim2_tester import Status, check_server

# Attributes of which the schema alone does not tell a client what is acceptable, by the end of their path.
KNOWN = {
    "employmentStartDate": "2026-12-01T00:00:00Z",
    "accountRole": "User",
}

random_value = filling.generate_random_value


def known_value(context, path, mutability=None, required=None):
    """As the tester's own, but for KNOWN. It honours what the caller wants to be filled in at all."""
    value = random_value(context, path, mutability, required)
    if isinstance(value, str):
        for name, known in KNOWN.items():
            if str(path).endswith(name):
                return known
    return value


def main(base, token, *resource_types):
    filling.generate_random_value = known_value
    with Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30) as http:
        results = check_server(SyncSCIMClient(http), resource_types=list(resource_types) or None)
    for result in results:
        line = {"status": result.status.name, "title": result.title, "type": result.resource_type}
        if result.status is not Status.SUCCESS:
            line["reason"] = f"{result.reason}: {str(result.data)[:1000]}"
        print(json.dumps(line))


main(*sys.argv[1:])
