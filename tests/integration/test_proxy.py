"""The proxy that makes trouble, between an echo and its client on the loopback address."""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Iterator

import pytest

from tests.support.postgres import eventually
from tests.support.proxy import Proxy

BRIEF_S = 0.3


class Echo(socketserver.ThreadingTCPServer):
    """Sends back what it gets, and remembers it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.heard = b""
        super().__init__(("127.0.0.1", 0), _Answer)


class _Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, Echo)
        try:
            while data := self.request.recv(4096):
                self.server.heard += data
                self.request.sendall(data)
        except OSError:
            return


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[Proxy]:
    with Proxy(("127.0.0.1", echo.server_address[1])) as made:
        yield made


def connected(proxy: Proxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=10.0)


def ask(link: socket.socket, words: bytes) -> bytes:
    link.sendall(words)
    return link.recv(4096)


def is_cut(link: socket.socket) -> bool:
    """Whether the link is reset, or at its end."""
    try:
        return link.recv(4096) == b""
    except ConnectionError:
        return True


def hangs_up(proxy: Proxy) -> bool:
    """Whether a new link gets no answer but its end."""
    try:
        with connected(proxy) as link:
            link.sendall(b"anybody?")
            return is_cut(link)
    except ConnectionError:
        return True


def test_it_forwards_both_ways_on_many_connections(proxy: Proxy) -> None:
    with connected(proxy) as first, connected(proxy) as second:
        assert [ask(first, b"one"), ask(second, b"two"), ask(first, b"three")] == [b"one", b"two", b"three"]


def test_a_cut_resets_what_is_open_and_takes_what_comes(proxy: Proxy) -> None:
    with connected(proxy) as link:
        assert ask(link, b"before") == b"before"
        assert proxy.harm == 0
        proxy.cut()
        assert proxy.harm == 2  # both sides of the one link
        with pytest.raises(ConnectionResetError):
            link.recv(4096)
    with connected(proxy) as link:
        assert ask(link, b"after") == b"after"


def test_refused_connections_are_taken_again_on_the_same_port(proxy: Proxy) -> None:
    with connected(proxy) as link:
        ask(link, b"before")
        proxy.refuse()
        assert is_cut(link)
    for _ in range(2):
        with pytest.raises(ConnectionRefusedError):
            connected(proxy)
    proxy.heal()
    with connected(proxy) as link:
        assert ask(link, b"after") == b"after"


def test_a_stalled_link_takes_bytes_and_gives_them_once_it_is_healed(proxy: Proxy, echo: Echo) -> None:
    with connected(proxy) as old:
        ask(old, b"before")
        proxy.stall()
        with connected(proxy) as new:
            for link in (old, new):
                link.sendall(b"during")
                link.settimeout(BRIEF_S)
                with pytest.raises(TimeoutError):
                    link.recv(4096)
                link.settimeout(10.0)
            assert (echo.heard, proxy.harm) == (b"before", 1)  # of the new link nothing was read yet
            proxy.heal()
            assert [old.recv(4096), new.recv(4096)] == [b"during", b"during"]


def test_a_delay_holds_each_piece_back(proxy: Proxy) -> None:
    proxy.delay(0.3)
    with connected(proxy) as link:
        link.sendall(b"slow")
        link.settimeout(BRIEF_S)
        with pytest.raises(TimeoutError):
            link.recv(4096)
        link.settimeout(10.0)
        assert link.recv(4096) == b"slow"
        assert proxy.harm == 2


def test_a_lost_request_never_arrives_and_the_next_one_does(proxy: Proxy, echo: Echo) -> None:
    proxy.drop_request(b"complete")
    with connected(proxy) as link:
        assert ask(link, b"renew") == b"renew"
        link.sendall(b"complete")
        assert is_cut(link)
    assert (echo.heard, proxy.dropped, proxy.harm) == (b"renew", 1, 1)
    with connected(proxy) as link:
        assert ask(link, b"complete") == b"complete"


def test_a_lost_reply_was_acted_upon(proxy: Proxy, echo: Echo) -> None:
    proxy.drop_reply(b"complete", times=2)
    for _ in range(2):
        with connected(proxy) as link:
            link.sendall(b"complete")
            assert is_cut(link)
    with connected(proxy) as link:
        assert ask(link, b"more") == b"more"
    assert (echo.heard, proxy.dropped) == (b"completecompletemore", 2)


def test_a_server_that_is_away_and_comes_back_elsewhere_is_found(proxy: Proxy) -> None:
    there = proxy.target
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        proxy.target = nobody.getsockname()
        assert hangs_up(proxy)
    proxy.target = there
    with connected(proxy) as link:
        assert ask(link, b"again") == b"again"


def test_the_end_of_a_link_reaches_the_other_side(proxy: Proxy, echo: Echo) -> None:
    before = threading.active_count()
    link = connected(proxy)
    ask(link, b"hello")
    link.close()
    eventually(lambda: threading.active_count() <= before, "the echo's thread has ended")
