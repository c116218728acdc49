"""Requests that two readers could read differently, or that no reader should take (security.md, 23). In each,
what may be taken for a second request asks for an answer of the vendor's, who tells whether it was."""

from __future__ import annotations

START = b"POST /v1/chat/completions HTTP/1.1\r\n"
HOST = b"Host: localhost\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
LAST = b"0\r\n\r\n"


def whole(secret: str, body: bytes) -> bytes:
    """A request that is as it should be."""
    return head(secret) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def head(secret: str) -> bytes:
    """A request's head up to its framing."""
    return START + HOST + b"Content-Type: application/json\r\nX-Api-Key: %b\r\n" % secret.encode()


def broken(secret: str, body: bytes) -> dict[str, bytes]:
    """Requests that are refused, each with another behind it. Name -> bytes."""
    top, next_one = head(secret), whole(secret, body)
    size, hexed = b"%d" % len(body), b"%x" % len(body)
    length = b"Content-Length: %b\r\n" % size
    chunk = hexed + b"\r\n" + body + b"\r\n"

    def framed(lines: bytes, content: bytes = body) -> bytes:
        return top + lines + b"\r\n" + content + next_one

    def chunks(content: bytes) -> bytes:
        return framed(CHUNKED, content)

    return {
        # two lengths
        "length, then coding": framed(length + CHUNKED, LAST),
        "coding, then length": framed(CHUNKED + length, LAST),
        "coding and a length of 0": framed(b"Content-Length: 0\r\n" + CHUNKED, chunk + LAST),
        "coding and a length of the chunks": framed(CHUNKED + b"Content-Length: 5\r\n", LAST),
        "the same length twice": framed(length + length),
        "two lengths": framed(length + b"Content-Length: 0\r\n"),
        "two lengths, the other way round": framed(b"Content-Length: 0\r\n" + length),
        "a list of one length": framed(b"Content-Length: %b, %b\r\n" % (size, size)),
        "a list of two lengths": framed(b"Content-Length: 0, %b\r\n" % size),
        # lengths that are none
        "an empty length": framed(b"Content-Length:\r\n"),
        "a blank length": framed(b"Content-Length:  \r\n"),
        "a length with a plus": framed(b"Content-Length: +%b\r\n" % size),
        "a length with a minus": framed(b"Content-Length: -%b\r\n" % size),
        "a length in hexadecimal": framed(b"Content-Length: 0x%b\r\n" % hexed),
        "a length with an underscore": framed(b"Content-Length: 1_0\r\n"),
        "a length with a fraction": framed(b"Content-Length: %b.0\r\n" % size),
        "a length and a word": framed(b"Content-Length: %b bytes\r\n" % size),
        "two numbers in a length": framed(b"Content-Length: 1 2\r\n"),
        "a length beyond 64 bits": framed(b"Content-Length: 18446744073709551617\r\n"),
        "a length with a vertical tab": framed(b"Content-Length: \x0b%b\r\n" % size),
        "a length with a NUL": framed(b"Content-Length: %b\x00\r\n" % size),
        "a quoted length": framed(b'Content-Length: "%b"\r\n' % size),
        # codings
        "chunked, identity": framed(b"Transfer-Encoding: chunked, identity\r\n", LAST),
        "chunked,identity": framed(b"Transfer-Encoding: chunked,identity\r\n", LAST),
        "identity, chunked": framed(b"Transfer-Encoding: identity, chunked\r\n", LAST),
        "identity alone": framed(b"Transfer-Encoding: identity\r\n", LAST),
        "gzip, chunked": framed(b"Transfer-Encoding: gzip, chunked\r\n", LAST),
        "chunked, gzip": framed(b"Transfer-Encoding: chunked, gzip\r\n", LAST),
        "chunked twice in one": framed(b"Transfer-Encoding: chunked, chunked\r\n", LAST),
        "chunked on two lines": framed(CHUNKED + CHUNKED, LAST),
        "chunked, then identity on a line": framed(CHUNKED + b"Transfer-Encoding: identity\r\n", LAST),
        "identity, then chunked on a line": framed(b"Transfer-Encoding: identity\r\n" + CHUNKED, LAST),
        "a comma before": framed(b"Transfer-Encoding: ,chunked\r\n", LAST),
        "a comma behind": framed(b"Transfer-Encoding: chunked,\r\n", LAST),
        "nearly chunked": framed(b"Transfer-Encoding: xchunked\r\n", LAST),
        "chunked and more": framed(b"Transfer-Encoding: chunkedfoo\r\n", LAST),
        "chunked with a parameter": framed(b"Transfer-Encoding: chunked;q=1\r\n", LAST),
        "quoted chunked": framed(b'Transfer-Encoding: "chunked"\r\n', LAST),
        "chunked behind a vertical tab": framed(b"Transfer-Encoding: \x0bchunked\r\n", LAST),
        "chunked behind a NUL": framed(b"Transfer-Encoding: \x00chunked\r\n", LAST),
        "chunked with a bare CR": framed(b"Transfer-Encoding: chunked\rX: y\r\n", LAST),
        "an empty coding": framed(b"Transfer-Encoding:\r\n" + length),
        "chunked on a folded line": framed(b"Transfer-Encoding:\r\n chunked\r\n", LAST),
        "a coding in HTTP/1.0": top.replace(b"1.1\r\n", b"1.0\r\n") + CHUNKED + b"\r\n" + LAST + next_one,
        # names
        "a blank before the colon of a length": framed(b"Content-Length : %b\r\n" % size),
        "a blank before the colon of a coding": framed(b"Transfer-Encoding : chunked\r\n", LAST),
        "a tab before the colon": framed(b"Transfer-Encoding\t: chunked\r\n", LAST),
        "a blank within a name": framed(b"Content Length: 1\r\n"),
        "a NUL within a name": framed(b"Content-Length\x00: 1\r\n"),
        "a vertical tab before a name": framed(b"\x0bTransfer-Encoding: chunked\r\n", LAST),
        "no name": framed(b": 1\r\n"),
        "no colon": framed(b"Content-Length\r\n"),
        "a name beyond ASCII": framed(b"Content-Length\xe2\x80\x8b: 1\r\n"),
        # lines
        "a folded line": framed(b"X-A: b\r\n c\r\n" + length),
        "a folded line with a tab": framed(b"X-A: b\r\n\tc\r\n" + length),
        "a folded length": framed(b"Content-Length: 0\r\n %b\r\n" % size),
        "a first line that is folded": START + b" X-A: b\r\n" + HOST + length + b"\r\n" + body + next_one,
        "a bare LF between two lines": framed(b"X-A: b\n" + length),
        "a bare LF behind the length": top + b"Content-Length: %b\n\r\n" % size + body + next_one,
        "a bare LF at the end of the head": top + length + b"\n" + body + next_one,
        "bare LFs everywhere": (top + length + b"\r\n").replace(b"\r\n", b"\n") + body + next_one,
        "a bare LF behind the first line": top.replace(b"1.1\r\n", b"1.1\n") + length + b"\r\n" + body,
        "a bare CR within a value": framed(b"X-A: b\rContent-Length: 0\r\n" + length),
        "two CRs": framed(b"X-A: b\r\r\n" + length),
        "a NUL within a value": framed(b"X-A: b\x00c\r\n" + length),
        "a line feed in a value's stead": framed(b"X-A: \nb\r\n" + length),
        # chunks
        "a bare LF behind a chunk's size": chunks(hexed + b"\n" + body + b"\r\n" + LAST),
        "a bare LF behind a chunk": chunks(hexed + b"\r\n" + body + b"\n" + LAST),
        "nothing behind a chunk": chunks(hexed + b"\r\n" + body + LAST),
        "other bytes behind a chunk": chunks(hexed + b"\r\n" + body + b"XX" + LAST),
        "a bare CR behind a chunk": chunks(hexed + b"\r\n" + body + b"\rX" + LAST),
        "a chunk's size in 0x": chunks(b"0x" + chunk + LAST),
        "a chunk's size with a plus": chunks(b"+" + chunk + LAST),
        "a chunk's size with a minus": chunks(b"-" + chunk + LAST),
        "a blank before a chunk's size": chunks(b" " + chunk + LAST),
        "a blank behind a chunk's size": chunks(hexed + b" \r\n" + body + b"\r\n" + LAST),
        "no chunk's size": chunks(b"\r\n" + body + b"\r\n" + LAST),
        "a chunk's size beyond 64 bits": chunks(b"1" + b"0" * 16 + hexed + b"\r\n" + body + b"\r\n" + LAST),
        "a chunk's size that is a word": chunks(b"zz\r\n" + body + b"\r\n" + LAST),
        "a bare LF in an extension": chunks(hexed + b";a\n" + body + b"\r\n" + LAST),
        "a bare LF behind the last chunk": chunks(chunk + b"0\n\n"),
        "a bare LF at the end": chunks(chunk + b"0\r\n\n"),
        "a folded trailer": chunks(chunk + b"0\r\nX-T: a\r\n b\r\n\r\n"),
        "a length in a trailer": chunks(chunk + b"0\r\nContent-Length: 5\r\n\r\n"),
        "a coding in a trailer": chunks(chunk + b"0\r\nTransfer-Encoding: identity\r\n\r\n"),
        # who is asked, and how
        "no host": top.replace(HOST, b"") + length + b"\r\n" + body + next_one,
        "two hosts": framed(HOST + length),
        "a version of our own": top.replace(b"HTTP/1.1", b"HTTP/1.2") + length + b"\r\n" + body + next_one,
        "HTTP/2.0": top.replace(b"HTTP/1.1", b"HTTP/2.0") + length + b"\r\n" + body + next_one,
        "HTTP/0.9": b"GET /v1/models\r\n\r\n" + next_one,
        "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + next_one,
        "a version in small letters": top.replace(b"HTTP", b"http") + length + b"\r\n" + body + next_one,
        "a tab in the first line": top.replace(b"POST /", b"POST\t/") + length + b"\r\n" + body + next_one,
        "more behind the version": top.replace(b"1.1\r", b"1.1 x\r") + length + b"\r\n" + body + next_one,
        "a method in small letters": top.replace(b"POST", b"post") + length + b"\r\n" + body + next_one,
        "another protocol's method": top.replace(b"POST", b"SOURCE") + length + b"\r\n" + body + next_one,
        "another protocol": top.replace(b"POST", b"SETUP").replace(b"HTTP/1.1", b"RTSP/1.0") + next_one,
        "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\n" + HOST + b"\r\n" + next_one,
        "a fragment in the path": top.replace(b"completions HTTP", b"completions#a HTTP") + b"\r\n",
        "a NUL in the path": top.replace(b"completions HTTP", b"completions\x00 HTTP") + b"\r\n",
        "bytes beyond ASCII in the path": top.replace(b"completions HTTP", b"\xff HTTP") + b"\r\n",
        "an upgrade with a body": framed(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + length),
        "a TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32) + next_one,
    }


def garbage(secret: str, body: bytes) -> dict[str, bytes]:
    """What is no request, behind one that is answered."""
    length, next_one = b"Content-Length: %d\r\n" % len(body), whole(secret, body)
    return {
        "a body longer than its length": b"xx" + next_one,
        "a second body": body + next_one,
        "a second request with two lengths": head(secret) + length + CHUNKED + b"\r\n" + LAST + next_one,
        "a second request without a host": START + length + b"\r\n" + body + next_one,
        "a second request on bare LFs": next_one.replace(b"\r\n", b"\n"),
        "an answer": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + next_one,
        "a NUL": b"\x00" + next_one,
    }


def unheard(secret: str, body: bytes) -> dict[str, bytes]:
    """Requests that are answered and close, each with another behind it that is not heard."""
    top, next_one = head(secret), whole(secret, body)
    length = b"Content-Length: %d\r\n" % len(body)
    return {
        "behind a close": top + b"Connection: close\r\n" + length + b"\r\n" + body + next_one,
        "behind HTTP/1.0": top.replace(b"1.1\r\n", b"1.0\r\n") + length + b"\r\n" + body + next_one,
        "behind an upgrade": top.replace(START, b"GET /v1/models HTTP/1.1\r\n")
        + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        + next_one,
    }
