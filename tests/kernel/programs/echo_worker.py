"""A worker program for tests: does what its job says, and can misbehave on demand."""

import argparse
import os
import signal
import socket
import struct
import sys

parser = argparse.ArgumentParser()
parser.add_argument("--fd", type=int)
parser.add_argument("--path", action="append", default=[])
given = parser.parse_args()
sys.path[:0] = given.path

import msgspec  # noqa: E402 - the import path comes from the command line

sock = socket.socket(fileno=given.fd)


def send(frame):
    raw(msgspec.msgpack.encode(frame))


def raw(body):
    sock.sendall(struct.pack(">I", len(body)) + body)


def exactly(count):
    data = b""
    while len(data) < count:
        more = sock.recv(count - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def receive():
    return msgspec.msgpack.decode(exactly(struct.unpack(">I", exactly(4))[0]))


send({"t": "ready"})
calls = 0
while True:
    job = receive()
    if job["t"] != "job":
        continue
    body = job["body"]
    match body["do"]:
        case "echo":
            send({"t": "done", "id": job["id"], "ok": True, "body": {"value": body["value"], "pid": os.getpid()}})
        case "call":
            calls += 1
            send({"t": "event", "body": "calling"})
            send({"t": "call", "id": calls, "body": body["value"]})
            answer = receive()
            send({"t": "done", "id": job["id"], "ok": True, "body": answer})
        case "leave a call":
            calls += 1
            send({"t": "call", "id": calls, "body": body["value"]})
            while receive()["t"] != "cancel":
                pass
            send({"t": "done", "id": job["id"], "ok": True, "body": None})
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "exit":
            sys.stderr.write("giving up\n")
            sys.exit(3)
        case "hang":
            send({"t": "event", "body": "hanging"})
            while True:
                signal.pause()
        case "obey":
            send({"t": "event", "body": "waiting"})
            while receive()["t"] != "cancel":
                pass
            send({"t": "done", "id": job["id"], "ok": True, "body": "cancelled"})
        case "environment":
            open_files = sorted(int(n) for n in os.listdir("/proc/self/fd"))
            seen = {"environ": dict(os.environ), "fds": open_files, "group": os.getpgid(0), "pid": os.getpid()}
            send({"t": "done", "id": job["id"], "ok": True, "body": seen})
        case "raw":
            raw(body["value"])
            while True:
                receive()
        case "length":
            sock.sendall(struct.pack(">I", body["value"]))
            while True:
                receive()
