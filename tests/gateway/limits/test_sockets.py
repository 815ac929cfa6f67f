"""Sockets by ip."""

from __future__ import annotations

from gateway.limits.sockets import Sockets


def test_one_ip_cannot_take_all_sockets() -> None:
    """Its bound is its own; who leaves makes room."""
    sockets = Sockets(in_all=10, per_ip=2)
    assert [sockets.enter("a") for _ in range(3)] == [None, None, "ip_connections"]
    assert sockets.enter("b") is None
    sockets.leave("a")
    assert sockets.enter("a") is None
    assert sockets.count == 3


def test_there_is_a_bound_in_all() -> None:
    """Also for those who stand behind a proxy and have not said who they are, and without limits."""
    for per_ip, ip in ((2, ""), (None, "a")):
        sockets = Sockets(in_all=3, per_ip=per_ip)
        assert [sockets.enter(ip) for _ in range(4)] == [None, None, None, "gateway_full"]


def test_nothing_is_kept_of_who_left() -> None:
    """The table has no more names than there are sockets."""
    sockets = Sockets(in_all=10, per_ip=2)
    for number in range(1_000):
        sockets.enter(str(number))
        sockets.leave(str(number))
    assert sockets.count == 0
    assert sockets._held == {}
