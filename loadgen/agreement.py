#!/usr/bin/env python3
"""Holds fanfare-loadgen against a generator that shares nothing with it: this one, of the Python standard library alone.

Both measure the same broker, in turns: subscribers of one topic at the raw endpoint, one publisher, open loop, the processor time that the
broker takes for each delivery, and how long deliveries take from when they were due. Exit code 1 where the medians are further apart than
--within (CPU) or where either of them missed anything.

usage: loadgen/agreement.py [--subscribers 500] [--rate 100] [--seconds 5] [--turns 5] [--within 0.15]
"""
import argparse, base64, json, os, re, selectors, socket, statistics, struct, subprocess, sys, threading, time
from pathlib import Path

SIZE = 128  # bytes of a payload: its header takes 4, as 126 and more say their length in two bytes more
FRAME = 4 + SIZE
WARMUP = 1.0
HERE = Path(__file__).resolve().parent.parent
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")) / "release"


def start():
    """The broker on ports of its own: its process and its address."""
    command = [PROGRAMS / "fanfare", "serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]
    broker = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    for line in broker.stderr:
        if found := re.search(r'"public":"([^"]+):(\d+)"', line):
            threading.Thread(target=broker.stderr.read, daemon=True).start()
            return broker, (found[1], int(found[2]))
    sys.exit("the broker did not start")


def connect(address):
    """A WebSocket of the topic, behind its handshake."""
    peer = socket.create_connection(address)
    key = base64.b64encode(os.urandom(16)).decode()
    peer.sendall(
        f"GET /ws/agreement?echo=false HTTP/1.1\r\nHost: {address[0]}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n".encode()
    )
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += peer.recv(1)
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    return peer


def cpu_seconds(pid):
    """What the process has taken so far, in steps of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def publish(peer, begin, rate, count):
    """Sends each publication when it is due, stamped with that."""
    for nth in range(count):
        due = begin + nth / rate
        time.sleep(max(0.0, due - time.monotonic()))
        payload = struct.pack("<d", due) + bytes(SIZE - 8)
        # Binary, masked with zeros.
        peer.sendall(b"\x82\xfe" + struct.pack(">H", SIZE) + bytes(4) + payload)


def measure(address, pid, args):
    """CPU seconds of a delivery, and the p50 and p99 of the latency, by this generator."""
    peers = [connect(address) for _ in range(args.subscribers)]
    publisher = connect(address)
    count = int((args.seconds + WARMUP) * args.rate)
    begin = time.monotonic() + 0.2
    sender = os.fork()
    if sender == 0:
        publish(publisher, begin, args.rate, count)
        os._exit(0)
    poll = selectors.EpollSelector()
    for peer in peers:
        peer.setblocking(False)
        poll.register(peer, selectors.EVENT_READ, [0, b""])
    measured_from, end = begin + WARMUP, begin + count / args.rate
    before = after = None
    received, latencies = 0, []
    expected = count * len(peers)
    deadline = end + 5
    counted = 0
    while received < expected and time.monotonic() < deadline:
        for key, _ in poll.select(0.01):
            now_bytes = key.fileobj.recv(65536)
            now = time.monotonic()
            rest = key.data[1] + now_bytes
            whole = len(rest) // FRAME
            received += whole
            for nth in range(whole):
                (due,) = struct.unpack_from("<d", rest, nth * FRAME + 4)
                if due >= measured_from:
                    counted += 1
                    latencies.append(now - due)
            key.data[1] = rest[whole * FRAME :]
        if before is None and time.monotonic() >= measured_from:
            before = cpu_seconds(pid)
    after = cpu_seconds(pid)
    os.waitpid(sender, 0)
    for peer in [*peers, publisher]:
        peer.close()
    latencies.sort()
    at = lambda share: latencies[int(share * (len(latencies) - 1))]
    return (after - before) / counted, at(0.5), at(0.99), expected - received


def loadgen(address, pid, args):
    """The same by fanfare-loadgen."""
    command = [PROGRAMS / "fanfare-loadgen", "fanout", "--target", "fanfare-raw", "--threads", "1", "--json", "--quiet"]
    command += ["--subscribers", str(args.subscribers), "--rate", str(args.rate), "--duration", f"{args.seconds}s"]
    command += ["--size", str(SIZE), "--warmup", "1s", "--url", f"ws://{address[0]}:{address[1]}/ws", "--server-pid", str(pid)]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    latency = report["latency_seconds"]
    return report["server"]["cpu_seconds_per_delivery"], latency["p50"], latency["p99"], report["lost"]


def main():
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--subscribers", type=int, default=500)
    parse.add_argument("--rate", type=int, default=100, help="publications a second")
    parse.add_argument("--seconds", type=int, default=5)
    parse.add_argument("--turns", type=int, default=5)
    parse.add_argument("--within", type=float, default=0.15)
    args = parse.parse_args()
    generators = {"fanfare-loadgen": loadgen, "this one": measure}
    found = {name: [] for name in generators}
    for turn in range(args.turns):
        for name, run in list(generators.items())[:: 1 if turn % 2 == 0 else -1]:
            broker, address = start()
            try:
                found[name].append(run(address, broker.pid, args))
            finally:
                broker.terminate()
                broker.wait()
    medians = {}
    for name, runs in found.items():
        cpu, p50, p99, missed = zip(*runs)
        medians[name] = statistics.median(cpu)
        print(
            f"{name:16} {1e6 * medians[name]:.2f} us a delivery ({1e6 * min(cpu):.2f} to {1e6 * max(cpu):.2f}),"
            f" p50 {1e3 * statistics.median(p50):.1f} ms, p99 {1e3 * statistics.median(p99):.1f} ms, missed {sum(missed)}"
        )
    ratio = medians["fanfare-loadgen"] / medians["this one"]
    print(f"ratio            {ratio:.2f}")
    if abs(ratio - 1) > args.within or any(run[3] for runs in found.values() for run in runs):
        sys.exit(1)


main()
