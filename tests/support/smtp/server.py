"""A real SMTP server for tests, which records what it takes and misbehaves on request.

    server.py --directory FOLDER [--port N] [--tls starttls|implicit] [--auth USER:PASSWORD] [--no-smtputf8]

It listens on 127.0.0.1, on a free port unless one is given, prints the port as the first line, and ends when its standard input closes, so
it never outlives the test. Every message is FOLDER/<number>.eml with FOLDER/<number>.json beside it: the envelope,
what Python's parser makes of the message, whether it was acknowledged, and the number of the connection.
With --tls, FOLDER/ca.pem is the certificate to trust.

The local part of a recipient chooses what happens (a sender may be refuse-550@ or defer-450@):

    bounce-550@   550 5.1.1 at RCPT          drop-at-data@        closes at DATA, before any content
    relay-554@    554 5.7.1 at RCPT          drop-after-data@     takes the content and closes without a word
    defer-451@    451 4.7.1 at RCPT          reject-after-data@   554 5.7.1 after the content
    defer-421@    421 4.3.2 at RCPT          stall@               never answers RCPT
    hang-up@      accepts, then closes       stall-after-data@    takes the content and never answers
                  at the next MAIL           slow@                answers RCPT after a second

With `once-` in front it happens to this address only once, and then all is well: once-drop-after-data@, once-defer-451@.
"""

import argparse
import asyncio
import json
import pathlib
import ssl
import subprocess
import sys

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from parse import parse

FOR_EVER = 3600


class Recorder:
    def __init__(self, directory):
        self.directory = directory
        self.connections = 0
        self.messages = 0
        self.seen = set()

    def mood(self, address):
        """What is to happen to this recipient."""
        local = address.split("@")[0]
        if not local.startswith("once-"):
            return local
        return "" if address in self.seen else local.removeprefix("once-")

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        if not hasattr(session, "number"):
            self.connections += 1
            session.number = self.connections
        session.host_name = hostname
        return responses

    async def handle_MAIL(self, server, session, envelope, address, options):
        if getattr(session, "hangs_up", False):
            server.transport.abort()
            raise ConnectionResetError
        local = address.split("@")[0]
        if local == "refuse-550":
            return "550 5.7.1 this sender is not allowed"
        if local == "defer-450":
            return "450 4.7.28 unusual rate of mail"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        local = self.mood(address)
        if local == "stall":
            await asyncio.sleep(FOR_EVER)
        if local == "slow":
            await asyncio.sleep(1)
        refusal = {
            "bounce-550": f"550 5.1.1 <{address}>: no such user",
            "relay-554": f"554 5.7.1 <{address}>: Relay access denied",
            "defer-451": "451 4.7.1 greylisted, come back later",
            "defer-421": "421 4.3.2 shutting down",
        }.get(local)
        if refusal:
            self.seen.add(address)
            return refusal
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server, session, envelope):
        local = self.mood(envelope.rcpt_tos[0])
        self.seen.add(envelope.rcpt_tos[0])
        acknowledged = local not in ("drop-after-data", "stall-after-data", "reject-after-data")
        encrypted = server.transport.get_extra_info("ssl_object") is not None
        number = self.record(session, envelope, encrypted, acknowledged)
        if local == "stall-after-data":
            await asyncio.sleep(FOR_EVER)
        if local == "drop-after-data":
            server.transport.abort()
            raise ConnectionResetError
        if local == "reject-after-data":
            return "554 5.7.1 the content is not wanted"
        session.hangs_up = local == "hang-up"
        return f"250 2.0.0 OK queued as {number}"

    def record(self, session, envelope, encrypted, acknowledged):
        self.messages += 1
        name = self.directory / f"{self.messages:04}"
        name.with_suffix(".eml").write_bytes(envelope.original_content)
        record = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "options": envelope.mail_options,
            "host_name": session.host_name,
            "encrypted": encrypted,
            "user": session.auth_data if session.authenticated else None,
            "acknowledged": acknowledged,
            "connection": session.number,
            "message": parse(envelope.original_content),
        }
        unfinished = name.with_suffix(".tmp")
        unfinished.write_text(json.dumps(record))
        unfinished.rename(name.with_suffix(".json"))
        return self.messages


class Server(SMTP):
    async def smtp_DATA(self, arg):
        if self.envelope.rcpt_tos and self.envelope.rcpt_tos[0].startswith("drop-at-data@"):
            self.transport.abort()
            raise ConnectionResetError
        await super().smtp_DATA(arg)


def certificate(directory):
    """A certificate for 127.0.0.1 and localhost that signs itself, made anew for each server."""
    key, cert = directory / "key.pem", directory / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        + ["-subj", "/CN=usherd test relay", "-keyout", key, "-out", cert]
        + ["-addext", "basicConstraints=critical,CA:FALSE"]
        + ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
        check=True,
        capture_output=True,
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    return context


def authenticator(expected):
    user, password = expected.split(":", 1)

    def check(server, session, envelope, mechanism, data):
        right = isinstance(data, LoginPassword) and data == LoginPassword(user.encode(), password.encode())
        return AuthResult(success=right, handled=False, auth_data=user)

    return check


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--directory", type=pathlib.Path, required=True)
    arguments.add_argument("--port", type=int, default=0)
    arguments.add_argument("--tls", choices=["starttls", "implicit"])
    arguments.add_argument("--auth")
    arguments.add_argument("--no-smtputf8", action="store_true")
    options = arguments.parse_args()
    context = certificate(options.directory) if options.tls else None
    recorder = Recorder(options.directory)

    def session():
        return Server(
            recorder,
            enable_SMTPUTF8=not options.no_smtputf8,
            hostname="relay.test",
            tls_context=context if options.tls == "starttls" else None,
            require_starttls=options.tls == "starttls",
            authenticator=authenticator(options.auth) if options.auth else None,
            auth_required=bool(options.auth),
            auth_require_tls=False,
        )

    loop = asyncio.get_running_loop()
    implicit = context if options.tls == "implicit" else None
    server = await loop.create_server(session, "127.0.0.1", options.port, ssl=implicit)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


asyncio.run(main())
