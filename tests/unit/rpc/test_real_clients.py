#!/usr/bin/python3
"""Clients that others wrote against the loopback test server: grpcio, curl, h2load.

usage: test_real_clients.py path/to/rpc_serve      (exit 77: a client is not installed)
"""
import shutil
import subprocess
import sys
import tempfile
import threading

try:
    import grpc
except ImportError:
    sys.exit(77)
if not shutil.which("curl") or not shutil.which("h2load"):
    sys.exit(77)


def same(value):
    return value


def pattern(n):
    return bytes((i * 131 + (i >> 8) * 17) & 255 for i in range(n))


def expect(got, wanted):
    assert got == wanted, f"got {got!r:.200}, wanted {wanted!r:.200}"


def grpcio(port):
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
        def unary(method, **more):
            return channel.unary_unary(f"/test.Echo/{method}", same, same, **more)

        echo = unary("Unary")
        for n in (0, 1, 5000, 65536, 1000000):
            expect(echo(b"x" * n, timeout=20), b"x" * n)
        expect(echo(b"abc" * 5000, compression=grpc.Compression.Gzip), b"abc" * 5000)
        expect(unary("List")(b"3000000", timeout=20), pattern(3000000))

        def fails(call, code, text):
            try:
                call()
            except grpc.RpcError as error:
                expect((error.code(), error.details()), (code, text))
            else:
                raise AssertionError("no error")

        fails(lambda: unary("Fail")(b"\x07no \xc3\xa4 100%"), grpc.StatusCode.PERMISSION_DENIED,
              "no \u00e4 100%")
        fails(lambda: unary("None")(b""), grpc.StatusCode.UNIMPLEMENTED,
              "unknown method None for service test.Echo")
        fails(lambda: echo(b"x" * 2097153), grpc.StatusCode.RESOURCE_EXHAUSTED,
              "grpc: received message larger than max (2097153 vs. 2097152)")
        fails(lambda: unary("Hold")(b"", timeout=0.1), grpc.StatusCode.DEADLINE_EXCEEDED,
              "Deadline Exceeded")
        stream = channel.stream_stream("/test.Echo/Stream", same, same)
        sent = [bytes([i]) * i for i in range(200)]
        expect(list(stream(iter(sent), timeout=20)), sent)
        calls = [echo.future(str(i).encode(), timeout=20) for i in range(500)]
        expect([call.result() for call in calls], [str(i).encode() for i in range(500)])


def curl(port):
    def run(*args):
        return subprocess.run(["curl", "-sS", "--max-time", "20", *args], check=True,
                              stdout=subprocess.PIPE).stdout

    base = f"http://127.0.0.1:{port}"
    expect(run(f"{base}/hello"), b"hello\n")
    # Kept alive: two requests on one connection.
    expect(run(f"{base}/hello", f"{base}/stream", "-w", "%{num_connects}"),
           b"hello\n1piece\npiece\npiece\n0")
    expect(run(f"{base}/list?5000000"), pattern(5000000))
    expect(run(f"{base}/nowhere", "-o", "/dev/null", "-w", "%{http_code}"), b"404")
    expect(run("-I", f"{base}/hello", "-o", "/dev/null", "-w", "%{http_code}"), b"200")
    expect(run("--http2", f"{base}/hello"), b"hello\n")
    with tempfile.NamedTemporaryFile() as body:
        body.write(pattern(1500000))
        body.flush()
        expect(run("--data-binary", f"@{body.name}", f"{base}/echo"), pattern(1500000))
        expect(run("-H", "Transfer-Encoding: chunked", "--data-binary", f"@{body.name}",
                   f"{base}/echo"), pattern(1500000))
    # On a plain port HTTP/2 is gRPC's.
    expect(run("--http2-prior-knowledge", f"{base}/hello", "-o", "/dev/null", "-w",
               "%{http_code} %header{grpc-status}"), b"415 3")
    expect(run("--http2-prior-knowledge", "-H", "content-type: application/grpc",
               f"{base}/test.Echo/Unary", "-o", "/dev/null", "-w",
               "%{http_code} %header{grpc-status}"), b"405 13")


def h2load(port):
    with tempfile.NamedTemporaryFile() as body:
        body.write(b"\0\0\0\0\4ping")
        body.flush()
        out = subprocess.run(
            ["h2load", "-n", "20000", "-c", "10", "-m", "20", "-d", body.name,
             "-H", "content-type: application/grpc", f"http://127.0.0.1:{port}/test.Echo/Unary"],
            check=True, stdout=subprocess.PIPE, text=True).stdout
    assert "20000 succeeded, 0 failed, 0 errored" in out, out
    for line in out.splitlines():
        if "finished in" in line or "time for request" in line:
            print(line)


def main():
    server = subprocess.Popen([sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    watchdog = threading.Timer(100, server.kill)
    watchdog.start()
    try:
        port = int(server.stdout.readline())
        for client in (grpcio, curl, h2load):
            client(port)
            print(client.__name__, "ok")
            assert server.poll() is None, "the server died"
    finally:
        watchdog.cancel()
        server.stdin.close()
    expect(server.wait(10), 0)


main()
